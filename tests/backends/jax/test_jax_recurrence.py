"""JAX's layers run any cell: each variant against the cell's own code and JAX's derivative."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings

from harness.cells import GRU, LSTM, SRU, IndRNN, Leaky, MinLSTM, PeepholeLSTM
from harness.cells.operations import LayerOps
from harness.contract import Cell, Inputs, Model, Product, UnsupportedError
from harness.recurrence import derive, step_of
from random_cells import random_cells
from stated_cells import ResetBefore

jax = pytest.importorskip("jax", reason="jax is not installed")
pytest.importorskip("optax", reason="optax is not installed")
from harness_jax import JaxBackend  # noqa: E402
from harness_jax.device import find_device, settings  # noqa: E402
from harness_jax.recurrence.plan import plan_of, source  # noqa: E402
from harness_jax.variants import VARIANTS  # noqa: E402

HUGE = 1e6  # beyond it, sums of such terms differ by more in float64
EXACT = 1e-12  # float64, another order of summation
STEPS, BATCH, HIDDEN = 5, 2, 3


class Diagonal(Cell):
    """Linear in its state, with a vector."""

    name, gates, products, vectors = "diagonal", ("a", "b"), (), ("u",)

    def step(self, ops, zx, state, own):
        z_a, z_b = ops.split(zx, 2)
        return (ops.tanh(4 * z_a + own.u) * state.h + own.u * z_b,)


class Normalised(Cell):
    """A mean over the units."""

    name, gates, vectors = "normalised", ("h",), ("scale", "shift")

    def step(self, ops, zx, state, own):
        return (ops.tanh(own.shift + own.scale * ops.normalise(zx + ops.product("hh", state.h))),)


class Everything(Cell):
    """Five gates, three states, two products, every operation."""

    name, gates, states = "everything", ("a", "b", "c", "d", "e"), ("h", "m", "n")
    products = (Product("hh", ("a", "b", "c")), Product("mm", ("d", "e"), bias=False))

    def step(self, ops, zx, state, own):
        a, b, c, d, e = ops.split(zx, 5)
        h_a, h_b, h_c = ops.split(ops.product("hh", state.h), 3)
        m_d, m_e = ops.split(ops.product("mm", state.m), 2)
        m = 0.5 * ops.softplus(a + h_a) + state.n
        n = ops.maximum(ops.tanh(b + h_b), d * m_d) + 0.1 * ops.absolute(e)
        h = ops.sigmoid(c + h_c) * ops.log(1.5 + ops.exp(-m * m))
        return h + ops.sqrt(1 + n * n) / (2 + ops.exp(m_e)), ops.tanh(m), ops.tanh(n)


CELLS = (
    *(LSTM(), GRU(), MinLSTM(), PeepholeLSTM(), ResetBefore(), IndRNN(), Leaky(), SRU()),
    *(Diagonal(), Normalised(), Everything()),
)


def arguments(cell):
    """Return zx, weights and initial states, in float64."""
    rng, model = (
        np.random.default_rng(0),
        Model(cell, Inputs("real", 1), HIDDEN, 1, 1, "squared_error"),
    )
    weights = {
        name.removesuffix("_l0"): rng.uniform(-1, 1, shape)
        for name, shape in model.parameter_shapes().items()
        if name.endswith("_l0") and not name.endswith("_ih_l0")
    }
    zx = rng.normal(size=(STEPS, BATCH, len(cell.gates) * HIDDEN))
    return zx, weights, tuple(rng.normal(size=(BATCH, HIDDEN)) for _ in cell.states)


def results_and_gradients(cell, variant):
    """Return h and the final states, and the gradients of zx, weights, states and probe."""
    rng, layer = np.random.default_rng(1), VARIANTS[variant].engine().layer(1)
    with settings(find_device("cpu"), "float64"):
        given = (*arguments(cell), np.zeros((STEPS, BATCH, HIDDEN)))
        found, pull = jax.vjp(jax.jit(lambda *given: layer(cell, *given)), *given)
        cotangent = jax.tree.map(lambda part: rng.normal(size=part.shape), found)
        return jax.tree.map(np.asarray, (found, pull(cotangent)))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_variant_computes_what_the_cell_says(cell):
    zx, weights, state = arguments(cell)
    hidden = []
    for zx_t in zx:
        own = tuple(weights[name] for name in cell.vectors)
        state = step_of(cell)(LayerOps(weights), zx_t, state, own)
        hidden.append(state[0])
    results, gradients = results_and_gradients(cell, "scan")
    assert_close(results, (np.stack(hidden), state))
    for name, variant in VARIANTS.items():
        if name not in {"scan", "native"} and variant.takes(cell):
            assert_close(results_and_gradients(cell, name), (results, gradients))


def assert_close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, EXACT, EXACT), found, expected)


def test_neighbouring_gates_are_one_operation():
    runs = [[run.gate, len(run.nodes)] for run in plan_of(derive(GRU())).runs]
    assert runs == [[0, 2]]
    assert len(plan_of(derive(LSTM())).runs) == 1
    assert plan_of(derive(LSTM())).kept == ()


def test_a_cell_that_divides_keeps_the_digits_of_small_gates():
    assert plan_of(derive(Everything())).runs == ()


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_cell_has_a_source(cell):
    assert source(cell).count("# jax:fused") == 1


def test_the_source_names_what_is_kept():
    text = source(LSTM())
    assert "# gates that one operation computes: i f g o" in text
    assert "# kept of each time step: h, c, i f g o" in text
    assert derive(LSTM()).listing() in text
    assert "# kept of each time step: h, r z, hh_n, v4" in JaxBackend().source(GRU(), "jax")


@pytest.mark.slow
@hypothesis_settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck]
)
@given(random_cells(8))
def test_the_derived_layer_of_a_random_cell_is_what_jax_differentiates(cell):
    try:
        derive(cell)
    except UnsupportedError:
        assume(False)
    with jax.disable_jit():
        results, gradients = results_and_gradients(cell, "scan")
        leaves = jax.tree.leaves((results, gradients))
        assume(all(np.abs(leaf).max(initial=0) < HUGE for leaf in leaves))
        derived = results_and_gradients(cell, "fused")
    for a, b in zip(jax.tree.leaves(derived), leaves, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(1, np.abs(b).max()))
