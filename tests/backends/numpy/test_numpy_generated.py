"""The code written for a cell computes what its graph says, whatever the buffers held before."""

import numpy as np
import pytest
from hypothesis import assume, given, settings

import stated_cells
from harness.cells import GRU, LSTM, RNN, harness_cells
from harness.contract import Cell, Inputs, Model, UnsupportedError
from harness.recurrence import derive
from harness_numpy.recurrence.layer import Shape, Stepwise
from harness_numpy.variants import unwritten
from harness_numpy.written import generated
from harness_numpy.written.generated import Vectorised, source
from random_cells import random_cells

CELLS = {
    cell.name: cell
    for cell in [*harness_cells(), *stated_cells.CELLS.values()]
    if unwritten(cell) is None
}
ROUNDING = 1e-12  # float64; of the largest element, over seven steps
EXACT, HUGE = 1e-9, 1e8  # sums of larger terms differ by more in float64


def everything(kind, cell, shape):
    """Run one layer there and back; return all that it computes, by name."""
    rng = np.random.default_rng(0)
    shapes = {
        name.removesuffix("_l0"): size
        for name, size in Model(cell, Inputs("token", 1), shape.hidden, 1, 1, "cross_entropy")
        .parameter_shapes()
        .items()
        if name.endswith("_l0")
    }
    weights = {name: 0.7 * rng.normal(size=size) for name, size in shapes.items()}
    layer = kind(cell, shape)
    for buffer in layer.buffers.values() if kind is Vectorised else ():
        buffer.fill(np.nan)
    layer.zx[...] = rng.normal(size=layer.zx.shape) + layer.input_bias(weights)
    for states in layer.states:
        states[0] = rng.normal(size=states[0].shape)
    layer.forward(weights)
    found = {f"state {at}": states.copy() for at, states in enumerate(layer.states)}
    d_hidden = rng.normal(size=(shape.steps, shape.batch, shape.hidden))
    layer.d_others = [np.zeros_like(d_hidden) for _ in cell.states[1:]]
    d_final = [rng.normal(size=d_hidden[0].shape) for _ in cell.states]
    d_initial = layer.backward(weights, d_hidden, d_final)
    out = {name: np.full_like(value, np.nan) for name, value in weights.items()}
    out["bias_ih"][...] = layer.zx.sum(axis=(0, 1))
    layer.weight_gradients(out)
    del out["weight_ih"]
    found |= {f"d_initial {at}": part.copy() for at, part in enumerate(d_initial)}
    found |= {f"d_state {at}": part for at, part in enumerate([d_hidden, *layer.d_others])}
    return found | {"d_zx": layer.zx} | out


@pytest.mark.parametrize("block", [1, 100, 65_536])
@pytest.mark.parametrize("shape", [Shape(7, 3, 5, "float64"), Shape(1, 1, 1, "float64")])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_written_code_is_the_interpreted_graph(cell, shape, block, monkeypatch):
    monkeypatch.setattr(generated, "BLOCK", block)
    expected = everything(Stepwise, cell, shape)
    for name, found in everything(Vectorised, cell, shape).items():
        scale = max(1.0, np.abs(expected[name]).max())
        np.testing.assert_allclose(
            found, expected[name], rtol=0, atol=ROUNDING * scale, err_msg=name
        )


class Learnt(Cell):
    """A multiple of a value that no time step changes."""

    name, gates, vectors = "learnt", ("h",), ("u",)

    def step(self, ops, zx, state, own):
        h = ops.tanh(zx + ops.product("hh", state.h))
        return (h + 2 / (1.5 + ops.tanh(own.u)) + 0.1 * state.h,)


def test_what_no_time_step_changes_is_computed_before_the_loop():
    shape = Shape(7, 3, 5, "float64")
    expected, found = (everything(kind, Learnt(), shape) for kind in (Stepwise, Vectorised))
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=EXACT, atol=EXACT, err_msg=name)


@settings(max_examples=150, deadline=None)
@given(random_cells(14))
def test_the_written_code_of_random_cells_is_their_graph(cell):
    try:
        derive(cell)
    except UnsupportedError:
        assume(False)
    shape = Shape(1, 3, 5, "float64")
    with np.errstate(all="ignore"):
        expected, found = (everything(kind, cell, shape) for kind in (Stepwise, Vectorised))
    assume(all(np.abs(value).max() < HUGE for value in expected.values()))
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=EXACT, atol=EXACT, err_msg=name)


def loop(cell):
    """Return the statements of the forward loop, without the product."""
    body = source(cell).split("in rows:\n")[1].split("\n\n")[0]
    return [line.strip() for line in body.splitlines() if "product" not in line]


def test_neighbouring_gates_are_one_call_and_every_value_has_a_place():
    assert loop(RNN()) == ["add(hh_h, zx_h, out=hh_h)", "tanh(hh_h, out=new_h)"]
    assert sum(line.startswith("tanh(") for line in loop(LSTM())) == 2
    assert len(loop(LSTM())) == 10
    assert len(loop(GRU())) == 12


def test_a_copy_of_the_lstm_runs_its_code():
    class Copy(LSTM):
        name = "copy"

    ours, theirs = (source(cell).partition("\n")[2] for cell in (Copy(), LSTM()))
    assert ours == theirs


class Quotient(Cell):
    """A quotient of sigmoids, both of which vanish."""

    name, gates, products = "quotient", ("f", "i"), ()

    def step(self, ops, zx, state, own):
        f, i = (ops.sigmoid(z) for z in ops.split(zx, 2))
        return (f / (f + i) * state.h,)


def test_sigmoids_that_divide_keep_the_digits_of_small_values():
    layer = Vectorised(Quotient(), Shape(1, 1, 2, "float32"))
    layer.zx[...] = -40
    layer.states[0][0] = 1
    layer.forward({})
    np.testing.assert_allclose(layer.states[0][1], 0.5, rtol=1e-6)
