"""Torch's norm of all gradients, against NumPy's."""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'rnn-harness[torch]'"
)

from harness_torch.update import SMALL, _norm  # noqa: E402

REST = 21  # numbers of the other gradient, which is no one block of memory


@pytest.mark.parametrize("size", [1, SMALL - 1 - REST, SMALL - REST, SMALL])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_the_norm_is_that_of_all_gradients_in_one(size, dtype, tolerance):
    """Copied into one vector or not. Tolerances: some hundred roundings of the dtype."""
    random = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, dtype=dtype, generator=random) for shape in ((size,), (7, 3))]
    gradients[1] = gradients[1].T
    assert gradients[1].numel() == REST
    everything = np.concatenate([gradient.numpy().ravel() for gradient in gradients])
    expected = np.linalg.norm(everything.astype(np.float64))
    assert float(_norm(gradients)) == pytest.approx(expected, rel=tolerance)
