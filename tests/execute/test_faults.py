"""Misbehaving plugins: each trial runs in a real worker, and always ends in a record."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

import paths
from harness.contract import Trial
from harness.execute.launch import Launch
from harness.execute.local import run_trials
from harness.execute.memory_watch import MemoryWatch
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.events import Progress
from harness.plugins import load_plugins

FAULTY = paths.FAULTY
GONE_SECONDS = 10.0  # generous: the machine may be busy


@pytest.fixture(autouse=True)
def _faulty_plugin(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.syspath_prepend(FAULTY)


def faulty(variant, **changes):
    small = {"length": 3, "hidden": 4, "batch": 2, "steps": 8, "cell": "rnn", "task": "echo"}
    return Trial(backend="faulty", variant=variant, **(small | changes))


def run(variant, *, on_event=None, stop=None, settings=None, **changes):
    (record,) = run_trials(
        [faulty(variant, **changes)], on_event=on_event, stop=stop, settings=settings
    )
    return record


def run_with_log(variant, settings=LocalSettings()):  # noqa: B008
    """Return the record, and all that the worker printed."""
    with StopRequest() as never:
        launch = Launch(faulty(variant), settings, lambda *_: None, never)
        return launch.run(load_plugins()), launch.log.text()


def grandchildren(log):
    return [int(pid) for pid in re.search(r"grandchildren ([\d ]+)", log).group(1).split()]


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(pids):
    deadline = time.monotonic() + GONE_SECONDS
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.02)


@pytest.mark.parametrize(("variant", "name"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT")])
def test_a_crash_is_a_record_with_the_stack_and_the_curve_so_far(variant, name):
    record = run(variant)
    assert (record.status, record.reason) == ("crashed", f"crashed ({name})")
    assert "faulty_plugin.py" in record.details["log_tail"]
    assert len(record.curves["loss"]) == 2
    assert record.environment_id is not None
    assert "tokens_per_second" not in record.figures


@pytest.mark.parametrize(
    ("variant", "status", "reason"),
    [
        ("sys_exit", "failed", r"sys\.exit\(5\) was called; backend 'faulty' from faulty 1\.0"),
        ("os_exit", "crashed", r"crashed \(exit status 7 and no record\): last words"),
        ("sigkill", "crashed", r"crashed \(SIGKILL\): .* peak memory seen: \d+ MiB"),
        ("memory", "out_of_memory", r"out of memory: MemoryError: no room; peak seen: \d+ MiB"),
        ("error", "failed", r"KeyError: 'missing'; backend 'faulty' from faulty 1\.0"),
        ("no_step", "failed", r"invalid step: expected a StepResult, got NoneType; .*faulty 1\.0"),
        (
            "no_loss",
            "failed",
            r"invalid step: loss and gradient norm must be scalars .*faulty 1\.0",
        ),
        (
            "wrong_shape",
            "failed",
            r"invalid output: expected \(T, B, K\) = \(3, 2, 3\) float32, got \(2, 2, 3\) float32",
        ),
        (
            "wrong_dtype",
            "failed",
            r"invalid output: .* got \(3, 2, 3\) float16; backend 'faulty' from faulty 1\.0",
        ),
        ("no_outputs", "failed", r"invalid output: .* got NoneType"),
        (
            "inexact",
            "parity_failed",
            r"weight_hh_l0 differs from the float64 reference by .*, tolerance .*faulty 1\.0",
        ),
        ("nan", "diverged", r"diverged at step 3"),
        ("infinite_gradient", "diverged", r"diverged at step 3"),
    ],
)
def test_a_fault_in_a_plugin_is_a_record_that_names_it(variant, status, reason):
    record = run(variant)
    assert record.status == status
    assert re.search(reason, record.reason)
    assert not {"tokens_per_second", "loss_final", "loss_validation"} & record.figures.keys()


def test_a_diverged_trial_keeps_its_curve_without_nan():
    record = run("nan")
    assert record.curves["loss"][2] is None
    assert all(loss is not None for loss in record.curves["loss"][:2])
    assert record.figures["gradient_norm_first"] > 0


def test_one_bad_trial_does_not_cost_the_next():
    records = list(run_trials([faulty("segfault"), faulty("good")]))
    assert [record.status for record in records] == ["crashed", "ok"]


def test_a_hung_trial_times_out_with_its_grandchildren_and_keeps_its_curve():
    steps = []

    # The time limit ends when the plugin hangs, even on a busy machine.
    def hurry(which, event):
        steps.extend(event.losses if isinstance(event, Progress) else ())
        if len(steps) == 2:
            launch._end_within(1.0, *launch.late)

    with StopRequest() as never:
        launch = Launch(
            faulty("hang"), LocalSettings(timeout_seconds=250, kill_seconds=0.5), hurry, never
        )
        record = launch.run(load_plugins())
    assert (record.status, record.reason) == ("timeout", "timeout after 250 s")
    assert len(record.curves["loss"]) == 2
    assert record.figures["gradient_norm_last"] > 0
    pids = grandchildren(record.details["log_tail"])
    assert len(pids) == 3
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize(("variant", "status"), [("orphan", "ok"), ("orphan_of_crash", "crashed")])
def test_children_that_a_plugin_leaves_behind_do_not_outlive_the_trial(variant, status):
    record, log = run_with_log(variant)
    assert record.status == status
    pids = grandchildren(log)
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]


def test_a_trial_that_never_begins_times_out_too():
    record = run("good", settings=LocalSettings(timeout_seconds=0.05))
    assert (record.status, record.reason) == ("timeout", "timeout after 0.05 s")


@pytest.mark.parametrize("variant", ["glutton", "glutton_below"])
def test_a_plugin_that_allocates_without_end_is_out_of_memory_and_the_next_trial_is_ok(variant):
    settings = LocalSettings(memory_limit_bytes=400 * 2**20)
    eater, following = run_trials([faulty(variant), faulty("good")], settings=settings)
    assert (eater.status, following.status) == ("out_of_memory", "ok")
    limit = (
        r"out of memory: more than the limit of 400 MiB: .*raise --memory-limit; "
        r"peak seen: (\d+) MiB"
    )
    assert 400 <= int(re.fullmatch(limit, eater.reason)[1]) < 2000
    assert len(eater.curves["loss"]) == 2


def test_a_worker_ends_before_the_machine_has_no_memory_left():
    scarce = MemoryWatch(reserve_bytes=200 * 2**20, available_bytes=lambda: 100 * 2**20)
    with StopRequest() as never:
        record = Launch(
            faulty("glutton"), LocalSettings(), lambda *_: None, never, memory=scarce
        ).run(load_plugins())
    assert record.status == "out_of_memory"
    assert record.reason.startswith(
        "out of memory: 100 MiB were left on this machine, 200 MiB are its reserve"
    )


def test_a_noisy_plugin_changes_no_record_and_its_log_is_capped(capfd):
    record, log = run_with_log("noise", LocalSettings(log_bytes=2**20))
    assert record.status == "ok"
    assert "... truncated" in log
    assert len(log) < 1.01 * 2**20
    assert capfd.readouterr() == ("", "")


def request_stop(stop, times=1):
    """Return a callback that asks to stop once, when training has begun."""

    def callback(trial, event):
        if isinstance(event, Progress) and not stop.count:
            for _ in range(times):
                stop.request()

    return callback


def test_a_first_interrupt_lets_the_running_trial_finish_and_starts_no_other():
    with StopRequest() as stop:
        trials = [faulty("slow"), faulty("good")]
        records = list(run_trials(trials, stop=stop, on_event=request_stop(stop)))
    assert [record.status for record in records] == ["ok"]


def test_a_trial_that_goes_on_too_long_after_an_interrupt_is_interrupted():
    settings = LocalSettings(interrupt_seconds=0.3, kill_seconds=0.5)
    with StopRequest() as stop:
        record = run("hang", stop=stop, on_event=request_stop(stop), settings=settings)
    assert record.status == "interrupted"
    assert record.curves["loss"]


def test_a_second_interrupt_stops_at_once():
    started = time.monotonic()
    with StopRequest() as stop:
        settings = LocalSettings(interrupt_seconds=600, kill_seconds=0.5)
        record = run("hang", stop=stop, on_event=request_stop(stop, times=2), settings=settings)
    assert record.status == "interrupted"
    assert time.monotonic() - started < 60


def test_a_worker_killed_from_outside_is_a_crash():
    def kill(trial, event):
        if isinstance(event, Progress):
            for child in psutil.Process().children(recursive=True):
                child.send_signal(signal.SIGKILL)

    record = run("slow", on_event=kill)
    assert record.reason.startswith("crashed (SIGKILL)")


DRIVER = """
from test_faults import faulty
from harness.execute.local import run_trials
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots
settings = LocalSettings(slots=Slots(((),) * {jobs}))
trials = [faulty("hang", seed=seed) for seed in range({jobs})]
show = lambda trial, event: print(type(event).__name__, flush=True)
list(run_trials(trials, settings=settings, on_event=show))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_driver_leaves_no_worker_and_no_grandchild(jobs):
    folders = [str(paths.TESTS), str(paths.TESTS / "execute"), os.environ["PYTHONPATH"]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    code = DRIVER.format(jobs=jobs)
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as driver:
        for _ in range(2 * jobs):
            while driver.stdout.readline().strip() != "Progress":
                assert driver.poll() is None
        family = wait_for_family(driver.pid, members=5 * jobs)
        driver.kill()
        assert_gone(family)


def wait_for_family(pid, members):
    """Return the pids of each worker, its reaper and the hanging plugin's three children."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        pids = [process.pid for process in psutil.Process(pid).children(recursive=True)]
        if len(pids) >= members:
            return pids
        assert time.monotonic() < deadline
        time.sleep(0.02)
