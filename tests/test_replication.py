import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.api import Session
from harness.contract import Trial, UnknownNameError, UsageError
from harness.plugins import load_plugins
from harness.sweep.affinity import read_affinity
from harness.sweep.interpreters import read_interpreters, with_interpreters
from harness.sweep.local import LocalSettings, run_trials
from harness.sweep.plan import PlanRequest
from harness.sweep.presets import preset
from harness.sweep.process import worker_environment
from harness.sweep.rounds import in_rounds
from harness_results.store import Store

FIRST, LAST = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
GIVEN = {"fast": False, "rigorous": False, "launches": None, "sample_length": None}


def trial(**changes):
    small = {"backend": "numpy", "variant": "vectorised", "task": "copy", "cell": "rnn"}
    return Trial(**(small | {"length": 3, "hidden": 4, "batch": 2, "steps": 8, "optimizer": "sgd"} | changes))


TRIALS = [trial(seed=seed) for seed in range(6)]


def test_every_round_holds_every_trial_once_in_an_order_of_its_own():
    ordered = in_rounds(TRIALS, 5, order_seed=0)
    rounds = [tuple(ordered[start : start + 6]) for start in range(0, 30, 6)]
    assert all(Counter(one) == Counter(TRIALS) for one in rounds)
    assert len(set(rounds)) > 1


def test_the_order_follows_its_seed_and_nothing_else():
    assert in_rounds(TRIALS, 5, order_seed=1) == in_rounds(TRIALS, 5, order_seed=1)
    assert in_rounds(TRIALS, 5, order_seed=1) != in_rounds(TRIALS, 5, order_seed=2)


def test_one_launch_keeps_the_order_of_the_plan():
    assert in_rounds(TRIALS, 1, order_seed=3) == TRIALS


class Silent:
    def event(self, trial, event):
        pass

    def finish(self, record):
        pass


def test_launches_are_stored_one_by_one_with_how_they_were_made(tmp_path):
    plugins = load_plugins(block=("torch", "jax"))
    trials = [trial(seed=1), trial(seed=2)]
    with Store.open(tmp_path / "store.sqlite") as store:
        session = Session(store, "test", plugins, launches=2, order_seed=7)
        made = list(session.measure(trials, LocalSettings(), Silent()))
        assert [record.status for record in made] == ["ok"] * 4
        assert Counter(record.trial for record in store.launches()) == Counter(trials * 2)
        assert [record.trial for record in store.launches()] == in_rounds(trials, 2, 7)
        settings = store.last_run().settings
    assert (settings["launches"], settings["order_seed"]) == (2, 7)


def test_only_the_latest_run_of_a_trial_gives_launches(tmp_path):
    plugins = load_plugins(block=("torch", "jax"))
    with Store.open(tmp_path / "store.sqlite") as store:
        for launches in (2, 1):
            list(Session(store, "test", plugins, launches=launches).measure([trial()], LocalSettings(), Silent()))
        assert (len(store.launches()), len(store.launches(1))) == (1, 2)


def test_presets_fill_in_only_what_was_not_given():
    plan, options = preset(PlanRequest(), {**GIVEN, "fast": True})
    assert (plan.axes["evaluate_every"], options["launches"], options["sample_length"]) == ((0,), 1, 0)
    plan, options = preset(PlanRequest({"evaluate_every": (5,)}), {**GIVEN, "fast": True, "launches": 3})
    assert (plan.axes["evaluate_every"], options["launches"]) == ((5,), 3)
    assert preset(PlanRequest(), {**GIVEN, "rigorous": True})[1]["launches"] == 10
    assert preset(PlanRequest(), GIVEN)[1]["launches"] == 1
    with pytest.raises(UsageError, match="exclude each other"):
        preset(PlanRequest(), {**GIVEN, "fast": True, "rigorous": True})


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


@pytest.fixture
def other_python(tmp_path):
    """Another interpreter, as far as anyone can tell: a program that starts this one."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nHARNESS_OTHER=1 exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_a_trial_runs_in_the_interpreter_that_it_names(other_python):
    found = read_interpreters([f"base={other_python}"])
    (named,) = with_interpreters([trial()], found)
    assert named.trial_id != trial().trial_id
    seen = []
    settings = LocalSettings(pythons={"base": other_python})
    (record,) = run_trials([named], settings=settings, on_event=lambda which, event: seen.append(which))
    assert (record.status, record.trial.python, record.columns()["python"]) == ("ok", "base", "base")
    assert set(seen) == {named}


def test_a_trial_that_names_no_interpreter_keeps_the_id_it_always_had():
    assert "python" not in trial().content()


def test_another_interpreter_does_not_get_the_packages_of_this_one(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    plugins = load_plugins(block=("torch", "jax"))
    assert "PYTHONPATH" not in worker_environment(trial(python="base"), plugins)
    assert worker_environment(trial(), plugins)["PYTHONPATH"] == "/somewhere"


def test_interpreters_that_cannot_be_used_are_refused_all_at_once(tmp_path):
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(UsageError) as error:
        read_interpreters(["nameless", f"a={Path('/nowhere/python')}", f"b={bare}", "c=/bin/true", "a=x"])
    told = str(error.value)
    assert "write NAME=PATH" in told
    assert "a=/nowhere/python: cannot be run" in told
    assert "no harness works in it" in told
    assert "-m pip install rnn-harness" in told
    assert "does not answer as a Python" in told


def test_an_interpreter_that_nobody_gave_is_an_error():
    with pytest.raises(UnknownNameError, match="interpreter 'base'"):
        list(run_trials([trial(python="base")]))
