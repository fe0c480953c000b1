"""One unrolled layer: its gradient of the initial state, against finite differences."""

from importlib.util import find_spec

import numpy as np
import pytest

from differences import central_differences
from harness.cells import harness_cells
from harness.cells.minimal import MinGRU, MinLSTM
from harness_numpy.recurrence.layer import Shape, Stepwise
from harness_numpy.recurrence.tuned import TUNED
from harness_numpy.variants import VARIANTS

CELLS = {cell.name: cell for cell in [*harness_cells(), MinGRU(), MinLSTM()]}
COMPILED_CELLS = VARIANTS["numba"].cells
T, B, H = 3, 2, 3
TOLERANCE = 1e-8  # central differences in float64 at this step


def kinds():
    """Every unrolled layer that can run each cell."""
    stepwise = [pytest.param(cell, Stepwise, id=f"{cell.name}-Stepwise") for cell in CELLS.values()]
    tuned = [pytest.param(kind(), make, id=f"{kind.name}-tuned") for kind, make in TUNED.items()]
    compiled = [] if find_spec("numba") is None else list(COMPILED_CELLS)
    return [
        *stepwise,
        *tuned,
        *(pytest.param(kind(), late_compiled, id=f"{kind.name}-numba") for kind in compiled),
    ]


def late_compiled(cell, shape):
    from harness_numpy.compiled.chain import compiled_recurrence

    return compiled_recurrence(cell, shape)


class Problem:
    """A layer with a loss that weighs every hidden state and every final state."""

    def __init__(self, cell, make, B=B):
        rng = np.random.default_rng(0)
        rows = len(cell.gates) * H
        self.layer = make(cell, Shape(T, B, H, "float64"))
        self.bias_ih = rng.normal(size=rows)
        self.zx = rng.normal(size=(T, B, rows))
        self.weight, self.bias = (
            (rng.normal(size=(rows, H)), rng.normal(size=rows)) if cell.recurrent else (None, None)
        )
        self.initial = rng.normal(size=(len(cell.states), B, H))
        self.by_hidden = rng.normal(size=(T, B, H))
        self.by_final = rng.normal(size=(len(cell.states), B, H))

    def loss(self):
        layer = self.layer
        layer.zx[...] = self.zx + layer.input_bias(self.bias_ih, self.bias)
        for target, value in zip(layer.states, self.initial, strict=True):
            target[0] = value
        layer.forward(self.weight, self.bias)
        by_final = sum(np.sum(d * s[-1]) for d, s in zip(self.by_final, layer.states, strict=True))
        return float(np.sum(self.by_hidden * layer.states[0][1:]) + by_final)

    def differences(self, array):
        return central_differences(self.loss, array)


@pytest.mark.parametrize("batch", [B, 5])  # numba runs few sequences in another loop
@pytest.mark.parametrize(("cell", "make"), kinds())
def test_gradients_flow_from_the_final_to_the_initial_state(cell, make, batch):
    problem = Problem(cell, make, batch)
    expected_initial = problem.differences(problem.initial)
    expected_zx = problem.differences(problem.zx)
    problem.loss()
    d_hidden, by_final = problem.by_hidden.copy(), problem.by_final.copy()
    d_initial = problem.layer.backward(problem.weight, d_hidden, tuple(by_final))
    np.testing.assert_allclose(np.array(d_initial), expected_initial, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(problem.layer.zx, expected_zx, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(by_final, problem.by_final)


@pytest.mark.parametrize(("cell", "make"), kinds())
def test_the_gradient_of_zh_is_that_of_the_recurrent_weights(cell, make):
    problem = Problem(cell, make)
    if not cell.recurrent:
        assert problem.layer.d_zh is None
        return
    expected = [problem.differences(problem.weight), problem.differences(problem.bias)]
    problem.loss()
    problem.layer.backward(problem.weight, problem.by_hidden.copy(), tuple(problem.by_final))
    d_zh = problem.layer.d_zh
    found = [np.einsum("tbr,tbh->rh", d_zh, problem.layer.states[0][:-1]), d_zh.sum(axis=(0, 1))]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)
