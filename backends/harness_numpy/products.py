"""A chain of matrix products in NumPy: the upper limit of a recurrence's speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.contract import Array, Dtype


def product_chain(start: Array, matrices: Sequence[Array], dtype: Dtype) -> Callable[[int], Array]:
    """Return ``run(rounds)``: x, at first ``start`` (B, K), times each matrix in turn, buffered."""
    x = np.array(start, dtype)
    weights = [np.array(matrix, dtype) for matrix in matrices]
    buffers = [np.empty((len(x), matrix.shape[1]), dtype) for matrix in weights]
    spare = np.empty_like(x)  # one square matrix alone must not overwrite its own input

    def run(rounds: int) -> Array:
        current = x
        for number in range(rounds):
            for weight, buffer in zip(weights, buffers, strict=True):
                into = spare if len(weights) == 1 and number % 2 else buffer
                current = np.matmul(current, weight, out=into)
        return current.copy()

    return run
