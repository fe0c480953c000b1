"""The Numba source that is written for any cell: run by Python, without Numba's compiler."""

from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings

import stated_cells
from harness.cells import LSTM, harness_cells
from harness.contract import Cell, Inputs, Model, Product, UnsupportedError
from harness.recurrence import derive
from harness_numpy.compiled.source import Program, source
from harness_numpy.recurrence.layer import Shape, Stepwise
from harness_numpy.variants import unwritten
from native_cells import Confusing, Normalised
from random_cells import random_cells

pytestmark = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed")
T, B, H = 3, 2, 3
EXACT = 1e-9
HUGE = 1e6  # beyond it, sums of such terms differ by more than EXACT in float64
CELLS = {
    cell.name: cell
    for cell in [*harness_cells(), *stated_cells.CELLS.values()]
    if unwritten(cell) is None
}


class OddNames(Cell):
    """Names that Python does not allow for variables, and that make others' when joined."""

    name, gates, states = "odd names", ("i", "i_f", "2 x", "f'"), ("h", "c")
    products = (Product("h-h"), Product("own", ("i", "i_f")), Product("own_i", ("f'",)))

    def step(self, ops, zx, state, own):
        i, f, g, o = ops.split(zx + ops.product("h-h", state.h), 4)
        first, second = ops.split(ops.product("own", state.c), 2)
        c = ops.sigmoid(f * first) * state.c + ops.sigmoid(i) * ops.tanh(g * second)
        return ops.tanh(c) * ops.sigmoid(o) + ops.product("own_i", c), c


class Copies(Cell):
    """New states that are inputs or old states; functions of numbers per sequence."""

    name, gates, states = "copies", ("a", "b"), ("h", "c", "n", "m")
    products, vectors = (Product("hh", ("a",)),), ("u",)

    def step(self, ops, zx, state, own):
        a, b = ops.split(zx, 2)
        level = ops.exp(0.1 * ops.mean(state.h)) * ops.tanh(ops.mean(own.u))
        return level + ops.product("hh", state.m * level), a, state.h, b * state.c + state.n


def interpreted(text):
    """Return the functions of generated source as Python runs them."""
    space = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "maximum": np.maximum,
        "relu": lambda x: np.maximum(x, 0), "softplus": lambda x: np.logaddexp(x, 0),
        "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "absolute": np.abs, "sign": np.sign,
        "mean": np.mean, "positive": lambda x: x.dtype.type(x > 0),
        "where_positive": lambda d, x: d if x > 0 else x.dtype.type(0),
        "compiled": lambda function: function,
    }  # fmt: skip

    def product(x, matrix, out):
        out[...] = x @ matrix

    space["product"] = product
    kept = [line for line in text.splitlines() if not line.startswith("from ")]
    exec("\n".join(kept), space)
    return SimpleNamespace(**space)


def results(cell, make, batch, hidden):
    """Return states, gradients of zx and states, and those of all weights."""
    rng = np.random.default_rng(0)
    layer = make(cell, Shape(T, batch, hidden, "float64"))
    model = Model(cell, Inputs("token", 1), hidden, 1, 1, "cross_entropy")
    weights = {
        name.removesuffix("_l0"): rng.normal(size=shape)
        for name, shape in model.parameter_shapes().items()
        if name.endswith("_l0")
    }
    layer.zx[...] = rng.normal(size=layer.zx.shape) + layer.input_bias(weights)
    for states in layer.states:
        states[0] = rng.normal(size=states[0].shape)
    with np.errstate(all="ignore"):
        layer.forward(weights)
        found = [np.array(states) for states in layer.states]
        d_hidden = rng.normal(size=(T, batch, hidden))
        d_final = [rng.normal(size=(batch, hidden)) for _ in cell.states]
        d_initial = [np.array(part) for part in layer.backward(weights, d_hidden, d_final)]
    out = {name: np.zeros_like(array) for name, array in weights.items()}
    out["bias_ih"][...] = layer.zx.sum(axis=(0, 1))
    layer.weight_gradients(out)
    return [*found, d_hidden, *d_initial, layer.zx.copy(), *out.values()]


def assert_near(cell, expected, batch, hidden):
    """Compare the generated loop with what the interpreted one found."""
    from harness_numpy.compiled import chain

    made = Program(cell)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(chain, "generated", lambda _: (made, interpreted(made.source)))
        found = results(cell, chain.Compiled, batch, hidden)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=EXACT * max(1, np.abs(other).max()))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "cell", [*CELLS.values(), OddNames(), Confusing(), Copies()], ids=lambda cell: cell.name
)
def test_source_equals_the_interpreted_step(cell, batch):
    assert_near(cell, results(cell, Stepwise, batch, H), batch, H)


@settings(max_examples=100, deadline=None)
@given(random_cells(14))
def test_source_of_random_cells_equals_their_interpreted_step(cell):
    try:
        derive(cell)
    except UnsupportedError:
        assume(False)
    expected = results(cell, Stepwise, 3, 2)
    assume(all(np.all(np.abs(part) < HUGE) for part in expected))
    assert_near(cell, expected, 3, 2)


def test_a_stage_is_one_loop_that_calls_each_function_once_per_value():
    text = source(LSTM())
    assert text.count("for j in range(n):") == 2
    assert "i_ = sigmoid(hh_i)" in text
    assert text.count("sigmoid(") == 3
    assert text.count("tanh(") == 2


def test_a_mean_cuts_a_function_into_loops_not_into_two():
    text = source(Normalised())
    assert text.count("for j in range(n):") == 1 + 5 + 5  # of the vector, and both ways
    assert text.count("def forward_") == text.count("def reverse_") == 1
