import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import paths
from harness.contract import Record, Trial
from harness.measure.runner import Settings
from harness.measure.worker import request_line

FAULTY = paths.FAULTY
TRIAL = Trial(
    backend="faulty", variant="good", task="echo", cell="rnn", length=3, hidden=4, batch=2, steps=8
)


@pytest.fixture
def start():
    """Return a function that starts a worker on a trial: (process, file of its events)."""
    started = []

    def start_worker():
        read, write = os.pipe()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")])
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.measure.worker", str(write)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=(write,), env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(write)
        events = os.fdopen(read)
        started.append((process, events))
        return process, events

    yield start_worker
    for process, events in started:
        process.kill()
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr, events):
            file.close()


def ask(process, trial=TRIAL, settings=None):
    process.stdin.write(request_line(trial, settings or Settings()))
    process.stdin.flush()


def test_events_come_as_json_lines_on_their_own_pipe_and_the_record_last(start, tmp_path):
    process, events = start()
    ask(process, settings=Settings(checkpoint=str(tmp_path / "weights"), block=("torch", "jax")))
    lines = [json.loads(line) for line in events]
    assert lines[0] == {"event": "phase", "name": "load"}
    assert [line["event"] for line in lines].count("record") == 1
    record = Record.from_json(lines[-1]["record"])
    assert record.status == "ok"
    assert record.trial == TRIAL
    assert process.stdout.read() == b""
    assert process.wait() == 0
    assert (tmp_path / "weights").exists()


def test_progress_carries_the_losses_of_its_steps(start):
    process, events = start()
    ask(process)
    lines = [json.loads(line) for line in events]
    progress = [line for line in lines if line["event"] == "progress"]
    assert [line["step"] for line in progress][-1] == TRIAL.steps
    assert [loss for line in progress for loss in line["losses"]] == lines[-1]["record"]["curves"][
        "loss"
    ]
    assert all(
        line["steps"] == 8 and line["tokens"] == 6 * len(line["losses"]) for line in progress
    )


def test_a_blocked_plugin_is_not_loaded(start):
    process, events = start()
    ask(process, settings=Settings(block=("faulty",)))
    record = Record.from_json(json.loads(list(events)[-1])["record"])
    assert (record.status, "blocked" in record.reason) == ("failed", True)


def test_without_a_request_nothing_runs(start):
    process, events = start()
    process.stdin.close()
    assert list(events) == []
    assert process.wait() != 0


def test_a_worker_does_not_outlive_the_end_of_its_stdin(start):
    process, events = start()
    ask(process, TRIAL.model_copy(update={"variant": "hang"}))
    while json.loads(events.readline())["event"] != "progress":
        pass
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.stdin.close()
    process.wait(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [member for member in alive if member.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_does_not_outlive_its_keeper(start):
    process, events = start()
    ask(process, TRIAL.model_copy(update={"variant": "slow", "steps": 10_000}))
    while json.loads(events.readline())["event"] != "progress":
        pass
    (worker,) = psutil.Process(process.pid).children()
    process.kill()
    _, alive = psutil.wait_procs([worker], timeout=30)
    assert not [member for member in alive if member.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whom the kernel kills first")
def test_the_kernel_kills_the_worker_before_its_executor_where_memory_runs_out(start):
    process, events = start()
    ask(process, TRIAL.model_copy(update={"variant": "slow", "steps": 10_000}))
    events.readline()
    (worker,) = psutil.Process(process.pid).children()
    scores = [
        int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (worker.pid, process.pid)
    ]
    assert scores == [1000, int(Path("/proc/self/oom_score_adj").read_text())]
