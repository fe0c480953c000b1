"""Whole time loops in compiled code with their own product, for few sequences."""

from __future__ import annotations

from harness.contract import Array
from harness_numpy.compiled.cells import (
    gru_back,
    gru_step,
    lstm_back,
    lstm_step,
    relu_back,
    relu_step,
    rnn_back,
    rnn_step,
)
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


@compiled
def rnn_ahead(matrix: Array, zh: Array, zx: Array, h: Array) -> None:
    """All steps of ``rnn``."""
    for t in range(zx.shape[0]):
        product(h[t], matrix, zh)
        rnn_step(t, zx, zh, h)


@compiled
def rnn_behind(matrix: Array, zx: Array, h: Array, d_h: Array, recurrent: Array) -> None:
    """All steps of ``rnn``, backwards."""
    for t in range(zx.shape[0] - 1, -1, -1):
        rnn_back(t, zx, h, d_h, recurrent)
        product(zx[t], matrix, recurrent)


@compiled
def relu_ahead(matrix: Array, zh: Array, zx: Array, h: Array) -> None:
    """All steps of ``rnn_relu``."""
    for t in range(zx.shape[0]):
        product(h[t], matrix, zh)
        relu_step(t, zx, zh, h)


@compiled
def relu_behind(matrix: Array, zx: Array, h: Array, d_h: Array, recurrent: Array) -> None:
    """All steps of ``rnn_relu``, backwards."""
    for t in range(zx.shape[0] - 1, -1, -1):
        relu_back(t, zx, h, d_h, recurrent)
        product(zx[t], matrix, recurrent)


@compiled
def lstm_ahead(
    matrix: Array, zh: Array, zx: Array, gates: Array, h: Array, c: Array, tanh_c: Array
) -> None:
    """All steps of ``lstm``."""
    for t in range(zx.shape[0]):
        product(h[t], matrix, zh)
        lstm_step(t, zx, zh, gates, h, c, tanh_c)


@compiled
def lstm_behind(
    matrix: Array,
    zx: Array,
    gates: Array,
    c: Array,
    tanh_c: Array,
    d_h: Array,
    recurrent: Array,
    d_c: Array,
) -> None:
    """All steps of ``lstm``, backwards."""
    for t in range(zx.shape[0] - 1, -1, -1):
        lstm_back(t, zx, gates, c, tanh_c, d_h, recurrent, d_c)
        product(zx[t], matrix, recurrent)


@compiled
def gru_ahead(
    matrix: Array, zh: Array, zx: Array, bias_n: Array, gates: Array, zh_n: Array, h: Array
) -> None:
    """All steps of ``gru``."""
    for t in range(zx.shape[0]):
        product(h[t], matrix, zh)
        gru_step(t, zx, zh, bias_n, gates, zh_n, h)


@compiled
def gru_behind(
    matrix: Array,
    zx: Array,
    d_zh: Array,
    gates: Array,
    zh_n: Array,
    h: Array,
    d_h: Array,
    recurrent: Array,
    direct: Array,
) -> None:
    """All steps of ``gru``, backwards."""
    for t in range(zx.shape[0] - 1, -1, -1):
        gru_back(t, zx, d_zh, gates, zh_n, h, d_h, recurrent, direct)
        product(d_zh[t], matrix, recurrent)
