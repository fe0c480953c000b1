"""The array operations of a cell in plain NumPy: exact rather than fast, for reference results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.contract import Tensor


class NumpyOps:
    """``harness.contract.Ops`` on NumPy arrays, in the dtype of its arguments."""

    def sigmoid(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x)), without overflow; a small result keeps all its digits."""
        small = np.exp(-np.abs(x))
        return np.where(x < 0, small, np.ones_like(small)) / (1 + small)

    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""
        return np.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return np.maximum(x, 0.0)

    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power x."""
        return np.exp(x)

    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0 and 0 elsewhere."""
        return (x > 0).astype(x.dtype)

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Cut the last axis into equal pieces."""
        return np.split(x, parts, axis=-1)

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis."""
        return np.concatenate(pieces, axis=-1)


OPS = NumpyOps()
