"""The derived gradient of any step is that of automatic differentiation, in float64 to 1e-9."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness.cells import harness_cells
from harness.cells.operations import OPS
from harness.contract import Matrix, UnsupportedError
from harness.recurrence import derive, step_of
from random_cells import random_cells

torch = pytest.importorskip("torch")
SHAPES = ((3, 4), (2, 5), (1, 1))  # (B, H)
EXACT = 1e-9
HUGE = 1e8  # beyond it, sums of such terms differ by more than EXACT in float64


class TorchOps:
    """The operations of a step by PyTorch, which differentiates them."""

    sigmoid, tanh, relu = torch.sigmoid, torch.tanh, torch.relu
    exp, log, sqrt, absolute = torch.exp, torch.log, torch.sqrt, torch.abs
    softplus = staticmethod(lambda x: torch.logaddexp(x, torch.zeros_like(x)))

    def __init__(self, weights):
        self.weights, self.largest = weights, 0.0

    def maximum(self, a, b):
        a, b = (torch.as_tensor(part, dtype=torch.float64) for part in (a, b))
        return torch.maximum(a, b)

    def positive(self, x):
        return (x > 0).to(x.dtype)

    def split(self, x, parts):
        return torch.chunk(x, parts, -1)

    def concatenate(self, pieces):
        return torch.cat(torch.broadcast_tensors(*pieces), -1)

    def mean(self, x):
        return x.mean(-1, keepdim=True)

    def normalise(self, x, epsilon=1e-5):
        centred = x - self.mean(x)
        return centred / torch.sqrt(self.mean(centred * centred) + epsilon)

    def outer(self, a, b):
        return Matrix(torch.einsum("bi,bj->bij", a, b))

    def contract(self, x, q):
        if isinstance(x, Matrix):
            return torch.einsum("bij,bj->bi", x.array, q)
        return torch.einsum("bi,bi->b", x, q)[:, None]

    def product(self, name, operand):
        weight, bias = self.weights[name]
        return operand @ weight.T + bias


def drawn(cell, scale, seed):
    """Return zx, states, vectors, a weight and a bias per product, d_new; all float64."""
    rng, (batch, hidden) = np.random.default_rng(seed), SHAPES[seed % len(SHAPES)]
    shapes = [(batch, *shape) for shape in cell.state_shapes(hidden)]
    zx = scale * rng.normal(size=(batch, len(cell.gates) * hidden))
    state = [rng.normal(size=shape) for shape in shapes]
    own = [rng.normal(size=hidden) for _ in cell.vectors]
    rows = [len(product.gates or cell.gates) * hidden for product in cell.products]
    weights = [(rng.normal(size=(count, hidden)), rng.normal(size=count)) for count in rows]
    return zx, state, own, weights, [rng.normal(size=shape) for shape in shapes]


def by_autograd(cell, zx, state, own, weights, d_new):
    """Return the new states, and the gradients of all arguments by PyTorch."""
    flat = [zx, *state, *own, *(array for pair in weights for array in pair)]
    leaves = [torch.tensor(array, requires_grad=True) for array in flat]
    ends = np.cumsum([1, len(state), len(own)])
    pairs = leaves[ends[2] :]
    names = [product.name for product in cell.products]
    ops = TorchOps(dict(zip(names, zip(pairs[::2], pairs[1::2], strict=True), strict=True)))
    new = step_of(cell)(
        ops, leaves[0], tuple(leaves[1 : ends[1]]), tuple(leaves[ends[1] : ends[2]])
    )
    seen = 0.0 * leaves[0].sum()  # a step may have no gradient at all
    seen += sum((part * torch.tensor(d)).sum() for part, d in zip(new, d_new, strict=True))
    found = torch.autograd.grad(seen, leaves, allow_unused=True)
    gradients = [
        np.zeros_like(array) if part is None else part.numpy()
        for array, part in zip(flat, found, strict=True)
    ]
    return [part.detach().numpy() for part in new], gradients


def by_derivation(cell, zx, state, own, weights, d_new):
    """Return the same, as an engine would compute it from what is derived."""
    recurrence = derive(cell)
    new, products = recurrence.step(
        OPS, zx, state, own, lambda at, operand: operand @ weights[at][0].T + weights[at][1]
    )
    gradient = recurrence.gradient(
        OPS, zx, products, state, own, d_new, lambda at, d_product: d_product @ weights[at][0]
    )
    ends = zip((*gradient.state, *gradient.vectors), (*state, *state[:1] * len(own)), strict=True)
    assert all(isinstance(part, float) or part.shape == like.shape for part, like in ends)
    d_state = [
        np.broadcast_to(part, like.shape).copy()
        for part, like in zip(gradient.state, state, strict=True)
    ]
    for at, operand in enumerate(recurrence.operands):
        if operand.op == "state":
            d_state[operand.value] += gradient.products[at] @ weights[at][0]
    operands = recurrence.operand_values(OPS, zx, products, state, own)
    d_own = [np.broadcast_to(part, state[0].shape).sum(0) for part in gradient.vectors]
    pairs = [
        part
        for d_product, operand in zip(gradient.products, operands, strict=True)
        for part in (d_product.T @ operand, d_product.sum(0))
    ]
    return list(new), [gradient.zx, *d_state, *d_own, *pairs]


def agrees(cell, scale, seed):
    """Compare both; return False if the cell is refused, or a number too large to compare."""
    try:
        derive(cell)
    except UnsupportedError:
        return False
    arguments = drawn(cell, scale, seed)
    with np.errstate(all="ignore"):
        new, gradients = by_derivation(cell, *arguments)
    expected_new, expected = by_autograd(cell, *arguments)
    largest = max(float(np.abs(part).max()) for part in (*expected_new, *expected))
    if not largest < HUGE:
        return False
    for actual, right in zip((*new, *gradients), (*expected_new, *expected), strict=True):
        assert actual.shape == right.shape
        np.testing.assert_allclose(actual, right, rtol=0, atol=EXACT * max(1.0, largest))
    return True


def many(count):
    """Return settings for ``count`` cells, the same in every run."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck]
    )


SCALES = st.sampled_from([1.0, 1.0, 5.0, 30.0, 100.0])  # from moderate gates to saturated ones


@many(300)
@given(random_cells(), SCALES, st.integers(0, 99))
def test_the_gradient_of_a_random_cell_is_that_of_autograd(cell, scale, seed):
    assume(agrees(cell, scale, seed))


@many(300)
@given(random_cells(with_matrices=True), SCALES, st.integers(0, 99))
def test_the_gradient_of_a_random_cell_with_matrices_is_that_of_autograd(cell, scale, seed):
    assume(agrees(cell, scale, seed))


@pytest.mark.full
@many(5000)
@given(random_cells(24) | random_cells(24, with_matrices=True), SCALES, st.integers(0, 99))
def test_the_gradients_of_many_random_cells_are_those_of_autograd(cell, scale, seed):
    assume(agrees(cell, scale, seed))


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("cell", harness_cells(), ids=lambda cell: cell.name)
def test_the_gradient_of_each_cell_is_that_of_autograd(cell, scale):
    assert agrees(cell, scale, 0)
