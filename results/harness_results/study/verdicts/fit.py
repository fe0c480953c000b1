"""The line through a few points, with intervals of intercept and slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Values = Sequence[float]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A fitted value and its 95 % interval."""

    value: float
    low: float
    high: float


def line(t: Values, y: Values, weights: Values | None = None) -> tuple[Estimate, Estimate]:
    """Return intercept and slope that minimise ``sum (w (y - a - b t))^2``, with intervals.

    Args:
        t: (n,), three points or more.
        y: (n,).
        weights: (n,) factors w of the residuals: 1 / y if errors are proportional to y; None: 1.
    """
    import numpy as np
    from scipy.special import stdtrit  # as stats.t.ppf, but loads faster and in less memory

    scale = max(map(abs, t))
    factors = np.ones(len(t)) if weights is None else np.asarray(weights, float)
    # (n, 2), of similar size
    columns = np.stack([factors, factors * np.asarray(t, float) / scale], axis=1)
    target = factors * np.asarray(y, float)
    inverse = np.linalg.pinv(columns)  # (2, n)
    fitted, freedom = inverse @ target, len(t) - 2
    variance = np.sum((target - columns @ fitted) ** 2) / freedom
    errors = np.sqrt(variance * np.sum(inverse**2, axis=1))
    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * errors
    intercept, slope = (
        Estimate(*(float(end / unit) for end in (middle, middle - wide, middle + wide)))
        for middle, wide, unit in zip(fitted, half, (1.0, scale), strict=True)
    )
    return intercept, slope
