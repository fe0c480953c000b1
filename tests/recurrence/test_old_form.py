"""Cells written for ``step(ops, zx, zh, state)`` go on working, and are the same cells."""

import numpy as np
import pytest

from harness.cells import LSTM, MinGRU
from harness.cells.operations import LayerOps
from harness.contract import Cell, Inputs, Model, uses_old_step
from harness.recurrence import derive, step_of

B, H = 3, 4


class OldLSTM(Cell):
    name, gates, states = "lstm", ("i", "f", "g", "o"), ("h", "c")

    def step(self, ops, zx, zh, state):
        z_i, z_f, z_g, z_o = ops.split(zx + zh, 4)
        c = ops.sigmoid(z_f) * state[1] + ops.sigmoid(z_i) * ops.tanh(z_g)
        return ops.sigmoid(z_o) * ops.tanh(c), c

    def step_gradient(self, *_):
        raise AssertionError("engines never call it")


class OldMinGRU(Cell):
    name, gates, recurrent = "mingru", ("z", "h"), False

    def step(self, ops, zx, _zh, state):
        assert _zh is None
        zx_z, g = ops.split(zx, 2)
        z = ops.sigmoid(zx_z)
        return ((1.0 - z) * state[0] + z * g,)


PAIRS = [(OldLSTM(), LSTM()), (OldMinGRU(), MinGRU())]


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=lambda cell: type(cell).__name__)
def test_an_old_cell_is_the_new_one(old, new):
    assert uses_old_step(old)
    assert not uses_old_step(new)
    assert (old.recurrent, old.products) == (new.recurrent, new.products)
    assert derive(old).listing() == derive(new).listing()
    assert derive(old).digest == derive(new).digest
    assert (derive(old).linear is None) == (derive(new).linear is None)
    shapes = [
        Model(cell, Inputs("real", 2), H, 1, 3, "squared_error").parameter_shapes()
        for cell in (old, new)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=lambda cell: type(cell).__name__)
def test_its_step_computes_with_arrays_alike(old, new):
    rng = np.random.default_rng(0)
    zx = rng.normal(size=(B, len(old.gates) * H))
    state = tuple(rng.normal(size=(len(old.states), B, H)))
    ops = LayerOps({"weight_hh": rng.normal(size=(4 * H, H)), "bias_hh": rng.normal(size=4 * H)})
    for by_old, by_new in zip(
        step_of(old)(ops, zx, state, ()), step_of(new)(ops, zx, state, ()), strict=True
    ):
        np.testing.assert_array_equal(by_old, by_new)
