"""The input product of the first layer and its gradients, for tokens and real vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array


def input_product(inputs: NDArray[Any], weight: Array, bias: Array, out: Array) -> None:
    """Write ``inputs @ weight.T + bias`` (N, G*H); tokens (N,) gather columns of ``weight``."""
    if inputs.ndim == 1:
        # The ids were checked; "clip" spares a buffer.
        np.take(weight.T + bias, inputs, axis=0, out=out, mode="clip")
        return
    np.matmul(inputs, weight.T, out=out)
    out += bias


def input_weight_gradient(inputs: NDArray[Any], d_zx: Array, out: Array) -> None:
    """Write ``d_zx.T @ inputs`` (G*H, D); for tokens, the sum of the rows of ``d_zx`` by token."""
    if inputs.ndim == 1:
        ids, sums = _sums_by_token(inputs, d_zx)
        out.fill(0)
        out[:, ids] = sums.T
        return
    np.matmul(d_zx.T, inputs, out=out)


def add_by_token(tokens: NDArray[np.intp], rows: Array, out: Array) -> None:
    """Add each of ``rows`` (N, E) to the row of its token in ``out`` (V, E)."""
    ids, sums = _sums_by_token(tokens, rows)
    out[ids] += sums


def _sums_by_token(tokens: NDArray[np.intp], rows: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the tokens that occur, (n,), and the sum of the rows of each, (n, width).

    Sorted rows are faster than one-hot, ``np.add.at`` and ``reduceat`` (measured).
    """
    order = np.argsort(tokens, kind="stable")
    in_order = tokens[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=-1))
    bounds = [*starts.tolist(), len(tokens)]
    units, sorted_rows = np.ones(len(tokens), rows.dtype), rows.take(order, axis=0)
    sums = np.empty((len(starts), rows.shape[1]), rows.dtype)
    for index, (start, end) in enumerate(pairwise(bounds)):
        np.dot(units[: end - start], sorted_rows[start:end], out=sums[index])
    return in_order[starts], sums
