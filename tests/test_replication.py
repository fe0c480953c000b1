import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness
from harness.api import Session
from harness.cli.main import cli
from harness.cli.options import _AXES
from harness.contract import Record, Trial, UnknownNameError, UsageError
from harness.measure.worker import request_line
from harness.plugins import load_plugins
from harness.sweep.affinity import read_affinity
from harness.sweep.interpreters import read_interpreters, with_interpreters
from harness.sweep.local import run_trials
from harness.sweep.local_settings import LocalSettings
from harness.sweep.plan import expand
from harness.sweep.presets import preset
from harness.sweep.process import worker_environment
from harness.sweep.request import PlanRequest
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
    assert preset(PlanRequest(launches=4), GIVEN)[1]["launches"] == 4
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


FAULTY = Path(__file__).parent / "plugins" / "faulty"


def test_every_launch_is_a_fresh_process(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(FAULTY))
    monkeypatch.syspath_prepend(FAULTY)
    plugins = load_plugins(block=("torch", "jax"))
    talking = trial(backend="faulty", variant="tells_process", task="echo")
    pids = []
    for _ in range(3):
        list(run_trials([talking], settings=LocalSettings(logs=tmp_path), plugins=plugins))
        pids.append((tmp_path / f"{talking.trial_id}.log").read_text().split()[1])
    assert len(set(pids)) == 3
    assert str(os.getpid()) not in pids


def test_all_engines_get_the_one_optimizer_and_rate_that_the_task_publishes():
    plugins = load_plugins()
    axes = {"backend": ("numpy", "torch:all", "jax:all"), "task": ("char", "copy", "adding"), "length": (50,)}
    for task in axes["task"]:
        trials = expand(PlanRequest({**axes, "task": (task,)}), plugins)
        defaults = plugins.task(task).defaults
        rules = {(one.optimizer, one.learning_rate, one.batch, one.hidden, one.steps) for one in trials}
        published = (defaults.optimizer, defaults.learning_rate, defaults.batch, defaults.hidden, defaults.steps)
        assert rules == {published}
        assert len({one.engine for one in trials}) == len(trials) > 3


CHANGES = {
    "hidden": "6", "layers": "2", "dropout": "0.5", "initialisation": "glorot", "forget_bias": "1", "chrono": "9",
    "batch": "3", "steps": "7", "optimizer": "sgd", "learning_rate": "0.25", "momentum": "0.5", "decay": "0.5",
    "schedule": "cosine", "schedule_steps": "3", "schedule_factor": "0.5", "clip_norm": "0.125", "clip_value": "0.25",
    "evaluate_every": "2", "seed": "3", "data_seed": "4", "evaluation_seed": "5", "dtype": "float64", "threads": "2",
    "backend": "faulty:good", "task": "echo", "cell": "gru", "length": "4", "device": "cpu",
}  # fmt: skip
NEEDS = {
    "momentum": ("--optimizer", "sgd"), "decay": ("--optimizer", "rmsprop"), "dropout": ("--layers", "2"),
    "schedule_steps": ("--schedule", "cosine"), "schedule_factor": ("--schedule", "exponential"),
}  # fmt: skip
WITHOUT_EFFECT = ("backend", "task", "device")  # here: there is only one of each
USUAL = ("-b", "faulty:good", "-t", "echo", "-c", "lstm", "-T", "3", "--hidden", "5", "--batch", "2", "--steps", "8")


def measured(tmp_path, *arguments):
    runner, path = CliRunner(), str(tmp_path / "s.sqlite")
    result = runner.invoke(cli, ["run", *arguments, "--store", path, "-q", "--format", "json"], standalone_mode=False)
    assert result.return_value == 0, (result.exception, result.stderr)
    with Store.open(path, create=False) as store:
        return store.launches(with_curves=True)[-1]


def behaviour(record):
    """Return what a trial did, apart from what it was asked for."""
    return {name: record.curves[name] for name in ("loss", "gradient_norm", "evaluations")} | {
        "threads": record.details["effective_threads"], "placement": record.details["placement"]
    }  # fmt: skip


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What a trial does without the option in question, by what that option needs."""
    known = {}

    def behaviour_with(needs):
        if needs not in known:
            known[needs] = behaviour(measured(tmp_path_factory.mktemp("usual"), *USUAL, *needs))
        return known[needs]

    return behaviour_with


@pytest.mark.parametrize("name", [name for name, *_ in _AXES])
def test_every_option_of_a_trial_reaches_the_worker_and_changes_what_it_does(name, tmp_path, monkeypatch, usual):
    if name == "threads" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two threads need two processors")
    monkeypatch.setenv("PYTHONPATH", str(FAULTY))
    monkeypatch.syspath_prepend(FAULTY)
    option, needs = f"--{name.replace('_', '-')}", NEEDS.get(name, ())
    record = measured(tmp_path, *USUAL, *needs, option, CHANGES[name])
    assert record.status == "ok"
    found = record.trial.engine if name == "backend" else getattr(record.trial, name)
    assert str(found) in {CHANGES[name], f"{CHANGES[name]}.0"}
    before = usual(() if name == "schedule_factor" else needs)  # which that schedule cannot be without
    assert (behaviour(record) == before) == (name in WITHOUT_EFFECT)


def test_a_worker_of_the_first_version_is_told_nothing_that_it_does_not_know():
    named, settings = trial(python="base"), LocalSettings(calibrations={"place": {"peak": 1.0}})
    told = json.loads(request_line(named, settings.of_worker(named)))
    assert set(told["settings"]) == {"checkpoint", "sample_length", "block"}
    assert "python" not in told["trial"]


def test_figures_of_another_version_are_kept_beside_those_that_are_known():
    (record,) = run_trials([trial()])
    content = record.to_json()
    content["figures"]["joules"] = 3.0
    assert Record.from_json(content).details["unknown_figures"] == {"joules": 3.0}


@pytest.mark.parametrize("launches", [0, 2.5, 1001])
def test_a_number_of_launches_that_cannot_be_is_refused_before_anything_runs(launches, tmp_path):
    with pytest.raises(UsageError, match="a whole number from 1 to 1000"):
        harness.run(launches=launches, store=tmp_path / "s.sqlite")
    assert not list(tmp_path.iterdir())
