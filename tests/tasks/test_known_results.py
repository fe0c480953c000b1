"""What is known of cells on tasks, in runs of some seconds each."""

import numpy as np
import pytest

import harness
from harness_tasks import Forecast

LEARNT = [
    ("digits", "rnn", 8, {}, True),
    ("digits", "lstm", 8, {}, True),
    ("digits", "lstm", 40, {}, False),
    ("words", "lstm", 35, {}, True),
    ("selective_copy", "lstm", 20, {"steps": 2000}, True),
    ("selective_copy", "rnn", 20, {"steps": 2000}, False),
    ("temporal_order", "rnn", 30, {}, False),
    ("temporal_order", "gru", 30, {}, True),
    ("forecast", "lstm", 50, {}, True),
]


@pytest.mark.full
@pytest.mark.parametrize(("task", "cell", "length", "options", "solved"), LEARNT)
def test_a_cell_solves_what_it_is_known_to_solve(task, cell, length, options, solved, tmp_path):
    results = harness.run(
        task=task,
        cell=cell,
        length=length,
        backend="numpy:fastest",
        store=tmp_path / "store.sqlite",
        progress=False,
        **options,
    )
    assert [record.status for record in results.records] == ["ok"]
    assert [record.figures["solved"] for record in results.records] == [solved]


def trained(tmp_path, **plan):
    results = harness.run(
        backend="numpy:fastest", store=tmp_path / "store.sqlite", progress=False, **plan
    )
    assert {record.status for record in results.records} == {"ok"}
    return results.records


@pytest.mark.full
def test_more_units_recall_more(tmp_path):
    options = {"associative_recall": {"keys": 4, "values": 4}}
    records = trained(
        tmp_path, task="associative_recall", cell="lstm", length=32, hidden=[4, 32],
        steps=3000, learning_rate=0.01, task_options=options,
    )  # fmt: skip
    few, many = (record.figures["accuracy"] for record in records)
    assert few < many - 0.3
    assert many > 0.99


def reservoir_loss(task, units, scale, windows=40, radius=0.9, ridge=1e-6):
    """Return the loss of an echo state network: random weights, and a readout by ridge regression.

    As Jaeger 2001: tanh units, weights scaled to a spectral radius.
    """
    rng = np.random.default_rng(0)
    recurrent = rng.standard_normal((units, units))
    recurrent *= radius / np.abs(np.linalg.eigvals(recurrent)).max()
    of_input, bias = scale * rng.uniform(-1, 1, units), 0.1 * rng.uniform(-1, 1, units)

    def read(batch):
        states = [np.zeros((batch.size, units))]
        for x in batch.inputs:
            states.append(np.tanh(states[-1] @ recurrent.T + x * of_input + bias))
        features = np.concatenate([states[1:], batch.inputs], axis=2)[batch.mask]
        return np.column_stack([features, np.ones(len(features))]), batch.targets[batch.mask][:, 0]

    batches = task.training(np.random.default_rng(1), 32)
    pairs = [read(next(batches)) for _ in range(windows)]
    features, targets = (np.concatenate(part) for part in zip(*pairs, strict=True))
    penalty = ridge * len(features) * np.eye(features.shape[1])
    readout = np.linalg.solve(features.T @ features + penalty, features.T @ targets)
    held_out = [read(batch) for batch in task.validation(np.random.default_rng(2), 32)]
    return np.mean(np.concatenate([(states @ readout - y) ** 2 for states, y in held_out]))


@pytest.mark.full
@pytest.mark.parametrize(("series", "length"), [("mackey_glass", 50), ("narma10", 100)])
def test_trained_networks_forecast_better_than_a_reservoir_of_their_size(series, length, tmp_path):
    task = Forecast(Forecast.Options(series=series), length)
    task.prepare(np.random.SeedSequence(0))
    reservoir = min(reservoir_loss(task, 64, scale) for scale in (0.1, 0.5))
    for record in trained(
        tmp_path, task="forecast", cell=["rnn", "lstm"], length=length,
        task_options={"forecast": {"series": series}},
    ):  # fmt: skip
        assert record.figures["loss_validation"] < reservoir
