import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import paths
from builders import small_trial
from harness.execute import workers
from harness.execute.ending import exit_outcome
from harness.execute.interpreters import Interpreter
from harness.execute.local import run_trials
from harness.execute.process import Worker, worker_environment
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.execute.worker_log import TAIL_BYTES, CappedLog
from harness.measure.events import Finished, Phase, Progress
from harness.measure.machine.verification import THREAD_VARIABLES


def trial(**changes):
    return small_trial("faulty:good", **({"task": "echo"} | changes))


def run(plugins, *trials, **options):
    return list(run_trials(trials, plugins=plugins, **options))


def test_records_come_one_by_one_in_order_while_events_are_told(plugins):
    seen = []
    trials = [trial(seed=1), trial(seed=2)]
    records = run_trials(
        trials,
        plugins=plugins,
        on_event=lambda which, event: seen.append((which.seed, type(event))),
    )
    assert next(records).trial.seed == 1
    assert {seed for seed, _ in seen} == {1}
    assert next(records).trial.seed == 2
    assert list(records) == []
    assert (seen[0], seen[-1]) == ((1, Phase), (2, Finished))
    assert (2, Progress) in seen


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two threads need two processors")
def test_a_worker_gets_its_threads_before_it_starts(plugins):
    (record,) = run(plugins, trial(threads=2))
    variables = record.environment["variables"]
    assert {
        name: variables[name] for name in THREAD_VARIABLES if name in variables
    } == dict.fromkeys(THREAD_VARIABLES, "2")
    assert variables["FAULTY_THREADS"] == "2"
    assert record.details["effective_threads"] == 2


def test_an_empty_entry_of_the_python_path_does_not_let_the_working_directory_in(
    plugins, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/somewhere", ""]))
    assert worker_environment(trial(), plugins)["PYTHONPATH"] == "/somewhere"


def test_a_plugin_is_never_resolved_from_the_working_directory(plugins, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.chdir(paths.FAULTY)
    (record,) = run(plugins, trial())
    assert record.status == "failed"
    assert "unknown backend 'faulty'" in record.reason


def test_plugins_that_are_blocked_here_are_blocked_in_the_worker(plugins):
    (record,) = run(replace(plugins, blocked=("faulty",)), trial())
    assert (record.status, "is blocked" in record.reason) == ("failed", True)


def test_a_backend_that_cannot_say_its_environment_fails_alone(plugins):
    def fail(threads):
        raise OSError("no idea")

    plugins.backend("faulty").environment = fail
    try:
        records = run(plugins, trial(), trial(backend="numpy", variant="vectorised"))
    finally:
        del plugins.backend("faulty").environment
    assert [record.status for record in records] == ["failed", "ok"]
    reason = records[0].reason
    assert reason.startswith(
        "backend 'faulty' is broken: environment() raised OSError: no idea. Fix: "
    )
    assert reason.endswith(f"; {plugins.label('backend', 'faulty')}")


def test_a_worker_that_cannot_be_started_costs_its_own_trial_only(plugins, monkeypatch):
    class Full(Worker):
        def __init__(self, request, environment, python):
            if b'"seed": 1' in request:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            super().__init__(request, environment, python)

    monkeypatch.setattr(workers, "Worker", Full)
    records = run(plugins, trial(seed=1), trial(seed=2))
    assert [record.status for record in records] == ["failed", "ok"]
    assert (
        records[0].reason
        == "the worker could not be started: [Errno 11] Resource temporarily unavailable"
    )


def test_an_interpreter_that_is_gone_is_a_failed_launch(plugins, tmp_path):
    gone = Interpreter("gone", tmp_path / "python", "1.0", frozenset())
    (record,) = run(plugins, trial(python="gone"), settings=LocalSettings(pythons={"gone": gone}))
    assert record.status == "failed"
    assert "the worker could not be started: [Errno 2] No such file" in record.reason


def test_the_parent_waits_without_using_the_processor(plugins):
    begin = time.process_time()
    (record,) = run(plugins, trial(variant="slow", steps=40))  # sleeps for two seconds in all
    assert record.status == "ok"
    assert time.process_time() - begin < 0.5  # busy waiting would cost more than two


def test_nothing_starts_after_a_request_to_stop(plugins):
    with StopRequest() as stop:
        stop.request()
        assert run(plugins, trial(), stop=stop) == []


def test_a_caller_that_goes_away_takes_the_worker_along(plugins, children):
    def leave(which, event):
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plugins, trial(variant="hang"), on_event=leave)
    assert children() == []


def test_no_process_and_no_descriptor_is_left_behind(plugins, children):
    run(plugins, trial())
    before = len(list(Path("/proc/self/fd").iterdir()))
    run(plugins, trial(), trial(variant="segfault"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert children() == []


def test_a_checkpoint_is_named_after_its_trial(plugins, tmp_path):
    (record,) = run(plugins, trial(), settings=LocalSettings(checkpoints=tmp_path))
    assert record.details["checkpoint"] == str(tmp_path / f"{trial().trial_id}.safetensors")
    assert Path(record.details["checkpoint"]).exists()


def log_of(text):
    log = CappedLog(10**6)
    log.add(text.encode())
    return log


SIGKILLED = (
    "crashed (SIGKILL): somebody killed the worker, the kernel reports no lack of memory; "
    "peak memory seen: unknown"
)
KERNEL_KILLED = "out of memory: the kernel killed the worker; peak memory seen: 2 MiB"


@pytest.mark.parametrize(
    ("status", "kills", "peak", "expected", "reason"),
    [
        (-9, 1, 2**21, "out_of_memory", KERNEL_KILLED),
        (-9, 0, None, "crashed", SIGKILLED),
        (-11, 1, None, "crashed", "crashed (SIGSEGV)"),
        (-64, 0, None, "crashed", "crashed (SIGRTMAX)"),
        (-40, 0, None, "crashed", "crashed (signal 40)"),
        (3, 0, None, "crashed", "crashed (exit status 3 and no record): last"),
    ],
)  # fmt: skip
def test_an_end_without_a_record_is_told_by_its_exit_status(status, kills, peak, expected, reason):
    assert exit_outcome(status, kills, peak, log_of("first\nlast\n")) == (expected, reason)


def test_a_short_log_is_kept_whole():
    log = log_of("one\ntwo\nthree")
    assert log.text() == "one\ntwo\nthree"
    assert log.tail(2) == "two\nthree"


def test_a_long_log_keeps_its_head_and_its_tail():
    log = CappedLog(limit_bytes=2 * TAIL_BYTES)
    log.add(b"head")
    for _ in range(1000):
        log.add(b"x" * 1000)
    log.add(b"tail")
    text = log.text()
    assert text.startswith("head")
    assert text.endswith("tail")
    assert f"... truncated ({1_000_008 - 2 * TAIL_BYTES} bytes)" in text


def test_a_worker_that_dies_before_it_has_read_its_request_ends_itself_alone():
    code = """
import os, signal, time
from harness.execute.process import Worker
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as the command line has it
worker = Worker(b"x", os.environ, "/bin/true")
worker.process.wait()
worker.send(b"x" * 1_000_000)
worker.reap()
worker.close()
print("alive", signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive set()\n"), done.stderr
