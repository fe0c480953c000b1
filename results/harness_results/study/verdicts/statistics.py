"""What launches of fresh processes can prove: medians, intervals, differences.

The unit is the launch: blocks within a process share its memory layout and its caches, so they are
a sample of that process alone. scipy is imported on use.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import comb
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 9999
FEWEST = 5  # launches on each side; with fewer, no difference is significant at ``ALPHA``
# two-sided Mann-Whitney: of 5 against 5 launches at most one pair is in the wrong order (p = 0.016)
ALPHA = 0.02
MOST_EXACT = 30  # launches on a side up to which the p-value is computed exactly
EQUIVALENCE = 0.05  # a difference that is surely below this is called "same"
FAMILY = 0.05  # the largest chance of any false difference in a table of equal code
FLOOR_QUANTILE = 0.99
DEFAULT_FLOOR = 0.03  # assumed if no noise floor has been measured
DEFAULT_DRIFT = 0.10  # of the machine, assumed between runs made one after the other
_SEED = 20_061  # of every resampling here: the same data give the same interval

Values = Sequence[float]


@dataclass(frozen=True)
class Interval:
    """An interval of a median, and its kind: bootstrap (BCa or percentile) or range."""

    low: float
    high: float
    kind: str


@dataclass(frozen=True)
class Effect:
    """How the throughput of ``new`` differs from that of ``base``.

    Attributes:
        verdict: ``faster``, ``slower``, ``same`` or ``cannot_tell``.
        change: relative change of the median throughput; -0.1 is a tenth less.
        low: lower end of its 95 % bootstrap interval; None with a single launch on both sides.
        high: upper end.
        p_value: two-sided Mann-Whitney; None if there are too few launches.
        p_adjusted: the same, by Holm's method for all comparisons of a table; None before.
        reason: why nothing can be told; None if a verdict was reached.
    """

    verdict: str
    change: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    reason: str | None = None


def median_of_launches(values: Values) -> tuple[float, Interval | None]:
    """Return the median of one value per launch, with its 95 % interval.

    The interval is by bootstrap (BCa, or percentile if BCa gives nan, as with ties). Of 2 to 4
    launches it is their range. One launch has none.
    """
    middle = float(median(values))
    if len(values) == 1:
        return middle, None
    if len(values) < FEWEST:
        return middle, Interval(float(min(values)), float(max(values)), "range")
    low, high = _bca(values)
    if np.isfinite([low, high]).all():
        return middle, Interval(low, high, "bootstrap-bca")
    low, high = _percentiles(_resampled_medians(values, len(values)))
    return middle, Interval(low, high, "bootstrap-percentile")


def _bca(values: Values) -> tuple[float, float]:
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate distribution gives nan: the caller checks it
        interval = stats.bootstrap(
            (np.asarray(values),), np.median, confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(_SEED),
        ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def _resampled_medians(values: Values, size: int, seed: int = _SEED) -> NDArray[np.float64]:
    """Return the medians of ``RESAMPLES`` samples of ``size`` launches, drawn with replacement."""
    drawn = np.random.default_rng(seed).choice(np.asarray(values, np.float64), (RESAMPLES, size))
    return np.asarray(np.median(drawn, axis=1))


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def compare_speed(
    base: Values, new: Values, floor: float, drift: float = 0.0, comparisons: int = 1
) -> Effect:
    """Compare two sets of launches of the same work.

    ``faster`` and ``slower`` need three things at once: the Mann-Whitney test at ``ALPHA``, a
    bootstrap interval that leaves out zero, and a change above the noise floor. ``same`` needs an
    interval within ``EQUIVALENCE`` on both sides. Anything else is ``cannot_tell``, with the
    reason.

    Args:
        base: seconds per step or per token, one median per launch.
        new: the same of what is compared with it.
        floor: the relative change that equal code reaches by chance.
        drift: the relative change of the machine between the two sides, by which the interval is
            widened; 0: interleaved.
        comparisons: the number in the table: the more, the more launches a verdict needs.
    """
    # Throughputs: of an even number, the median of the reciprocals is not that of the seconds.
    base, new = [1 / seconds for seconds in base], [1 / seconds for seconds in new]
    change = float(median(new) / median(base)) - 1
    if max(len(base), len(new)) == 1:
        reason = f"one launch each: {more_launches(comparisons)}"
        return Effect("cannot_tell", change, reason=reason)
    resampled = _resampled_medians(new, len(new), _SEED + 1) / _resampled_medians(base, len(base))
    ratios = _percentiles(resampled)
    low, high = ratios[0] / (1 + drift) - 1, ratios[1] * (1 + drift) - 1
    if min(len(base), len(new)) < FEWEST:
        reason = f"{len(base)} and {len(new)} launches: {more_launches(comparisons)}"
        return Effect("cannot_tell", change, low, high, reason=reason)
    effect = Effect("cannot_tell", change, low, high, _mann_whitney(base, new))
    verdict = _verdict(effect, floor)
    if verdict != "cannot_tell":
        return replace(effect, verdict=verdict)
    steady = replace(effect, low=ratios[0] - 1, high=ratios[1] - 1)
    reason = _doubt(effect, floor)
    if _verdict(steady, floor) != verdict:
        reason = f"the machine may drift by {drift:.1%} between sides that are not interleaved"
    return replace(effect, reason=reason)


def _verdict(effect: Effect, floor: float) -> str:
    """Return what the interval and p-value of an effect prove."""
    low, high, p_value = effect.low or 0.0, effect.high or 0.0, effect.p_value or 0.0
    if p_value <= ALPHA and not low <= 0 <= high and abs(effect.change) > floor:
        return "faster" if effect.change > 0 else "slower"
    return "same" if is_same(effect) else "cannot_tell"


def is_same(effect: Effect) -> bool:
    """Say whether the interval lies within ``EQUIVALENCE`` on both sides."""
    low, high = effect.low, effect.high
    return low is not None and high is not None and low >= -EQUIVALENCE and high <= EQUIVALENCE


def enough_launches(comparisons: int) -> int:
    """Return how many launches on each side can show a difference among these comparisons."""
    level = min(ALPHA, FAMILY / max(1, comparisons))
    # the p-value if every launch of one side is ahead: 2 / comb(2n, n)
    return next(n for n in count(FEWEST) if 2 / comb(2 * n, n) <= level)


def more_launches(comparisons: int) -> str:
    """Return the advice to measure with enough launches."""
    return f"measure with --launches {enough_launches(comparisons)} or more"


def _doubt(effect: Effect, floor: float) -> str:
    low, high, p_value = effect.low or 0.0, effect.high or 0.0, effect.p_value or 0.0
    if p_value > ALPHA or low <= 0 <= high:
        return (
            f"the launches scatter too widely to tell ({low:+.1%} to {high:+.1%}): "
            "add launches, quieten the machine"
        )
    return f"a change of {effect.change:+.1%} does not rise above the noise floor of {floor:.1%}"


def _mann_whitney(base: Values, new: Values) -> float:
    """Return the exact p-value; the asymptotic one if values are tied or many."""
    from scipy import stats

    tied = len({*base, *new}) < len(base) + len(new)
    method = "asymptotic" if tied or max(len(base), len(new)) > MOST_EXACT else "exact"
    return float(stats.mannwhitneyu(base, new, alternative="two-sided", method=method).pvalue)


def noise_floor(a: Values, b: Values, launches: int) -> float:
    """Return the relative change that equal code exceeds in 1 of 100 comparisons.

    Args:
        a: seconds per step of launches of some code.
        b: of the same code, launched in between.
        launches: on each side of the comparisons to come.
    """
    pooled = [*a, *b]
    ratios = _resampled_medians(pooled, launches) / _resampled_medians(pooled, launches, _SEED + 1)
    return float(np.quantile(np.abs(ratios - 1), FLOOR_QUANTILE))
