"""One unrolled layer: its gradient of the initial state, against finite differences."""

from importlib.util import find_spec

import numpy as np
import pytest

import stated_cells
from differences import central_differences
from harness.cells import harness_cells
from harness.contract import Inputs, Model
from harness_numpy.recurrence.layer import Shape, Stepwise
from harness_numpy.variants import unwritten
from harness_numpy.written.generated import Vectorised

CELLS = {cell.name: cell for cell in [*harness_cells(), *stated_cells.CELLS.values()]}
COMPILED_CELLS = ["lstm", "gru", "reset_before", "normalised"]
T, B, H = 3, 2, 3
TOLERANCE = 1e-8  # central differences in float64 at this step


def kinds():
    """Every unrolled layer that can run each cell."""
    stepwise = [pytest.param(cell, Stepwise, id=f"{cell.name}-Stepwise") for cell in CELLS.values()]
    written = [cell for cell in CELLS.values() if unwritten(cell) is None]
    vectorised = [pytest.param(cell, Vectorised, id=f"{cell.name}-Vectorised") for cell in written]
    compiled = [] if find_spec("numba") is None else COMPILED_CELLS
    return [
        *stepwise,
        *vectorised,
        *(pytest.param(CELLS[name], late_compiled, id=f"{name}-numba") for name in compiled),
    ]


def late_compiled(cell, shape):
    from harness_numpy.compiled.chain import Compiled

    return Compiled(cell, shape)


class Problem:
    """A layer with a loss that weighs every hidden state and every final state."""

    def __init__(self, cell, make, B=B):
        rng = np.random.default_rng(0)
        rows = len(cell.gates) * H
        self.layer = make(cell, Shape(T, B, H, "float64"))
        self.zx = rng.normal(size=(T, B, rows))
        shapes = {
            name.removesuffix("_l0"): shape
            for name, shape in Model(cell, Inputs("token", 1), H, 1, 1, "cross_entropy")
            .parameter_shapes()
            .items()
            if name.endswith("_l0")
        }
        self.weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        sizes = [(B, *shape) for shape in cell.state_shapes(H)]
        self.initial = [rng.normal(size=size) for size in sizes]
        self.by_hidden = rng.normal(size=(T, B, H))
        self.by_final = [rng.normal(size=size) for size in sizes]

    def loss(self):
        layer = self.layer
        layer.zx[...] = self.zx + layer.input_bias(self.weights)
        for target, value in zip(layer.states, self.initial, strict=True):
            target[0] = value
        layer.forward(self.weights)
        by_final = sum(np.sum(d * s[-1]) for d, s in zip(self.by_final, layer.states, strict=True))
        return float(np.sum(self.by_hidden * layer.states[0][1:]) + by_final)

    def gradients(self):
        """Return d loss / d initial state and of every weight but weight_ih."""
        self.loss()
        d_hidden, by_final = self.by_hidden.copy(), [part.copy() for part in self.by_final]
        d_initial = self.layer.backward(self.weights, d_hidden, tuple(by_final))
        for part, unchanged in zip(by_final, self.by_final, strict=True):
            np.testing.assert_array_equal(part, unchanged)
        out = {name: np.full_like(value, np.nan) for name, value in self.weights.items()}
        out["bias_ih"][...] = self.layer.zx.sum(axis=(0, 1))
        self.layer.weight_gradients(out)
        return [part.copy() for part in d_initial], out

    def differences(self, array):
        return central_differences(self.loss, array)


@pytest.mark.parametrize("batch", [B, 5])  # numba runs few sequences in another loop
@pytest.mark.parametrize(("cell", "make"), kinds())
def test_gradients_flow_from_the_final_to_the_initial_state(cell, make, batch):
    problem = Problem(cell, make, batch)
    expected_initial = [problem.differences(part) for part in problem.initial]
    expected_zx = problem.differences(problem.zx)
    d_initial, _ = problem.gradients()
    for part, expected in zip(d_initial, expected_initial, strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(problem.layer.zx, expected_zx, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("cell", "make"), kinds())
def test_every_weight_of_the_recurrence_has_its_gradient(cell, make):
    problem = Problem(cell, make)
    names = problem.weights.keys() - {"weight_ih"}
    expected = {name: problem.differences(problem.weights[name]) for name in names}
    _, found = problem.gradients()
    for name in names:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=TOLERANCE, err_msg=name
        )
