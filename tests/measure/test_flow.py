"""Gradient flow: lags, quantiles, horizon and decay, against cells whose decay theory gives."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cells import RNN, ReluRNN
from harness.contract import Batch, Execution, Gradients, Inputs, Model, Optimizer, Trial
from harness.measure import setup
from harness.measure.proof.flow import measure_flow
from harness.measure.proof.initialise import initial_parameters
from harness.plugins import load_plugins
from harness_numpy import NumpyBackend


class Given:
    """A trainer that returns the hidden gradients it was made with."""

    def __init__(self, hidden):
        self.hidden = hidden

    def put(self, batch):
        return batch

    def gradients(self, batch):
        return Gradients(0.0, {}, self.hidden)


def batch_of(steps, size, mask=None):
    inputs = np.random.default_rng(0).random((steps, size, 2))
    mask = np.ones((steps, size), bool) if mask is None else mask
    return Batch(inputs, np.zeros((steps, size, 1)), mask)


def decaying(factor, steps, dtype=np.float64):
    """(1, T, 1, 1), factor ** lag."""
    return (factor ** np.arange(steps - 1, -1, -1.0)).astype(dtype).reshape(1, steps, 1, 1)


@given(st.floats(0.3, 1.5), st.integers(2, 60))
def test_decay_is_the_factor_per_step(factor, steps):
    flow = measure_flow(Given(decaying(factor, steps)), batch_of(steps, 1))
    assert flow.decay == pytest.approx(factor, rel=1e-9)
    np.testing.assert_allclose(flow.median, factor ** np.arange(steps), rtol=1e-12)


def test_horizon_is_the_first_lag_below_one_percent():
    flow = measure_flow(Given(decaying(0.5, 20)), batch_of(20, 1))
    assert (flow.horizon, flow.censored) == (7, False)  # 0.5^6 = 1.6 %, 0.5^7 = 0.8 %


def test_a_horizon_beyond_the_sequence_is_censored():
    flow = measure_flow(Given(decaying(0.9, 20)), batch_of(20, 1))
    assert (flow.horizon, flow.censored) == (20, True)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1])
def test_a_scaled_identity_network_decays_by_its_scale(factor):
    model = Model(ReluRNN(), Inputs("real", 2), 8, 1, 1, "squared_error")
    parameters = initial_parameters(model, 0, scheme="identity")
    parameters["weight_hh_l0"] *= factor
    parameters["bias_ih_l0"] += 0.1  # keeps every unit in the linear part
    trainer = NumpyBackend().trainer(
        model, Optimizer(), parameters, Execution("vectorised", dtype="float32")
    )
    assert measure_flow(trainer, batch_of(40, 3)).decay == pytest.approx(factor, rel=1e-4)


def test_a_small_tanh_network_decays_by_its_largest_eigenvalue():
    model = Model(RNN(), Inputs("real", 2), 8, 1, 1, "squared_error")
    parameters = initial_parameters(model, 0)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    parameters["weight_hh_l0"] = 0.6 * rotation  # every singular value is 0.6
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        parameters[name] *= 1e-3  # tanh' is 1
    trainer = NumpyBackend().trainer(
        model, Optimizer(), parameters, Execution("vectorised", dtype="float64")
    )
    assert measure_flow(trainer, batch_of(30, 3)).decay == pytest.approx(0.6, rel=1e-4)


def test_lags_count_from_each_sequences_own_last_scored_position():
    steps, hidden = 6, np.zeros((1, 6, 3, 1))
    mask = np.zeros((steps, 3), bool)
    mask[[1, 3], 0] = mask[5, 1] = True  # sequence 2 has no scored position
    hidden[0, :, 0, 0] = [10, 20, 30, 40, 0, 0]
    hidden[0, :, 1, 0] = [1, 2, 3, 4, 5, 6]
    hidden[0, :, 2, 0] = 1000
    flow = measure_flow(Given(hidden), batch_of(steps, 3, mask))
    assert flow.lags.tolist() == [0, 1, 2, 3, 4, 5]
    assert flow.median.tolist() == [23, 17.5, 12, 6.5, 2, 1]
    assert flow.low.tolist() == [14.5, 11.25, 8, 4.75, 2, 1]
    assert flow.high.tolist() == [31.5, 23.75, 16, 8.25, 2, 1]


def test_layers_are_kept_apart_and_combined_in_the_median():
    hidden = np.zeros((2, 1, 1, 2))
    hidden[0, 0, 0], hidden[1, 0, 0] = [3, 0], [0, 4]
    flow = measure_flow(Given(hidden), batch_of(1, 1))
    assert flow.layers.tolist() == [[3.0], [4.0]]
    assert (flow.median.tolist(), flow.decay) == ([5.0], None)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_gradients_that_are_zero_or_not_finite_give_none(bad):
    flow = measure_flow(Given(np.full((1, 4, 3, 2), bad)), batch_of(4, 3))
    assert (flow.horizon, flow.censored, flow.decay) == (None, False, None)
    json.dumps(flow.to_json(), allow_nan=False)


def test_one_bad_sequence_does_not_hide_the_others():
    hidden = np.repeat(decaying(0.5, 10), 5, axis=2)
    hidden[:, :, 0] = np.nan
    assert measure_flow(Given(hidden), batch_of(10, 5)).decay == pytest.approx(0.5)


def test_gradients_that_underflow_in_float32_do_not_bend_the_decay():
    assert measure_flow(
        Given(decaying(0.1, 80, np.float32)), batch_of(80, 1)
    ).decay == pytest.approx(0.1, rel=1e-3)


def test_a_plateau_of_noise_far_below_lag_zero_does_not_bend_the_decay():
    hidden = np.maximum(decaying(0.1, 120), 1e-35)
    assert measure_flow(Given(hidden), batch_of(120, 1)).decay == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 10, 512, 513, 5000])
def test_json_keeps_at_most_512_lags_and_both_ends(steps):
    content = measure_flow(Given(decaying(0.999, steps)), batch_of(steps, 1)).to_json()
    assert len(content["lags"]) == min(len(content["lags"]), 512)
    assert (content["lags"][0], content["lags"][-1]) == (0, steps - 1)
    assert content["lags"] == sorted(set(content["lags"]))
    assert {len(content[name]) for name in ("median", "low", "high")} | {
        len(content["layers"][0])
    } == {len(content["lags"])}


@pytest.mark.parametrize(("room", "sequences"), [(2**28, 4), (3 * 20 * 2 * 8 * 4, 3), (1, 1)])
def test_the_flow_is_read_off_no_more_sequences_than_there_is_room_for(
    room, sequences, monkeypatch
):
    monkeypatch.setattr(setup, "FLOW_BYTES", room)
    plugins = load_plugins(("torch", "jax"))
    trial = Trial(
        backend="numpy",
        variant="vectorised",
        task="adding",
        cell="rnn",
        length=20,
        layers=2,
        hidden=8,
        batch=4,
    )
    prepared = setup.prepare(trial, plugins, plugins.backend("numpy"), "numpy")
    assert prepared.flow_batch().size == sequences
