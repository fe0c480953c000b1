"""What ``harness run`` asks before it runs many launches, and what it says on stderr."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.cli.verbs import run as run_verb
from harness.contract import UsageError, accelerators
from harness.sweep import run as sweep_run
from harness.sweep.run import Outcome

SEEDS = "0,1,2,3,4,5"


@pytest.fixture
def measured(monkeypatch):
    """The trials of each run that would have begun."""
    begun = []
    monkeypatch.setattr(run_verb, "CONFIRM_ABOVE", 10)

    def measure(resolved, *_, **__):
        begun.append(resolved.work_plan.left)
        return Outcome([])

    monkeypatch.setattr(sweep_run, "_measure", measure)
    return begun


def run(*arguments):
    arguments = ["run", "-t", "copy", "-c", "lstm", "-T", "5", *arguments]
    return CliRunner().invoke(
        cli, ["-p", "no:torch", "-p", "no:jax", *arguments], standalone_mode=False
    )


@pytest.mark.parametrize("engines", ["numpy:vectorised,numpy:loop", "numpy:all"])
def test_many_launches_are_counted_when_the_plan_is_known(measured, engines):
    result = run(
        "-b", engines, "--seed", SEEDS
    )  # ten or fewer combinations where one stands for all variants
    assert isinstance(result.exception, UsageError)
    assert "launches, more than 10: add --yes" in str(result.exception)
    assert measured == []
    assert run("-b", engines, "--seed", SEEDS, "--yes").exception is None
    assert len(measured[0]) >= 12


def test_combinations_that_are_one_trial_are_counted_once(measured):
    assert run("-b", "numpy:loop,numpy:loop", "--seed", SEEDS).exception is None
    assert len(measured[0]) == 6


def test_launches_count_as_often_as_each_trial_has(measured):
    result = run("-c", "lstm,rnn", "--launches", "6")
    assert str(result.exception).startswith("the plan has 12 launches, more than 10")
    assert measured == []


def test_a_silent_fall_to_the_cpu_is_noted_on_stderr(measured, monkeypatch):
    from harness_numpy import NumpyBackend

    monkeypatch.setattr(accelerators, "DEVICE_FILES", (Path(__file__),))
    monkeypatch.setattr(NumpyBackend, "devices", lambda self: ("cpu",))
    result = run("-b", "numpy")
    assert result.stderr.startswith("note: numpy runs on the CPU: it finds no accelerator")
    assert result.stdout == ""
    assert run("-b", "numpy", "--device", "cpu").stderr == ""
    assert len(measured) == 2
