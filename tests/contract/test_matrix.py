"""The arithmetic of a step with a matrix per sequence, in the arrays of every engine."""

from importlib.util import find_spec

import numpy as np
import pytest

from harness.cells.operations import OPS
from harness.contract import Matrix

B, H = 2, 3
RNG = np.random.default_rng(0)
S, N = RNG.uniform(1, 2, (2, B, H, H))
F, Q = RNG.uniform(1, 2, (2, B, H))


def array_makers():
    makers = [("numpy", np.asarray)]
    if find_spec("torch"):
        import torch

        makers.append(("torch", torch.tensor))
    if find_spec("jax"):
        import jax.numpy as jnp

        makers.append(("jax", jnp.asarray))
    return makers


MAKERS = array_makers()
ROWS = F[:, :, None]
CASES = {
    "f * S": (lambda s, n, f: f * s, ROWS * S),
    "S * f": (lambda s, n, f: s * f, ROWS * S),
    "S / f": (lambda s, n, f: s / f, S / ROWS),
    "S of one number per sequence": (lambda s, n, f: f[:, :1] * s, F[:, :1, None] * S),
    "S of one number per unit": (lambda s, n, f: f[0] * s, F[0][:, None] * S),
    "S + N": (lambda s, n, f: s + n, S + N),
    "S - N": (lambda s, n, f: s - n, S - N),
    "S * N": (lambda s, n, f: s * n, S * N),
    "S / N": (lambda s, n, f: s / n, S / N),
    "numbers": (lambda s, n, f: 1 - 2 / (0.5 * -s + 3), 1 - 2 / (3 - 0.5 * S)),
    "number of numpy": (lambda s, n, f: np.float64(2) * s, 2 * S),
}


@pytest.mark.parametrize("array", [make for _, make in MAKERS], ids=[name for name, _ in MAKERS])
@pytest.mark.parametrize(("computed", "expected"), CASES.values(), ids=CASES)
def test_an_array_scales_the_rows_and_matrices_meet_element_by_element(array, computed, expected):
    result = computed(Matrix(array(S)), Matrix(array(N)), array(F))
    assert isinstance(result, Matrix)
    np.testing.assert_allclose(np.asarray(result.array), expected, rtol=1e-6, atol=1e-6)


def test_outer_and_contract_are_sums_over_one_axis():
    np.testing.assert_allclose(OPS.outer(F, Q).array, np.einsum("bi,bj->bij", F, Q))
    np.testing.assert_allclose(OPS.contract(Matrix(S), Q), np.einsum("bij,bj->bi", S, Q))
    np.testing.assert_allclose(OPS.contract(F, Q), np.einsum("bi,bi->b", F, Q)[:, None])
