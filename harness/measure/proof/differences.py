"""Derivatives of a cell's function by finite differences, from the left and from the right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array
from harness.measure.proof.functions import Function

# The smallest and largest value that a derivative may have, and its possible rounding error.
Difference = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

# Weights of (f_k - f_0), k = 1..5: the fifth-order derivative from six equally spaced values.
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
    """Return bounds on the derivative along each direction, each (directions, sequences).

    The derivatives from the left and from the right enclose every slope that a gradient may
    have at a kink. All points are evaluated as one batch.

    Args:
        function: the function to differentiate.
        arguments: its arguments, each (sequences, width).
        index: which argument to move.
        directions: (directions, sequences, width).
        cotangents: weights of the results, each (sequences, H).
        step: the distance between two points.
    """
    count, rows = directions.shape[:2]
    offsets = np.arange(-len(FORWARD), len(FORWARD) + 1) * step
    points = [np.tile(part, (len(offsets) * count, 1)) for part in arguments]
    moved = arguments[index] + offsets[:, None, None, None] * directions
    points[index] = moved.reshape(-1, directions.shape[-1])
    low, high, rounding = (np.zeros((count, rows)) for _ in range(3))
    largest_parts = [np.max(np.abs(part), axis=1, keepdims=True) for part in arguments]
    largest = np.max(largest_parts, axis=0)  # (sequences, 1)
    for result, cotangent in zip(function.value(points), cotangents, strict=True):
        values = result.reshape(len(offsets), count, rows, -1)
        middle = values[len(FORWARD)]
        after, before = values[len(FORWARD) + 1 :], values[: len(FORWARD)][::-1]
        with np.errstate(all="ignore"):
            right = np.tensordot(FORWARD, after - middle, 1) / step * cotangent
            left = np.tensordot(-FORWARD, before - middle, 1) / step * cotangent
            if_changed = np.abs(cotangent) * np.maximum(np.abs(middle), largest) / step
            # A constant result may hide a small change. And 1 - h * h is off by an epsilon even if
            # tanh is flat there.
            if_constant = np.abs(cotangent) * np.maximum(np.abs(middle) / step, largest)
        changed = (right != 0) | (left != 0)
        low += np.minimum(left, right).sum(axis=-1)
        high += np.maximum(left, right).sum(axis=-1)
        rounding += ROUNDING * np.where(changed, if_changed, if_constant).sum(axis=-1)
    return low, high, rounding


def joined(long: Difference, short: Difference) -> Difference:
    """Return bounds that enclose both; if they contradict each other, the rounding is infinite.

    A contradiction means that the function is too steep here to judge.
    """
    low, high = np.minimum(long[0], short[0]), np.maximum(long[1], short[1])
    rounding = long[2] + short[2]
    apart = np.abs(long[0] + long[1] - short[0] - short[1])
    steep = apart > np.maximum(np.abs(low), np.abs(high)) + rounding
    return low, high, np.where(steep, np.inf, rounding)
