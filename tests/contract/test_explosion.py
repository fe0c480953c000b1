"""A record marks an exploding gradient, with its largest norm and the step of its horizon."""

import json

import pytest

from harness.contract import Record, Trial
from harness.measure.runner import run_trial
from harness.plugins import load_plugins
from harness_results.results import Results
from harness_results.study import findings

MARKS = {"exploding": "↑", "vanishing": "↓"}


def record(status="ok", curves=None, details=None, **figures):
    known = {"gradient_norm_first": 2.0, "gradient_norm_median": 2.07, "gradient_norm_max": 9.0,
             "gradient_norm_last": 2.0, "gradient_horizon": 40, "gradient_decay": 0.95}  # fmt: skip
    trial = Trial(
        backend="numpy", variant="loop", task="adding", cell="rnn_relu", length=50, steps=40
    )
    return Record(
        trial, status, figures=known | figures, curves=curves or {}, details=details or {}
    )


def curve(*norms, decay=1.05):
    return {"lags": list(range(len(norms))), "median": list(norms), "decay": decay}


@pytest.mark.parametrize(
    ("found", "exploding"),
    [
        (record(), False),
        (record(gradient_norm_max=9.8e8, gradient_horizon=1), True),
        (record(gradient_norm_max=206.0), False),
        (record(gradient_norm_max=208.0), True),
        (
            record(gradient_norm_max=208.0, gradient_norm_first=3.0),
            False,
        ),  # begins high: training made it small
        (record(gradient_norm_first=None, gradient_norm_max=208.0), True),
        (record(gradient_decay=1.02), True),
        (record(gradient_decay=1.005), False),
        (
            record(gradient_decay=1.02, curves={"gradient_flow": {"final": curve(1.0, 0.1, 0.9)}}),
            False,
        ),
        (
            record(
                curves={
                    "gradient_flow": {
                        "initial": curve(1.0, 1.1, 1.2),
                        "final": curve(1.0, decay=None),
                    }
                }
            ),
            True,
        ),
        (record(curves={"gradient_flow": {"initial": curve(1.0, 1e300, None)}}), True),
        (record("diverged", curves={"gradient_norm": [2.0, 3.0, None]}), True),
        (record("diverged", curves={"gradient_norm": [2.0, 3.0, 4.0]}), False),
        (
            record(
                "ok",
                curves={
                    "gradient_norm": "text",
                    "gradient_flow": {"final": [3], "initial": {"median": 1}},
                },
            ),
            False,
        ),
        (record("failed", details={"gradient_exploding": True}), True),
        (Record(record().trial, "failed"), False),
    ],
)
def test_a_gradient_explodes_by_its_largest_norm_or_by_its_growth_on_the_way_back(found, exploding):
    assert findings.is_exploding(found) is exploding
    assert found.columns()["gradient_exploding"] == (None if found.figures == {} else exploding)


def test_what_exploded_is_not_shown_as_vanishing():
    exploded = record(gradient_norm_max=9.8e8, gradient_horizon=1, gradient_decay=0.3)
    for text in texts(exploded):
        assert "(max 9.8" in text
        assert "horizon after 40 steps" in text
    shown = texts(exploded)[0]
    assert MARKS["exploding"] in shown
    assert MARKS["vanishing"] not in shown


@pytest.mark.parametrize("status", ["diverged", "timeout", "interrupted"])
def test_the_horizon_of_a_network_that_was_not_trained_to_the_end_is_that_of_step_0(status):
    stopped = record(status, gradient_horizon=3)
    for text in texts(stopped):
        assert "3 (step 0)" in text
    assert not findings.is_vanishing(stopped)
    assert stopped.columns()["gradient_horizon_step"] == 0


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (record(), 40),
        (record(details={"gradient_horizon_step": 17}), 17),
        (record("crashed", details={"gradient_horizon_step": 0}), 0),
        (record(gradient_horizon=None, gradient_decay=None), None),
    ],
)
def test_a_horizon_has_the_step_of_its_network(found, step):
    assert found.columns()["gradient_horizon_step"] == step


def texts(*records):
    results = Results(records)
    return [results.to_markdown(), results.to_latex()]


RATES = {0.0003: None, 0.003: "dead", 30.0: "diverged"}


@pytest.mark.parametrize("rate", RATES)
def test_a_network_that_explodes_in_training_is_recorded_as_exploding(rate):
    trial = Trial(backend="numpy", variant="vectorised", task="adding", cell="rnn_relu",
                  length=50, hidden=32, steps=40, optimizer="sgd", learning_rate=rate,
                  clip_norm=None, initialisation="identity")  # fmt: skip
    *_, last = run_trial(trial, plugins=load_plugins(("torch", "jax")))
    found = last.record
    assert findings.is_exploding(found) is (RATES[rate] is not None)
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["details"]["gradient_exploding"] is findings.is_exploding(found)
    assert found.status == ("diverged" if RATES[rate] == "diverged" else "ok")
    assert found.columns()["gradient_horizon_step"] == (0 if found.status == "diverged" else 40)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("task", ["adding", "copy"])
@pytest.mark.slow
def test_ordinary_training_does_not_explode(cell, task):
    trial = Trial(backend="numpy", variant="vectorised", task=task, cell=cell, length=20,
                  hidden=16, batch=16, steps=150, learning_rate=0.005, clip_norm=1.0)  # fmt: skip
    *_, last = run_trial(trial, plugins=load_plugins(("torch", "jax")))
    assert last.record.status == "ok"
    assert not findings.is_exploding(last.record)
