"""What every cell of the harness keeps to, and what its gates do."""

import numpy as np
import pytest

from harness.cells import harness_cells
from harness.cells.operations import LayerOps
from harness.cells.operations import NumpyOps as ExactOps
from harness.contract import Inputs, Model
from harness.measure.proof.initialise import initial_parameters
from harness.recurrence import derive, step_of
from harness.testing import checks_for_cell, run_check
from harness_numpy.recurrence.ops import NumpyOps

OPS = NumpyOps()
CELLS = {cell.name: cell for cell in harness_cells()}
KEEPING = [name for name, cell in CELLS.items() if cell.memory_gate is not None]
LINEAR = {"mingru", "minlstm", "diagonal_signed", "diagonal_positive"}
each_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
B, H = 2, 3


def weights_of(cell, scale=1.0):
    """Return the weights of one layer of width H, without its number."""
    shapes = Model(cell, Inputs("real", 2), H, 1, 1, "squared_error").parameter_shapes()
    rng = np.random.default_rng(1)
    return {
        name.removesuffix("_l0"): scale * rng.normal(size=shape)
        for name, shape in shapes.items()
        if name.endswith("_l0")
    }


def advance(cell, zx, state, weights):
    own = tuple(weights[name] for name in cell.vectors)
    return step_of(cell)(LayerOps(weights), zx, tuple(state), own)


def drawn(cell, seed=0):
    rng = np.random.default_rng(seed)
    state = [rng.normal(size=(B, *shape)) for shape in cell.state_shapes(H)]
    return rng.normal(size=(B, len(cell.gates) * H)), state


@pytest.mark.parametrize(
    "check",
    [check for cell in CELLS.values() for check in checks_for_cell(cell)],
    ids=lambda check: check.label,
)
def test_every_cell_conforms(check):
    result = run_check(check)
    assert result.passed, result.message


@each_cell
def test_a_step_keeps_float32(cell):
    weights = {name: value.astype(np.float32) for name, value in weights_of(cell).items()}
    zx, state = drawn(cell)
    zx, state = zx.astype(np.float32), [part.astype(np.float32) for part in state]
    assert {new.dtype for new in advance(cell, zx, state, weights)} == {np.dtype(np.float32)}


@each_cell
def test_a_step_leaves_its_arguments_alone(cell):
    (zx, state), weights = drawn(cell), weights_of(cell)
    before = (
        zx.copy(),
        [part.copy() for part in state],
        {name: value.copy() for name, value in weights.items()},
    )
    advance(cell, zx, state, weights)
    np.testing.assert_equal((zx, state, weights), before)


@each_cell
def test_named_gates_are_gates_of_the_cell(cell):
    assert {cell.memory_gate, cell.input_gate} - {None} <= set(cell.gates)
    assert cell.states[0] == "h"


@pytest.mark.parametrize("cell", KEEPING)
def test_an_open_memory_gate_keeps_the_old_state(cell):
    cell = CELLS[cell]
    zx, state = drawn(cell)
    for gate in (cell.memory_gate, cell.input_gate):
        if gate is not None:
            start = cell.gates.index(gate) * H
            sign = cell.memory_sign if gate == cell.memory_gate else -1
            zx[:, start : start + H] = 80.0 * sign
    new = advance(cell, zx, state, weights_of(cell))
    np.testing.assert_allclose(new[-1], state[-1], rtol=1e-12)


@pytest.mark.parametrize("bias", [-20.0, -1.0, 0.0, 1.0, 20.0])
@pytest.mark.parametrize("cell", [*KEEPING, "diagonal_positive"])
def test_retention_is_the_share_of_the_state_that_a_step_keeps(cell, bias):
    cell = CELLS[cell]
    gate = cell.memory_gate or "a"
    biases = {name: np.full((1, H), bias if name == gate else 0.0) for name in cell.gates}
    zx = np.concatenate(list(biases.values()), axis=1)
    ones = [np.ones((1, *shape)) for shape in cell.state_shapes(H)]
    kept = advance(cell, zx, ones, weights_of(cell, scale=0.0))[-1]
    expected = np.broadcast_to(cell.retention(OPS, biases), kept.shape)
    np.testing.assert_allclose(kept, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("cell", ["rnn", "rnn_relu", "leaky", "indrnn"])
def test_a_cell_without_gates_states_no_retention(cell):
    assert CELLS[cell].retention(OPS, {"h": np.zeros(1)}) is None


@each_cell
def test_the_linear_cells_are_found_to_be_linear(cell):
    assert (derive(cell).linear is not None) == (cell.name in LINEAR)


def test_indrnn_begins_with_memories_of_every_length():
    model = Model(CELLS["indrnn"], Inputs("real", 2), 1000, 2, 1, "squared_error")
    first, second = (initial_parameters(model, seed=0)[f"u_l{layer}"] for layer in (0, 1))
    assert np.quantile(first, [0, 0.5, 1]) == pytest.approx([0, 0.5, 1], abs=0.05)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", [-100.0, -20.0, 0.5, 20.0, 100.0])
@pytest.mark.parametrize("i", [-100.0, -20.0, 0.5, 20.0, 100.0])
@pytest.mark.parametrize("ops", [OPS, ExactOps()], ids=["engine", "exact"])
def test_minlstm_divides_by_zero_at_no_bias(ops, f, i, dtype):
    recurrence = derive(CELLS["minlstm"])
    exact = np.logaddexp(0.0, [-f, -i])  # minus the logarithms of the gates
    zx = np.repeat([[f, i, 0.7]], H, axis=1).astype(dtype)
    share = np.exp(-np.logaddexp(0.0, exact[0] - exact[1]))
    new = np.exp(-np.logaddexp(0.0, exact[1] - exact[0]))
    tolerance, tiny = 200 * np.finfo(dtype).eps, np.finfo(np.float32).tiny
    a, b = recurrence.coefficients(ops, zx, ())
    np.testing.assert_allclose(a, np.full((1, H), share), rtol=tolerance, atol=tiny)
    np.testing.assert_allclose(b, np.full((1, H), 0.7 * new), rtol=tolerance, atol=tiny)
    one = np.ones((1, H), dtype)
    gradient = recurrence.gradient(ops, zx, (), (one,), (), (one,), lambda *_: None)
    d_f = (1 - 0.7) * share * new * np.exp(-np.logaddexp(0.0, f))
    d_i = -(1 - 0.7) * share * new * np.exp(-np.logaddexp(0.0, i))
    expected = np.repeat([[d_f, d_i, new]], H, axis=1)
    np.testing.assert_allclose(gradient.zx, expected, rtol=tolerance, atol=tolerance)
