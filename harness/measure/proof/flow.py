"""Gradient flow: how much of the loss at the last scored position reaches back to each earlier state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Parameters, PluginError, Trainer
from harness.contract.records.record import HORIZON_FRACTION

NOISE_FLOOR = 1e-30  # relative to lag 0: below it float32 runs into denormal numbers
KEPT_LAGS = 512
LINE_POINTS = 2  # a line needs two

Series = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Flow:
    """||dL/ds_t|| against the lag, s_t the whole state, L the loss at each sequence's last scored position only.

    The whole state is every state of the cell in every layer (h and c of an lstm). Each is a
    variable of its own, as in ``Gradients.states``, so that the norm is that of the loss's gradient
    by all that the network carries on.

    Attributes:
        lags: (n,) 0, 1, ...: (that sequence's last scored position) - t.
        median: (n,) over the batch, of the norm sqrt(sum over layers and states of ||dL/ds_t||^2).
        low: (n,) the lower quartile.
        high: (n,) the upper quartile.
        layers: (layers, n) the median of each layer's norm, over its states.
        states: by name, (n,) the median of each state's norm, over all layers; empty for a cell
            with one state.
        horizon: the first lag at which ``median`` is below 1 % of its value at lag 0; n where it
            never is; None where the value at lag 0 is zero or not finite.
        censored: the median never fell below: the true horizon is at least n.
        decay: factor per step, by least squares on the logarithm of the median where it is
            positive, finite and above the noise floor; below 1 vanishing, above 1 exploding; None
            with fewer than two such lags.
    """

    lags: NDArray[np.int64]
    median: Series
    low: Series
    high: Series
    layers: Series
    horizon: int | None
    censored: bool
    decay: float | None
    states: Mapping[str, Series] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able series, at most 512 lags: all where there are no more, else log-spaced with both ends kept.

        Numbers that are not finite become None.
        """
        kept = _log_spaced(len(self.lags))
        return {
            "lags": self.lags[kept].tolist(),
            **{name: _finite(getattr(self, name)[kept]) for name in ("median", "low", "high")},
            "layers": [_finite(layer[kept]) for layer in self.layers],
            **(
                {"states": {name: _finite(curve[kept]) for name, curve in self.states.items()}}
                if self.states
                else {}
            ),
            "horizon": self.horizon,
            "censored": self.censored,
            "decay": self.decay,
        }


class Others(Protocol):
    """Gives the gradients that an engine leaves out if it gives that of h alone."""

    def __call__(self, hidden: Array, batch: Batch, parameters: Parameters) -> Sequence[Array]:
        """Return d loss / d state for every state but h, each (layers, T, B, H); none where they cannot be had."""


def measure_flow(
    trainer: Trainer, batch: Batch, names: Sequence[str] = (), others: Others | None = None
) -> Flow:
    """Return the gradient flow of ``batch`` at the trainer's present weights; changes nothing in the trainer.

    Args:
        trainer: at these weights.
        batch: all its loss but that at each sequence's last scored position is left out.
        names: of the cell's states; none: they are numbered.
        others: completes the gradients of a trainer that gives that of h alone; None: they stay
            incomplete.

    Raises:
        PluginError: there is not one gradient for each state, in the shape of that of h.
    """
    scored = batch.last_scored()
    gradients = trainer.gradients(trainer.put(scored))
    rest: Sequence[Array] = ()
    if gradients.states is not None:
        count = len(names) or len(gradients.states)
        if [np.shape(state) for state in gradients.states] != [np.shape(gradients.hidden)] * count:
            listed = ", ".join(names) or "the states"
            raise PluginError(
                f"invalid gradients: states must be one array for each of {listed}, shaped as hidden"
            )
        rest = gradients.states[1:]
    elif others is not None:
        rest = others(gradients.hidden, scored, trainer.parameters())
    states = (gradients.hidden, *rest)
    by_lag = [
        _by_lag(_norms(state), scored.mask) for state in states
    ]  # each (layers, lags, sequences)
    with np.errstate(over="ignore"):
        by_layer = _together(by_lag)
        total = _together(by_layer)
        by_state = [_together(norms) for norms in by_lag]
    low, median, high = _quantiles(total, (0.25, 0.5, 0.75))
    (layers,) = _quantiles(by_layer, (0.5,))
    medians = [_quantiles(norms, (0.5,))[0] for norms in by_state]
    horizon, censored = _horizon(median)
    return Flow(
        np.arange(len(median)),
        median,
        low,
        high,
        layers,
        horizon=horizon,
        censored=censored,
        decay=_decay(median),
        states=_named(names, medians),
    )


def _named(names: Sequence[str], medians: Sequence[Series]) -> dict[str, Series]:
    """Return the curve of each state by name; none of a cell with one state, whose curve is that of the whole."""
    if max(len(names), len(medians)) == 1:
        return {}
    return dict(
        zip(names or [f"state_{number}" for number in range(len(medians))], medians, strict=False)
    )


def median_norms(hidden: Array, batch: Batch) -> Series:
    """Return (lags,) the median over sequences of the norm over layers of ``hidden`` (layers, T, B, H)."""
    (median,) = _quantiles(_together(_by_lag(_norms(hidden), batch.mask)), (0.5,))
    return np.asarray(median)


def _together(norms: Sequence[Series] | Series) -> Series:
    """Return the norm of vectors joined, from the norm of each, over the first axis."""
    return np.asarray(np.hypot.reduce(np.asarray(norms), axis=0))


def _norms(hidden: Array) -> Series:
    """Return (layers, T, B) L2 norms of (layers, T, B, H), squared in float64 so that nothing under- or overflows.

    A norm that is not a number becomes infinite, so that NaN can mark the lags that a sequence does
    not have.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ltbh,ltbh->ltb", hidden, hidden, dtype=np.float64))
    return np.where(np.isnan(norms), np.inf, norms)


def _by_lag(norms: Series, mask: NDArray[np.bool_]) -> Series:
    """Return (layers, lags, scored sequences), NaN before a sequence's start."""
    columns = np.flatnonzero(mask.any(axis=0))
    last = np.argmax(mask[:, columns], axis=0)
    steps = (
        last[None, :] - np.arange(last.max() + 1)[:, None]
    )  # (lags, sequences): the t of each lag
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
