"""Other interpreters: each is checked for a harness, and runs the trials that name it."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders import small_trial
from harness.cli.main import cli
from harness.contract import Record, UnknownNameError, UsageError
from harness.execute.interpreters import Interpreter, read_interpreters, with_interpreters
from harness.execute.local import run_trials
from harness.execute.process import worker_environment
from harness.execute.settings import LocalSettings
from harness.measure.worker import request_line
from harness.plugins import load_plugins

FIRST = min(os.sched_getaffinity(0))


def trial(**changes):
    return small_trial(**({"optimizer": "sgd"} | changes))


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
    settings = LocalSettings(pythons=found)
    (record,) = run_trials(
        [named], settings=settings, on_event=lambda which, event: seen.append(which)
    )
    assert (record.status, record.trial.python, record.columns()["python"]) == (
        "ok",
        "base",
        "base",
    )
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
        read_interpreters(
            ["nameless", f"a={Path('/nowhere/python')}", f"b={bare}", "c=/bin/true", "a=x"]
        )
    told = str(error.value)
    assert "write NAME=PATH" in told
    assert "a=/nowhere/python: cannot be run" in told
    assert "no harness works in it" in told
    assert "-m pip install rnn-harness" in told
    assert "does not answer as a Python" in told


def test_an_interpreter_that_nobody_gave_is_an_error():
    with pytest.raises(UnknownNameError, match="interpreter 'base'"):
        list(run_trials([trial(python="base")]))


FIRST_SETTINGS = frozenset({"checkpoint", "sample_length", "block"})


def test_a_worker_of_the_first_version_is_told_nothing_that_it_does_not_know():
    old = Interpreter("base", Path("python"), "0.1.0", FIRST_SETTINGS)
    named, settings = (
        trial(python="base"),
        LocalSettings(calibrations={"place": {"peak": 1.0}}, pythons={"base": old}),
    )
    told = json.loads(request_line(named, settings.of_worker(named)))
    assert set(told["settings"]) == {"checkpoint", "sample_length", "block"}
    assert "python" not in told["trial"]


def test_another_interpreter_is_told_the_limits_that_its_environment_is_known_to_have(other_python):
    found = read_interpreters([f"base={other_python}"])
    (named,) = with_interpreters([trial()], found)
    (first,) = run_trials([named], settings=LocalSettings(pythons=found))
    known = {first.environment_id: first.details["calibrations"]}
    assert any(name.startswith("peak/numpy") for name in known[first.environment_id])
    (second,) = run_trials([named], settings=LocalSettings(pythons=found, calibrations=known))
    assert (second.details["calibrations"], second.details["limits"]) == (
        {},
        first.details["limits"],
    )


@pytest.mark.parametrize("option", [["--affinity", str(FIRST)], ["--sample-every", "5"]])
def test_an_older_harness_is_refused_for_what_it_cannot_do_before_anything_runs(
    tmp_path, monkeypatch, option
):
    old = Interpreter("base", Path("old/python"), "0.1.0", FIRST_SETTINGS)
    monkeypatch.setattr("harness.sweep.run.read_interpreters", lambda settings: {"base": old})
    asked = [*shlex.split("run -t copy -T 3 --python base=old/python"), *option]
    result = CliRunner().invoke(
        cli, [*asked, "--store", str(tmp_path / "s.sqlite")], standalone_mode=False
    )
    assert isinstance(result.exception, UsageError)
    refused = f"base=old/python: its harness (0.1.0) does not know {option[0]}; update it"
    assert refused in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_figures_of_another_version_are_kept_beside_those_that_are_known():
    (record,) = run_trials([trial()])
    content = record.to_json()
    content["figures"]["joules"] = 3.0
    assert Record.from_json(content).details["unknown_figures"] == {"joules": 3.0}
