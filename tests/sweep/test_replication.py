"""Launches are fresh processes in shuffled rounds; all engines get the task's settings."""

import math
import os
from collections import Counter

import pytest

import harness
import paths
from builders import small_trial
from harness.contract import UsageError
from harness.execute.launch import Launch
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.plan.expand import expand
from harness.plan.request import PlanRequest
from harness.plugins import load_plugins
from harness.sweep.rounds import in_rounds
from harness.sweep.session import Session
from harness_results.store.store import Store


def trial(**changes):
    return small_trial(**({"optimizer": "sgd"} | changes))


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
        settings = store.runs()[-1].settings
    assert (settings["launches"], settings["order_seed"]) == (2, 7)


def test_only_the_latest_run_of_a_trial_gives_launches(tmp_path):
    plugins = load_plugins(block=("torch", "jax"))
    with Store.open(tmp_path / "store.sqlite") as store:
        for launches in (2, 1):
            list(
                Session(store, "test", plugins, launches=launches).measure(
                    [trial()], LocalSettings(), Silent()
                )
            )
        assert (len(store.launches()), len(store.launches(1))) == (1, 2)


FAULTY = paths.FAULTY


def test_every_launch_is_a_fresh_process(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAULTY))
    monkeypatch.syspath_prepend(FAULTY)
    plugins = load_plugins(block=("torch", "jax"))
    talking = trial(backend="faulty", variant="tells_process", task="echo")
    pids = []
    with StopRequest() as never:
        for _ in range(3):
            launch = Launch(talking, LocalSettings(), lambda *_: None, never)
            launch.run(plugins)
            pids.append(launch.log.text().split()[1])
    assert len(set(pids)) == 3
    assert str(os.getpid()) not in pids


def steps_of(defaults, time_steps):
    if defaults.tokens is None:
        return defaults.steps
    return math.ceil(defaults.tokens / (defaults.batch * time_steps))


def test_all_engines_get_the_one_optimizer_and_rate_that_the_task_publishes():
    plugins = load_plugins()
    axes = {
        "backend": ("numpy", "torch:all", "jax:all"),
        "task": ("char", "copy", "adding"),
        "cell": ("lstm",),
        "length": (50,),
    }
    for task in axes["task"]:
        trials = expand(PlanRequest({**axes, "task": (task,)}), plugins)
        defaults = plugins.task(task).defaults
        rules = {
            (one.optimizer, one.learning_rate, one.batch, one.hidden, one.steps) for one in trials
        }
        published = (
            defaults.optimizer,
            defaults.learning_rate,
            defaults.batch,
            defaults.hidden,
            steps_of(defaults, 50),
        )
        assert rules == {published}
        assert len({one.engine for one in trials}) == len(trials) > 3


@pytest.mark.parametrize("launches", [0, 2.5, 1001])
def test_a_number_of_launches_that_cannot_be_is_refused_before_anything_runs(launches, tmp_path):
    with pytest.raises(UsageError, match="a whole number from 1 to 1000"):
        harness.run(launches=launches, store=tmp_path / "s.sqlite")
    assert not list(tmp_path.iterdir())
