"""Processors are read, refused if they cannot be used, and bind the worker before imports."""

import os

import pytest

from builders import small_trial
from harness.contract import UsageError
from harness.execute.affinity import read_affinity
from harness.execute.local import run_trials
from harness.execute.settings import LocalSettings

FIRST, LAST = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def trial(**changes):
    return small_trial(**({"optimizer": "sgd"} | changes))


def test_processors_are_read_from_lists_and_ranges():
    assert read_affinity(f"{FIRST}", [1]) == (FIRST,)
    assert set(read_affinity(f"{FIRST}-{LAST}", [1])) <= os.sched_getaffinity(0)


@pytest.mark.parametrize("text", ["", "a", "1-", "99999", "3-1"])
def test_processors_that_cannot_be_used_are_refused(text):
    with pytest.raises(UsageError, match="--affinity"):
        read_affinity(text, [1])


def test_more_threads_than_processors_are_refused():
    with pytest.raises(UsageError, match="2 threads need as many processors"):
        read_affinity(f"{FIRST}", [1, 2])


def test_a_worker_runs_on_the_processors_asked_for_before_it_imports_anything():
    (record,) = run_trials([trial()], settings=LocalSettings(affinity=(LAST,)))
    assert (record.status, record.details["affinity"]) == ("ok", [LAST])
    assert record.environment["cores"]["available"] == 1
