"""A product in compiled code, for time loops of few sequences that are compiled whole."""

from __future__ import annotations

from harness.contract import Array
from harness_numpy.compiled.jit import compiled

ROWS = 8  # of the matrix at a time: each sum is read and written once for eight products


@compiled
def product(x: Array, matrix: Array, out: Array) -> None:
    """Write ``x @ matrix``, (B, K) by (K, N)."""
    depth, zero = matrix.shape[0], out.dtype.type(0)
    for b in range(x.shape[0]):
        row, factor = out[b], x[b]
        row[:] = zero
        for k in range(0, depth - ROWS + 1, ROWS):
            x0, x1, x2, x3 = factor[k], factor[k + 1], factor[k + 2], factor[k + 3]
            x4, x5, x6, x7 = factor[k + 4], factor[k + 5], factor[k + 6], factor[k + 7]
            for j in range(row.shape[0]):
                low = (
                    x0 * matrix[k, j]
                    + x1 * matrix[k + 1, j]
                    + x2 * matrix[k + 2, j]
                    + x3 * matrix[k + 3, j]
                )
                high = (
                    x4 * matrix[k + 4, j]
                    + x5 * matrix[k + 5, j]
                    + x6 * matrix[k + 6, j]
                    + x7 * matrix[k + 7, j]
                )
                row[j] += low + high
        for k in range(depth - depth % ROWS, depth):
            for j in range(row.shape[0]):
                row[j] += factor[k] * matrix[k, j]
