"""Losses over the scored rows, each with its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Loss


def loss_and_gradient(loss: Loss, outputs: Array, targets: NDArray[Any]) -> np.floating:
    """Return the mean loss of ``outputs`` (n, K), which becomes d loss / d outputs in place.

    ``targets`` are classes (n,) for cross-entropy and values (n, K) for the squared error.
    """
    if loss == "cross_entropy":
        return _cross_entropy(outputs, targets)
    outputs -= targets
    mean: np.floating = np.mean(np.square(outputs))
    outputs *= 2 / outputs.size
    return mean


def _cross_entropy(logits: Array, classes: NDArray[np.intp]) -> np.floating:
    rows = np.arange(len(classes))
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[rows, classes]
    np.exp(logits, out=logits)
    total = logits.sum(axis=1)
    mean: np.floating = np.mean(np.log(total) - chosen)
    logits /= total[:, None]
    logits[rows, classes] -= 1
    logits *= 1 / len(classes)
    return mean
