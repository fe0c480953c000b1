"""The array operations of a cell in plain NumPy: exact rather than fast, for reference results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.contract import Array, Ops, Tensor


class NumpyOps(Ops):
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

    def log(self, x: Tensor) -> Tensor:
        """Return the natural logarithm."""
        return np.log(x)

    def sqrt(self, x: Tensor) -> Tensor:
        """Return the square root."""
        return np.sqrt(x)

    def softplus(self, x: Tensor) -> Tensor:
        """Return log(1 + exp(x)), without overflow; a small result keeps all its digits."""
        return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))

    def absolute(self, x: Tensor) -> Tensor:
        """Return the absolute value."""
        return np.abs(x)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the larger of two."""
        return np.maximum(a, b)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the last axis, (B, 1)."""
        return np.mean(x, axis=-1, keepdims=True)

    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0 and 0 elsewhere."""
        return (x > 0).astype(x.dtype)

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Cut the last axis into equal pieces."""
        return np.split(x, parts, axis=-1)

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis."""
        return np.concatenate(pieces, axis=-1)


class LayerOps(NumpyOps):
    """The operations of one layer: its products too.

    Args:
        weights: parameter name without its layer -> array, such as ``weight_hh``.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights

    def product(self, name: str, operand: Tensor) -> Tensor:
        """Return operand @ weight.T, plus the bias if there is one."""
        result = operand @ self._weights[f"weight_{name}"].T
        bias = self._weights.get(f"bias_{name}")
        return result if bias is None else result + bias


OPS = NumpyOps()
