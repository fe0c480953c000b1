"""Every option of a trial is followed to the worker, and changes what it does there."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.cli.options import _AXES
from harness_results.store import Store

FAULTY = Path(__file__).parent / "plugins" / "faulty"

CHANGES = {
    "hidden": "6", "layers": "2", "dropout": "0.5", "initialisation": "glorot", "forget_bias": "1", "chrono": "9",
    "batch": "3", "steps": "7", "optimizer": "sgd", "learning_rate": "0.25", "momentum": "0.5", "decay": "0.5",
    "schedule": "cosine", "schedule_steps": "3", "schedule_factor": "0.5", "clip_norm": "0.125", "clip_value": "0.25",
    "evaluate_every": "2", "seed": "3", "data_seed": "4", "evaluation_seed": "5", "dtype": "float64", "threads": "2",
    "backend": "faulty:good", "task": "echo", "cell": "gru", "length": "4", "device": "cpu",
    "checkpoint": "2",
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
