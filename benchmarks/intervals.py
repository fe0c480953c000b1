"""The distribution-free interval of a median, for the benchmarks that print ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSED = 0.05  # how often the interval may miss the median


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median from order statistics; None of fewer than 6 values.

    The number of values below the true median is binomial (n, 1/2), whatever their distribution;
    the interval is the narrowest symmetric pair of order statistics that covers the median with at
    least this confidence.
    """
    ordered = sorted(values)
    n, skip, below = len(ordered), 0, 1 / 2 ** len(ordered)
    if 2 * below > MISSED:
        return None
    while 2 * (below + math.comb(n, skip + 1) / 2**n) <= MISSED:
        skip += 1
        below += math.comb(n, skip) / 2**n
    return ordered[skip], ordered[n - 1 - skip]
