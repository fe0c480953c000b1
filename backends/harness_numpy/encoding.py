"""The input product of the first layer and its weight gradient, for token ids and for real vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array

ONE_HOT_LIMIT = 512  # classes up to which a product with one-hot rows beats sorting (measured)


def token_product(tokens: NDArray[np.intp], weight: Array, bias: Array, out: Array) -> None:
    """Gather columns of ``weight`` (G*H, V) for tokens (N,) into ``out`` (N, G*H): the product with one-hot vectors."""
    table = weight.T + bias
    np.take(table, tokens, axis=0, out=out, mode="clip")  # ids were checked; "clip" spares NumPy a buffer


def token_weight_gradient(tokens: NDArray[np.intp], d_zx: Array, out: Array) -> None:
    """Sum the rows of ``d_zx`` (N, G*H) by token into the columns of ``out`` (G*H, V)."""
    if out.shape[1] <= ONE_HOT_LIMIT:
        one_hot = np.zeros((len(tokens), out.shape[1]), d_zx.dtype)
        one_hot[np.arange(len(tokens)), tokens] = 1
        np.matmul(d_zx.T, one_hot, out=out)
        return
    order = np.argsort(tokens, kind="stable")
    present, starts = np.unique(tokens[order], return_index=True)
    out.fill(0)
    out[:, present] = np.add.reduceat(d_zx[order], starts, axis=0).T


def real_product(vectors: Array, weight: Array, bias: Array, out: Array) -> None:
    """Write ``vectors @ weight.T + bias``, (N, G*H), into ``out``."""
    np.matmul(vectors, weight.T, out=out)
    out += bias


def real_weight_gradient(vectors: Array, d_zx: Array, out: Array) -> None:
    """Write ``d_zx.T @ vectors``, (G*H, D), into ``out``."""
    np.matmul(d_zx.T, vectors, out=out)


def is_token(inputs: NDArray[Any]) -> bool:
    """Say whether device inputs are token ids."""
    return inputs.ndim == 1
