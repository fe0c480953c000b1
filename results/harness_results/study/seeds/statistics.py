"""Statistics of a few seeds. A loss may be infinite: that of a seed that diverged or failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
MOST_IN_RANGE = 4  # seeds up to which the spread is their range
MOST_EXACT = 12  # pairs up to which all signs are tried
DRAWS = 10_000  # of signs, for more pairs
_SEED = 20_061  # of these draws: the same differences give the same p-value
_ROUNDING = 1e-9  # sums of ranks that differ by less are equal


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of up to ``MOST_IN_RANGE`` values, else their quartiles."""
    if len(values) <= MOST_IN_RANGE:
        return min(values), max(values)
    return _quantile(values, 0.25), _quantile(values, 0.75)


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the linearly interpolated quantile, as ``numpy.quantile``; infinite values count."""
    position = share * (len(values) - 1)
    low, high = sorted(values)[math.floor(position)], sorted(values)[math.ceil(position)]
    return low if low == high else low + (position % 1) * (high - low)


def proportion_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a proportion (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    failures, tail = trials - successes, LEVEL / 2
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return low, high


def survival_median(times: Sequence[float], is_event: Sequence[bool]) -> float | None:
    """Return the median time to an event, by Kaplan and Meier (1958).

    Args:
        times: of each event, or until when there was none.
        is_event: whether the event happened; False: it was not seen until then.

    Returns:
        The first time at which the estimated survival is at most one half; None: it never is.
    """
    survival = 1.0
    for time in sorted({time for time, event in zip(times, is_event, strict=True) if event}):
        at_risk = sum(other >= time for other in times)
        events = sum(event and other == time for other, event in zip(times, is_event, strict=True))
        survival *= 1 - events / at_risk
        if survival <= 0.5 + _ROUNDING:
            return time
    return None


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median by order statistics; None of fewer than six values.

    It assumes nothing about the distribution: it is the interval of the sign test.
    """
    ordered, total, tail = sorted(values), len(values), 0.0
    for rank in range(total // 2 + 1):
        tail += math.comb(total, rank) / 2**total  # P(fewer than rank + 1 below the median)
        if tail > LEVEL / 2:
            return (ordered[rank - 1], ordered[total - rank]) if rank else None
    return None


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of paired differences with a median of zero.

    If two networks do not differ, the sign of each difference is a coin toss. The statistic is the
    sum of signed ranks (Wilcoxon 1945), so that an infinite difference counts as the largest. All
    signs are tried for up to ``MOST_EXACT`` differences, else ``DRAWS`` drawn ones.
    """
    ranks = _ranks(np.abs(np.asarray(differences, np.float64)))
    observed = abs(float(np.sign(differences) @ ranks))
    ranks = ranks[np.sign(differences) != 0]
    total = len(ranks)
    if total <= MOST_EXACT:
        bits = np.arange(2**total)[:, None] >> np.arange(total) & 1
        return float(np.mean(_sums(bits, ranks) >= observed - _ROUNDING))
    bits = np.random.default_rng(_SEED).integers(0, 2, (DRAWS, total))
    extreme = int(np.sum(_sums(bits, ranks) >= observed - _ROUNDING))
    return (extreme + 1) / (DRAWS + 1)


def _sums(bits: NDArray[np.int64], ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs((2 * bits - 1) @ ranks))


def _ranks(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1; equal values share the mean of their ranks."""
    below = (sizes[None, :] < sizes[:, None]).sum(1)
    equal = (sizes[None, :] == sizes[:, None]).sum(1)
    return np.asarray(below + (equal + 1) / 2, np.float64)


def pairs_needed(comparisons: int = 1) -> int:
    """Return how many pairs can show a difference at 5 % among these comparisons, by Holm."""
    # the p-value if all differences have the same sign: 2 / 2^n
    return next(n for n in count(2) if 2 / 2**n <= LEVEL / max(1, comparisons))
