"""Torch's norm of all gradients, against NumPy's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'rnn-harness[torch]'")

from harness_torch.update import SMALL, _norm  # noqa: E402


@pytest.mark.parametrize("size", [1, SMALL // 2 - 1, SMALL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_norm_is_that_of_all_gradients_in_one(size, dtype):
    """Whether they are copied into one vector or not; one of them is no block of memory."""
    gradients = [torch.randn(size, dtype=dtype), torch.randn(7, 3, dtype=dtype).T]
    everything = np.concatenate([gradient.numpy().ravel() for gradient in gradients])
    assert float(_norm(gradients)) == pytest.approx(np.linalg.norm(everything.astype(np.float64)), rel=1e-5)
