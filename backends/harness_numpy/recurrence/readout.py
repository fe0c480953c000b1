"""Losses over the scored rows, each with its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Loss


def loss_and_gradient(
    loss: Loss, outputs: Array, targets: NDArray[Any], scored: int
) -> np.floating[Any]:
    """Return the share of ``outputs`` (n, K) in the mean loss; they become d loss / d outputs.

    ``targets`` are classes (n,) for cross-entropy and values (n, K) for the other losses;
    ``scored`` is the number of rows in the mean: n, and the rows of other chunks.
    """
    if loss == "cross_entropy":
        return _cross_entropy(outputs, targets, scored)
    if loss == "binary_cross_entropy":
        return _binary_cross_entropy(outputs, targets, scored)
    outputs -= targets
    share = _share(np.sum(np.square(outputs)), scored * outputs.shape[1])
    outputs *= 2 / (scored * outputs.shape[1])
    return share


def _cross_entropy(logits: Array, classes: NDArray[np.intp], scored: int) -> np.floating[Any]:
    rows = np.arange(len(classes))
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[rows, classes]
    np.exp(logits, out=logits)
    total = logits.sum(axis=1)
    share = _share(np.sum(np.log(total) - chosen), scored)
    total *= scored
    logits /= total[:, None]
    logits[rows, classes] -= 1 / scored
    return share


def _binary_cross_entropy(logits: Array, targets: Array, scored: int) -> np.floating[Any]:
    count = scored * logits.shape[1]
    positive, below_one = np.maximum(logits, 0), np.exp(-np.abs(logits))  # neither overflows
    share = _share(np.sum(positive - logits * targets + np.log1p(below_one)), count)
    np.minimum(logits, 0, out=logits)
    np.exp(logits, out=logits)
    logits /= 1 + below_one  # the sigmoid
    logits -= targets
    logits /= count
    return share


def _share(total: np.floating[Any], count: int) -> np.floating[Any]:
    quotient: np.floating[Any] = total / total.dtype.type(count)
    return quotient
