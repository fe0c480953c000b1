"""Derivatives of a cell's function by finite differences, from the left and from the right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array
from harness.measure.proof.functions import Function

# The lowest and the highest value that a derivative may have, and what rounding may add.
Difference = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

# The derivative from six equally spaced values f_0..f_5, to fifth order: these times (f_k - f_0).
FORWARD = np.array([5.0, -5.0, 10 / 3, -5 / 4, 1 / 5])
ROUNDING = 64 * float(np.finfo(np.float64).eps)  # of a value; a difference divides it by the step


def differences(
    function: Function,
    arguments: Sequence[Array],
    index: int,
    directions: Array,
    cotangents: Sequence[Array],
    step: float,
) -> Difference:
    """Return the derivative along each direction from the left and from the right, each (directions, sequences).

    The two enclose the slope that ``step_gradient`` may state at a kink. All points are one batch.
    """
    count, rows = directions.shape[:2]
    offsets = np.arange(-len(FORWARD), len(FORWARD) + 1) * step
    points = [np.tile(part, (len(offsets) * count, 1)) for part in arguments]
    points[index] = (arguments[index] + offsets[:, None, None, None] * directions).reshape(
        -1, directions.shape[-1]
    )
    low, high, rounding = (np.zeros((count, rows)) for _ in range(3))
    largest = np.max(
        [np.max(np.abs(part), axis=1, keepdims=True) for part in arguments], axis=0
    )  # of a sequence
    for value, cotangent in zip(function.value(points), cotangents, strict=True):
        at = value.reshape(len(offsets), count, rows, -1)
        middle = at[len(FORWARD)]
        with np.errstate(all="ignore"):
            right = np.tensordot(FORWARD, at[len(FORWARD) + 1 :] - middle, 1) / step * cotangent
            left = np.tensordot(-FORWARD, at[: len(FORWARD)][::-1] - middle, 1) / step * cotangent
            moved = np.abs(cotangent) * np.maximum(np.abs(middle), largest) / step
            # What stays may hide a small change, and 1 - h * h is off by an epsilon, however flat
            # tanh is there.
            still = np.abs(cotangent) * np.maximum(np.abs(middle) / step, largest)
        low += np.minimum(left, right).sum(axis=-1)
        high += np.maximum(left, right).sum(axis=-1)
        rounding += ROUNDING * np.where((right != 0) | (left != 0), moved, still).sum(axis=-1)
    return low, high, rounding


def joined(long: Difference, short: Difference) -> Difference:
    """Return what encloses both; the rounding is infinite if they contradict each other: too steep to judge."""
    low, high, rounding = (
        np.minimum(long[0], short[0]),
        np.maximum(long[1], short[1]),
        long[2] + short[2],
    )
    apart = np.abs(long[0] + long[1] - short[0] - short[1])
    steep = apart > np.maximum(np.abs(low), np.abs(high)) + rounding
    return low, high, np.where(steep, np.inf, rounding)
