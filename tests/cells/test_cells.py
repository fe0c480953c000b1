"""Every cell's hand-derived ``step_gradient`` is the vector-Jacobian product of its ``step``."""

import numpy as np
import pytest

from differences import central_differences
from harness.cells import harness_cells
from harness.cells.operations import NumpyOps as ExactOps
from harness_numpy.recurrence.ops import NumpyOps

OPS = NumpyOps()
CELLS = {cell.name: cell for cell in harness_cells()}
B, H = 2, 3
TOLERANCE = 1e-8  # central differences in float64 at this step


def drawn(cell, seed=0):
    rng = np.random.default_rng(seed)
    rows = len(cell.gates) * H
    zx, zh = rng.normal(size=(B, rows)), rng.normal(size=(B, rows)) if cell.recurrent else None
    arguments = [zx, zh, *rng.normal(size=(len(cell.states), B, H))]
    return arguments, rng.normal(size=(len(cell.states), B, H))


def copies(arrays):
    return [None if array is None else array.copy() for array in arrays]


def step(cell, arguments):
    return cell.step(OPS, arguments[0], arguments[1], tuple(arguments[2:]))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_step_gradient_is_the_derivative_of_step(cell):
    arguments, d_new = drawn(cell)
    d_zx, d_zh, d_state = cell.step_gradient(
        OPS, arguments[0], arguments[1], tuple(arguments[2:]), step(cell, arguments), tuple(d_new)
    )
    assert (d_zh is None) == (not cell.recurrent)

    def loss():
        return sum(np.sum(d * new) for d, new in zip(d_new, step(cell, arguments), strict=True))

    for argument, gradient in zip(arguments, [d_zx, d_zh, *d_state], strict=True):
        if argument is not None:
            expected = central_differences(loss, argument)
            assert np.broadcast_to(gradient, argument.shape) == pytest.approx(
                expected, rel=0, abs=TOLERANCE
            )


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_step_leaves_its_arguments_alone(cell):
    arguments, d_new = drawn(cell)
    before = copies([*arguments, *d_new])
    new = step(cell, arguments)
    cell.step_gradient(OPS, arguments[0], arguments[1], tuple(arguments[2:]), new, tuple(d_new))
    for array, copy in zip([*arguments, *d_new], before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_step_keeps_float32(cell):
    arguments, d_new = drawn(cell)
    single = [None if array is None else array.astype(np.float32) for array in arguments]
    new = step(cell, single)
    d_zx, d_zh, d_state = cell.step_gradient(
        OPS, single[0], single[1], tuple(single[2:]), new, tuple(d_new.astype(np.float32))
    )
    arrays = [d for d in (*new, d_zx, d_zh, *d_state) if d is not None and not isinstance(d, float)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_named_gates_are_gates_of_the_cell():
    for cell in CELLS.values():
        assert {cell.memory_gate, cell.input_gate} - {None} <= set(cell.gates)
        assert cell.states[0] == "h"


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "minlstm"])
def test_an_open_memory_gate_keeps_the_old_state(cell):
    cell = CELLS[cell]
    (zx, zh, *state), _ = drawn(cell)
    for gate in (cell.memory_gate, cell.input_gate):
        if gate is not None:
            start = cell.gates.index(gate) * H
            zx[:, start : start + H] = (
                60.0 * cell.memory_sign if gate == cell.memory_gate else -60.0
            )
    np.testing.assert_allclose(cell.step(OPS, zx, zh, tuple(state))[-1], state[-1], rtol=1e-12)


@pytest.mark.parametrize("bias", [-20.0, -1.0, 0.0, 1.0, 20.0])
@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "minlstm"])
def test_retention_is_the_share_of_the_state_that_a_step_keeps(cell, bias):
    cell = CELLS[cell]
    biases = {
        gate: np.full((1, 1), bias if gate == cell.memory_gate else 0.0) for gate in cell.gates
    }
    zx = np.concatenate(list(biases.values()), axis=1)
    kept = cell.step(OPS, zx, 0.0 * zx, tuple(np.ones((1, 1)) for _ in cell.states))[-1]
    np.testing.assert_allclose(cell.retention(OPS, biases), kept, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("cell", ["rnn", "rnn_relu"])
def test_a_cell_without_gates_states_no_retention(cell):
    assert CELLS[cell].retention(OPS, {"h": np.zeros(1)}) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", [-100.0, -20.0, 0.5, 20.0, 100.0])
@pytest.mark.parametrize("i", [-100.0, -20.0, 0.5, 20.0, 100.0])
@pytest.mark.parametrize("ops", [OPS, ExactOps()], ids=["engine", "exact"])
def test_minlstm_divides_by_zero_at_no_bias(ops, f, i, dtype):
    cell, exact = CELLS["minlstm"], np.logaddexp(0.0, [-f, -i])  # minus the logarithms of the gates
    zx = np.repeat([[f, i, 0.7]], H, axis=1).astype(dtype)
    share, new = (
        np.exp(-np.logaddexp(0.0, exact[0] - exact[1])),
        np.exp(-np.logaddexp(0.0, exact[1] - exact[0])),
    )
    tolerance = 200 * np.finfo(dtype).eps
    a, b = cell.coefficients(ops, zx)
    np.testing.assert_allclose(
        a, np.full((1, H), share), rtol=tolerance, atol=np.finfo(np.float32).tiny
    )
    np.testing.assert_allclose(
        b, np.full((1, H), 0.7 * new), rtol=tolerance, atol=np.finfo(np.float32).tiny
    )
    d_zx = cell.coefficients_gradient(ops, zx, np.ones((1, H), dtype), np.ones((1, H), dtype))
    d_f = (1 - 0.7) * share * new * np.exp(-np.logaddexp(0.0, f))
    d_i = -(1 - 0.7) * share * new * np.exp(-np.logaddexp(0.0, i))
    np.testing.assert_allclose(
        d_zx, np.repeat([[d_f, d_i, new]], H, axis=1), rtol=tolerance, atol=tolerance
    )
