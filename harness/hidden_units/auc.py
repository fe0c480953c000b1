"""The area under the ROC curve: how well the order of some values predicts a class.

It is the probability that a random member of the class has a larger value than a random
non-member, where equal values count one half (the statistic of Mann and Whitney). 0.5 is chance;
1 and 0 are perfect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array


def areas(values: Array, masks: Sequence[NDArray[np.bool_]]) -> list[float]:
    """Return the area of ``values`` (n,) for each class, given as its mask (n,).

    It is NaN for a class without members, or without non-members.
    """
    ranks = _average_ranks(values)
    return [_area(ranks, mask) for mask in masks]


def character_scores(
    characters: NDArray[np.integer], mask: NDArray[np.bool_], fitted: int
) -> Array:
    """Return how often each character is in the class: (n,), counted over the first ``fitted``.

    The best prediction from the current character alone. Each count has one more character with
    the frequency of the class, which is also the score of a character that was not counted.

    Args:
        characters: (n,) the number of each character, from 0.
        mask: (n,) True inside the class.
        fitted: how many characters are counted.
    """
    size = int(characters.max()) + 1
    counts = np.bincount(characters[:fitted], minlength=size)
    inside = np.bincount(characters[:fitted], weights=mask[:fitted], minlength=size)
    frequency = mask[:fitted].mean()
    scores: Array = ((inside + frequency) / (counts + 1))[characters]
    return scores


def _average_ranks(values: Array) -> Array:
    """Return the ranks (n,) from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _area(ranks: Array, mask: NDArray[np.bool_]) -> float:
    members = int(np.count_nonzero(mask))
    others = len(mask) - members
    if members == 0 or others == 0:
        return float("nan")
    above = ranks[mask].sum() - members * (members + 1) / 2
    return float(above / (members * others))
