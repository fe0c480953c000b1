"""Cells of every form on the torch backend: vectors, several products and states, all operations.

``loop``, the cell's own step under autograd, is the oracle of the written kernels.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings

from harness.cells import LSTM, SRU, IndRNN, Leaky, PeepholeLSTM, ResetBeforeGRU
from harness.contract import (
    Batch,
    Cell,
    Execution,
    Inputs,
    Model,
    Optimizer,
    Product,
    UnsupportedError,
)
from harness.recurrence import derive
from harness.testing.equations import run_equations
from native_cells import Confusing
from random_cells import random_cells

torch = pytest.importorskip("torch", reason="torch is not installed")
from harness_torch import TorchBackend  # noqa: E402
from harness_torch.written.emit import source  # noqa: E402

BACKEND = TorchBackend()
EXACT = 1e-11  # float64: a few hundred roundings of numbers near 1, in another order

HUGE = 1e6  # beyond it, float64 is no longer exact to the tolerance


class Signed(Cell):
    """Linear in its state, with a vector."""

    name, gates, products, vectors = "signed", ("a", "b"), (), ("v",)

    def step(self, ops, zx, state, own):
        a, b = ops.split(zx, 2)
        return (ops.tanh(4 * a) * state.h + own.v * b,)


class Normalised(Cell):
    """Layer normalisation of the sum, and of the state."""

    name, gates, vectors = "normalised", ("h",), ("gain",)

    def step(self, ops, zx, state, own):
        return (ops.tanh(own.gain * ops.normalise(zx + ops.product("hh", state.h))),)


class Many(Cell):
    """Five gates, three states, three products, every operation."""

    name, gates, states = "many", ("a", "b", "c", "d", "e"), ("h", "m", "n")
    products = (Product("hh"), Product("mm", ("b", "d")), Product("in", ("e",), bias=False))
    vectors = ("u", "w")

    def step(self, ops, zx, state, own):
        a, b, c, d, e = ops.split(zx, 5)
        h_a, h_b, h_c, h_d, h_e = ops.split(ops.product("hh", state.h), 5)
        m_b, m_d = ops.split(ops.product("mm", state.m), 2)
        keep = ops.sigmoid(a + h_a - own.u * state.n)
        new = ops.tanh(b + h_b * m_b) + ops.softplus(d + m_d) / (1 + ops.exp(-c * h_c))
        inner = ops.product("in", keep * ops.absolute(state.h) + ops.mean(state.n))
        top = ops.maximum(state.m, 0.5 * e + h_e) - ops.sqrt(1 + d * d) * ops.relu(h_d)
        m = ops.tanh(keep * new + (1 - keep) * state.m)
        n = ops.tanh(ops.log(1 + top * top) - inner * own.w)
        return ops.tanh(m + 0.3 * inner), m, ops.tanh(n + state.h * ops.exp(ops.mean(own.w)))


class Delays(Cell):
    """A state that is an old state, and one that nothing reads."""

    name, gates, states = "delays", ("h",), ("h", "old", "older")

    def step(self, ops, zx, state, own):
        return ops.tanh(zx + ops.product("hh", state.older)), state.h, state.old


class TwoProducts(Cell):
    """Two products of h whose pieces meet in one sum, one of them in another order."""

    name, gates = "two", ("a", "b", "c")
    products = (Product("hh", ("a", "b")), Product("hk", ("x", "y", "z")))

    def step(self, ops, zx, state, own):
        a, b, c = ops.split(zx, 3)
        p, q = ops.split(ops.product("hh", state.h), 2)
        x, y, z = ops.split(ops.product("hk", state.h), 3)
        gate = ops.sigmoid(b + y)
        return (gate * ops.tanh(c + x + p) + (1 - gate) * ops.tanh(a + gate * z) + 0.1 * q,)


class Passing(Cell):
    """A new state that is an input, which a product reads too; a vector and pieces left unread."""

    name, gates, states, vectors = "passing", ("a", "b"), ("h", "x"), ("unread",)
    products = (Product("hh", ("x", "a", "y")),)

    def step(self, ops, zx, state, own):
        a, b = ops.split(zx, 2)
        _, product, _ = ops.split(ops.product("hh", b * state.h), 3)
        return ops.tanh(a + product + state.x), b


class Learnt(Cell):
    """Multiples and products of values that no time step changes."""

    name, gates, vectors = "learnt", ("h",), ("u", "w")

    def step(self, ops, zx, state, own):
        share = ops.sigmoid(own.w)
        h = ops.tanh(zx + ops.product("hh", state.h) + share * ops.tanh(own.u))
        return (share * h + 2 / (1.5 + ops.tanh(own.u)) + 0.1 * state.h,)


class Clone(Cell):
    """The LSTM under another name."""

    name, gates, states = "clone", ("i", "f", "g", "o"), ("h", "c")
    step = LSTM.step


CELLS = [
    PeepholeLSTM(), ResetBeforeGRU(), IndRNN(), Leaky(), SRU(), Signed(), Normalised(), Many(),
    Delays(), TwoProducts(), Passing(), Learnt(), Clone(), Confusing(),
]  # fmt: skip
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


def model_of(cell, *, layers=2, hidden=4):
    return Model(cell, Inputs("real", 3), hidden, layers, 2, "squared_error")


def weights_of(model):
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(-1, 1, shape) / max(1, model.hidden) ** 0.5
        for name, shape in model.parameter_shapes().items()
    }


def batch_of(steps, size=3, *, carry=True):
    rng = np.random.default_rng(1)
    mask = rng.random((steps, size)) < 0.6
    mask[-1] = True
    inputs, targets = (rng.normal(size=(steps, size, n)) for n in (3, 2))
    return Batch(inputs, targets, mask, carry)


def state_of(model, size=3):
    shape = (len(model.cell.states), model.layers, size, model.hidden)
    return tuple(0.5 * np.random.default_rng(2).normal(size=shape))


def trainer_of(model, variant, **execution):
    execution = Execution(variant, **{"dtype": "float64"} | execution)
    return BACKEND.trainer(model, Optimizer("sgd", learning_rate=0.1), weights_of(model), execution)


def everything(trainer, batch, state):
    on_device = trainer.put(batch)
    trainer.load_state(state)
    gradients = trainer.gradients(on_device)
    found = {f"gradient of {name}": array for name, array in gradients.parameters.items()}
    found |= {"hidden": gradients.hidden, "loss": gradients.loss}
    found["outputs"] = trainer.outputs(on_device)
    found["state"] = np.stack(trainer.state())
    trainer.load_state(state)
    found["norm"] = float(trainer.train_step(on_device).gradient_norm)
    return found | trainer.parameters()


def assert_same(found, expected, tolerance=EXACT):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@each_cell
@pytest.mark.parametrize(
    ("steps", "hidden", "checkpoint"), [(1, 1, "off"), (9, 5, "off"), (9, 5, 4)]
)
def test_the_written_kernel_computes_what_autograd_does(cell, steps, hidden, checkpoint):
    model, batch = model_of(cell, hidden=hidden), batch_of(steps)
    state = state_of(model)
    expected = everything(trainer_of(model, "loop"), batch, state)
    trainer = trainer_of(model, "fused", checkpoint=checkpoint)
    for _ in range(2):  # the second time in buffers that hold the first one's numbers
        trainer.load(weights_of(model))
        assert_same(everything(trainer, batch, state), expected)


@each_cell
def test_the_loop_computes_the_equations(cell):
    model, batch = model_of(cell), batch_of(6)
    trainer, state = trainer_of(model, "loop"), state_of(model)
    trainer.load_state(state)
    expected = run_equations(model, weights_of(model), batch, state)
    np.testing.assert_allclose(trainer.outputs(trainer.put(batch)), expected.outputs, atol=EXACT)
    np.testing.assert_allclose(trainer.state(), expected.state, atol=EXACT)


@each_cell
def test_float32_is_near_float64(cell):
    model, batch = model_of(cell, hidden=16), batch_of(20)
    state = state_of(model)
    expected = everything(trainer_of(model, "loop"), batch, state)
    found = everything(trainer_of(model, "fused", dtype="float32"), batch, state)
    assert_same(found, expected, 2e-4)


@each_cell
def test_bfloat16_runs(cell):
    model = model_of(cell, hidden=16)
    trainer = trainer_of(model, "fused", dtype="bfloat16")
    assert np.isfinite(float(trainer.train_step(trainer.put(batch_of(5))).loss))


@each_cell
def test_what_is_written_does_not_depend_on_what_the_buffers_held(cell):
    model, batch = model_of(cell, layers=1), batch_of(5)
    trainer, state = trainer_of(model, "fused"), state_of(model)
    expected = everything(trainer, batch, state)
    trainer.load(weights_of(model))
    for layer in trainer._network.stack._layers:
        for tensor in layer._kernel.buffers._tensors.values():
            tensor.fill_(torch.nan)
    assert_same(everything(trainer, batch, state), expected, 0.0)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(random_cells())
def test_a_random_cell_runs_as_under_autograd(cell):
    try:
        derive(cell)
    except UnsupportedError:  # such as a new state without an array
        reject()
    model, batch = model_of(cell, layers=1), batch_of(3)
    state = state_of(model)
    expected = everything(trainer_of(model, "loop"), batch, state)
    assume(all(np.all(np.abs(value) < HUGE) for value in expected.values()))
    assert_same(everything(trainer_of(model, "fused"), batch, state), expected, 1e-7)


def test_a_copy_of_the_lstm_runs_the_lstm_s_code():
    ours, theirs = (source(cell).partition("\n")[2] for cell in (Clone(), LSTM()))
    assert ours == theirs


def test_the_source_of_the_lstm_is_small():
    assert "z_i_to_o.addmm_(old_h, weight_hh_0_4)" in source(LSTM())
    assert len(source(LSTM()).splitlines()) < 60
