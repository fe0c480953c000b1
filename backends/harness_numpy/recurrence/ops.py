"""The array operations of a cell, in NumPy. Results keep the dtype; nothing here warns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.contract import Array


class NumpyOps:
    """``harness.contract.Ops`` for NumPy arrays of any leading shape."""

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x)); an exponential that overflows gives 0 without a warning."""
        y: Array = np.negative(x)
        with np.errstate(over="ignore"):
            np.exp(y, out=y)
        y += 1
        return np.reciprocal(y, out=y)

    def tanh(self, x: Array) -> Array:
        """Return the hyperbolic tangent."""
        return np.tanh(x)

    def relu(self, x: Array) -> Array:
        """Return max(x, 0)."""
        return np.maximum(x, 0)

    def exp(self, x: Array) -> Array:
        """Return e to the power x."""
        return np.exp(x)

    def positive(self, x: Array) -> Array:
        """Return 1 where x > 0 and 0 elsewhere."""
        return (x > 0).astype(x.dtype)

    def split(self, x: Array, parts: int) -> Sequence[Array]:
        """Return ``parts`` equal views along the last axis."""
        width = x.shape[-1] // parts
        return [x[..., part * width : (part + 1) * width] for part in range(parts)]

    def concatenate(self, pieces: Sequence[Array]) -> Array:
        """Join pieces along the last axis."""
        return np.concatenate(pieces, axis=-1)
