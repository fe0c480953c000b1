"""Cells that are linear in their state are found, and no others: they run as scans over time."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from cell_of import cell_of
from harness.cells.operations import OPS
from harness.contract import Product, UnsupportedError
from harness.recurrence import derive
from random_cells import random_cells

B, H = 3, 4


def one(result, **changes):
    """Return a cell h' = result(ops, a, b, h, own)."""
    return cell_of(
        lambda ops, zx, state, own: (result(ops, *ops.split(zx, 2), state.h, own),), **changes
    )


LINEAR = {
    "leak": one(lambda ops, a, b, h, own: 0.9 * h + b),
    "gate": one(lambda ops, a, b, h, own: ops.sigmoid(a) * h + (1.0 - ops.sigmoid(a)) * b),
    "increment": one(lambda ops, a, b, h, own: h + ops.sigmoid(a) * (ops.tanh(b) - h)),
    "sum": one(lambda ops, a, b, h, own: h + b),
    "sign": one(lambda ops, a, b, h, own: -h + ops.relu(b)),
    "vector": one(lambda ops, a, b, h, own: ops.sigmoid(own.u) * h + b, vectors=("u",)),
    "quotient": one(lambda ops, a, b, h, own: (h + b) / (1.0 + ops.exp(a))),
    "twice": one(lambda ops, a, b, h, own: ops.tanh(a) * (ops.sigmoid(b) * h + b) - 0.5 * h),
    "mean of gates": one(lambda ops, a, b, h, own: ops.mean(a) * h + ops.normalise(b)),
    "homogeneous": one(lambda ops, a, b, h, own: ops.sigmoid(a) * h),
}
NOT_LINEAR = {
    "tanh": one(lambda ops, a, b, h, own: ops.tanh(a + h)),
    "relu": one(lambda ops, a, b, h, own: ops.relu(a * h + b)),
    "square": one(lambda ops, a, b, h, own: h * h + b),
    "inverse": one(lambda ops, a, b, h, own: 1.0 / h + b),
    "gate that sees h": one(lambda ops, a, b, h, own: ops.sigmoid(a + h) * h + b),
    "input gate that sees h": one(lambda ops, a, b, h, own: a * h + b * ops.sigmoid(h)),
    "step function of h": one(lambda ops, a, b, h, own: h + b * ops.positive(h)),
    "absolute": one(lambda ops, a, b, h, own: ops.absolute(h) + b),
    "maximum": one(lambda ops, a, b, h, own: ops.maximum(h, b)),
    "other units": one(lambda ops, a, b, h, own: ops.mean(h) + b),
    "normalised": one(lambda ops, a, b, h, own: ops.normalise(h) * a),
    "no state": one(lambda ops, a, b, h, own: ops.tanh(a) + b),
    "product": cell_of(
        lambda ops, zx, state, own: (zx + ops.product("hh", state.h),),
        ("a",),
        products=(Product(),),
    ),
    "two states": cell_of(
        lambda ops, zx, state, own: (0.5 * state.c, 0.5 * state.h + zx), ("a",), ("h", "c")
    ),
}


def values(cell, h, seed=0):
    """Return h' of the step, and a h + b, at this h."""
    rng, recurrence = np.random.default_rng(seed), derive(cell)
    zx = rng.normal(size=(B, len(cell.gates) * H))
    own = rng.normal(size=(len(cell.vectors), H))
    a, b = recurrence.coefficients(OPS, zx, own)
    (new,), _ = recurrence.step(OPS, zx, (h,), own, None)
    assert a.shape == b.shape == (B, H)
    return new, a * h + b


@pytest.mark.parametrize("cell", LINEAR.values(), ids=LINEAR)
def test_a_linear_cell_has_its_coefficients(cell):
    for h in np.random.default_rng(1).normal(size=(3, B, H)):
        new, by_coefficients = values(cell, h)
        np.testing.assert_allclose(by_coefficients, new, atol=1e-14)


@pytest.mark.parametrize("cell", NOT_LINEAR.values(), ids=NOT_LINEAR)
def test_no_other_cell_has(cell):
    assert derive(cell).linear is None
    with pytest.raises(TypeError, match="stated is not linear in its state"):
        derive(cell).coefficients(OPS, np.zeros((B, 2 * H)), ())


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(random_cells(6, most_states=1, with_products=False))
def test_random_cells_said_to_be_linear_are(cell):
    try:
        assume(derive(cell).linear is not None)
    except UnsupportedError:
        assume(False)
    with np.errstate(all="ignore"):
        for h in 10.0 * np.random.default_rng(1).normal(size=(3, B, H)):
            new, by_coefficients = values(cell, h)
            np.testing.assert_allclose(by_coefficients, new, rtol=1e-9, atol=1e-9)
