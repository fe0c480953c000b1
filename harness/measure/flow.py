"""Gradient flow: how much of the loss at the last scored position reaches back to each earlier hidden state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Trainer
from harness.contract.record import HORIZON_FRACTION

NOISE_FLOOR = 1e-30  # relative to lag 0: below it float32 runs into denormal numbers
KEPT_LAGS = 512
LINE_POINTS = 2  # a line needs two

Series = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Flow:
    """||dL/dh_t|| against the lag, with L the loss at each sequence's last scored position only.

    Attributes:
        lags: (n,) 0, 1, ...: (that sequence's last scored position) - t.
        median: (n,) over the batch, of the norm over all layers sqrt(sum over layers of ||dL/dh_t||^2).
        low: (n,) the lower quartile.
        high: (n,) the upper quartile.
        layers: (layers, n) the median of each layer's norm.
        horizon: the first lag at which ``median`` is below 1 % of its value at lag 0; n where it never is; None where
            the value at lag 0 is zero or not finite.
        censored: the median never fell below: the true horizon is at least n.
        decay: factor per step, by least squares on the logarithm of the median where it is positive, finite and above
            the noise floor; below 1 vanishing, above 1 exploding; None with fewer than two such lags.
    """

    lags: NDArray[np.int64]
    median: Series
    low: Series
    high: Series
    layers: Series
    horizon: int | None
    censored: bool
    decay: float | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able series, at most 512 lags: all where there are no more, else log-spaced with both ends kept.

        Numbers that are not finite become None.
        """
        kept = _log_spaced(len(self.lags))
        return {
            "lags": self.lags[kept].tolist(),
            **{name: _finite(getattr(self, name)[kept]) for name in ("median", "low", "high")},
            "layers": [_finite(layer[kept]) for layer in self.layers],
            "horizon": self.horizon,
            "censored": self.censored,
            "decay": self.decay,
        }


def measure_flow(trainer: Trainer, batch: Batch) -> Flow:
    """Return the gradient flow of ``batch`` at the trainer's present weights; changes nothing in the trainer."""
    scored = batch.last_scored()
    norms = _norms(trainer.gradients(trainer.put(scored)).hidden)
    by_lag = _by_lag(norms, scored.mask)  # (layers, lags, sequences)
    with np.errstate(over="ignore"):
        total = np.sqrt(np.sum(np.square(by_lag), axis=0))
    low, median, high = _quantiles(total, (0.25, 0.5, 0.75))
    (layers,) = _quantiles(by_lag, (0.5,))
    horizon, censored = _horizon(median)
    return Flow(
        np.arange(len(median)), median, low, high, layers, horizon=horizon, censored=censored, decay=_decay(median)
    )


def _norms(hidden: Array) -> Series:
    """Return (layers, T, B) L2 norms of (layers, T, B, H), squared in float64 so that nothing under- or overflows.

    A norm that is not a number becomes infinite, so that NaN can mark the lags that a sequence does not have.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ltbh,ltbh->ltb", hidden, hidden, dtype=np.float64))
    return np.where(np.isnan(norms), np.inf, norms)


def _by_lag(norms: Series, mask: NDArray[np.bool_]) -> Series:
    """Return (layers, lags, scored sequences), NaN before a sequence's start."""
    columns = np.flatnonzero(mask.any(axis=0))
    last = np.argmax(mask[:, columns], axis=0)
    steps = last[None, :] - np.arange(last.max() + 1)[:, None]  # (lags, sequences): the t of each lag
    found = norms[:, np.maximum(steps, 0), columns]
    return np.where(steps >= 0, found, np.nan)


def _quantiles(norms: Series, levels: tuple[float, ...]) -> Series:
    """Return quantiles over the last axis, leaving out NaN where a sequence has no such lag."""
    quantile = np.nanquantile if np.isnan(norms).any() else np.quantile  # the first is slow
    with np.errstate(invalid="ignore"):
        return np.asarray(quantile(norms, levels, axis=-1))


def _horizon(median: Series) -> tuple[int | None, bool]:
    if not np.isfinite(median[0]) or median[0] <= 0:
        return None, False
    below = np.flatnonzero(median < HORIZON_FRACTION * median[0])
    return (int(below[0]), False) if below.size else (len(median), True)


def _decay(median: Series) -> float | None:
    if not np.isfinite(median[0]):
        return None
    usable = np.flatnonzero(np.isfinite(median) & (median > NOISE_FLOOR * median[0]))
    if usable.size < LINE_POINTS:
        return None
    slope = np.polynomial.polynomial.polyfit(usable, np.log(median[usable]), 1)[1]
    return float(np.exp(slope))


def _log_spaced(lags: int) -> NDArray[np.int64]:
    if lags <= KEPT_LAGS:
        return np.arange(lags)
    return np.unique(np.geomspace(1, lags, KEPT_LAGS).round().astype(np.int64)) - 1


def _finite(series: Series) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in series.tolist()]
