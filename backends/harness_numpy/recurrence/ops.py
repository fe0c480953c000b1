"""The array operations of a cell, in NumPy. Results keep the dtype; nothing here warns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.contract import Array, Ops


class NumpyOps(Ops):
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

    def log(self, x: Array) -> Array:
        """Return the natural logarithm."""
        return np.log(x)

    def sqrt(self, x: Array) -> Array:
        """Return the square root."""
        return np.sqrt(x)

    def softplus(self, x: Array) -> Array:
        """Return log(1 + exp(x)), without overflow; a small result keeps all its digits."""
        result: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        return result

    def absolute(self, x: Array) -> Array:
        """Return the absolute value."""
        return np.abs(x)

    def maximum(self, a: Array, b: Array) -> Array:
        """Return the larger of two."""
        return np.maximum(a, b)

    def mean(self, x: Array) -> Array:
        """Return the mean over the last axis, (B, 1)."""
        result: Array = np.mean(x, axis=-1, keepdims=True)
        return result

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
