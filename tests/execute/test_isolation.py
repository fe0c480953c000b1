"""Warm workers: a process is reused for its kind of trial, but never after a failure."""

import re
import shlex

import psutil
import pytest
from click.testing import CliRunner

from builders import small_trial
from harness.cli.main import cli
from harness.contract import UsageError
from harness.execute.launch import LOG_TEXT
from harness.execute.local import run_trials
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots
from harness.measure.events import Finished, Progress

WARM = LocalSettings(isolation="backend", keep_logs=True, kill_seconds=0.5)


def trial(variant="tells_process", **changes):
    return small_trial(f"faulty:{variant}", **({"task": "echo"} | changes))


def process_of(record):
    """Return the pid that the plugin printed."""
    (pid,) = set(re.findall(r"process (\d+)", record.details[LOG_TEXT]))
    return int(pid)


def test_trials_of_a_backend_share_a_process_and_their_records_say_so(plugins, children):
    first, second = run_trials([trial(seed=1), trial(seed=2)], settings=WARM, plugins=plugins)
    assert process_of(first) == process_of(second)
    assert [record.trial.seed for record in (first, second)] == [1, 2]
    for record in (first, second):
        assert (record.status, record.details["isolation"]) == ("ok", "backend")
        assert "(--isolation backend): only to explore" in record.details["notes"][0]
        assert record.figures["peak_memory_bytes"] is None
        assert record.details["effective_threads"] == 1
    assert first.curves["loss"] != second.curves["loss"]
    assert children() == []


def test_a_warm_process_measures_the_same_as_a_fresh_one(plugins):
    _, warm = run_trials([trial(seed=1), trial()], settings=WARM, plugins=plugins)
    (fresh,) = run_trials([trial()], plugins=plugins)
    assert warm.curves["loss"] == fresh.curves["loss"]
    assert fresh.figures["peak_memory_bytes"] > 0
    assert "isolation" not in fresh.details


def test_every_launch_has_a_process_of_its_own_unless_asked_otherwise(plugins):
    first, second = run_trials(
        [trial(), trial()], settings=LocalSettings(keep_logs=True), plugins=plugins
    )
    assert process_of(first) != process_of(second)


def test_another_device_is_another_process(plugins):
    trials = [trial(), trial(device="card"), trial(seed=1)]
    on_host, on_card, again = map(process_of, run_trials(trials, settings=WARM, plugins=plugins))
    assert on_host == again != on_card


@pytest.mark.parametrize(("variant", "status"), [("segfault", "crashed"), ("error", "failed")])
def test_a_failure_costs_its_own_trial_and_the_next_gets_a_new_process(plugins, variant, status):
    before, failed, after = run_trials(
        [trial(), trial(variant), trial(seed=1)], settings=WARM, plugins=plugins
    )
    assert [record.status for record in (before, failed, after)] == ["ok", status, "ok"]
    assert process_of(before) != process_of(after)


def test_a_time_out_ends_the_process_and_not_the_run(plugins):
    settings = LocalSettings(
        isolation="backend", keep_logs=True, kill_seconds=0.5, timeout_seconds=20
    )
    hung, after = run_trials([trial("hang"), trial()], settings=settings, plugins=plugins)
    assert (hung.status, after.status) == ("timeout", "ok")


def test_a_process_that_died_while_it_waited_is_replaced(plugins, children):
    pids = []

    def kill_idle(which, event):
        if isinstance(event, Finished) and not pids:
            pids.extend(child.pid for child in children())

    records = run_trials(
        [trial(), trial(seed=1)], settings=WARM, plugins=plugins, on_event=kill_idle
    )
    first = next(records)
    for pid in pids:
        psutil.Process(pid).kill()
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=30)
    (second,) = records
    assert (first.status, second.status) == ("ok", "ok")
    assert process_of(first) != process_of(second)


def test_launches_at_once_never_share_a_process(plugins, children):
    settings = LocalSettings(isolation="backend", keep_logs=True, slots=Slots(((), ())))
    running, at_once = set(), []

    def note(which, event):
        (running.discard if isinstance(event, Finished) else running.add)(which.seed)
        at_once.append(len(running))

    trials = [trial(seed=seed, steps=400) for seed in range(4)]
    records = list(run_trials(trials, settings=settings, plugins=plugins, on_event=note))
    assert [(record.status, record.reason) for record in records] == [("ok", None)] * 4
    assert max(at_once) == 2
    assert len({process_of(record) for record in records}) == 2
    assert children() == []


def test_a_caller_that_goes_away_takes_idle_workers_along(plugins, children):
    def leave(which, event):
        if which.seed == 1 and isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(
            run_trials(
                [trial(device="card"), trial(seed=1)],
                settings=WARM,
                plugins=plugins,
                on_event=leave,
            )
        )
    assert children() == []


def test_launches_to_be_replicated_must_be_fresh(plugins, tmp_path):
    arguments = shlex.split("-b faulty:good -t echo -T 3 --isolation backend --launches 2")
    result = CliRunner().invoke(
        cli, ["run", *arguments, "--store", str(tmp_path / "s.sqlite")], standalone_mode=False
    )
    assert isinstance(result.exception, UsageError)
    assert "--launches counts fresh processes" in str(result.exception)
