"""Gradient flow: how strongly the last scored loss depends on each earlier state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Parameters, PluginError, Trainer
from harness.contract.records.record import HORIZON_FRACTION

NOISE_FLOOR = 1e-30  # relative to lag 0: below it, float32 numbers are denormal
KEPT_LAGS = 512
LINE_POINTS = 2  # the fewest points that determine a line

Series = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Flow:
    """||dL/ds_t|| by lag. L is the loss at each sequence's last scored position only.

    s_t is the whole state: every state of the cell in every layer (h and c of an lstm). Each is a
    separate variable, as in ``Gradients.states``. The norm is therefore that of the gradient with
    respect to all that the network carries to the next step.

    Attributes:
        lags: (n,) 0, 1, ...: the sequence's last scored position minus t.
        median: (n,) over the batch, of the norm sqrt(sum over layers and states of ||dL/ds_t||^2).
        low: (n,) the lower quartile.
        high: (n,) the upper quartile.
        layers: (layers, n) the median of each layer's norm, over its states.
        states: name -> (n,) the median of each state's norm, over all layers; empty for a cell with
            one state.
        horizon: the first lag at which ``median`` is below 1 % of its value at lag 0; n if there is
            no such lag; None if the value at lag 0 is zero or not finite.
        censored: the median never fell below 1 %: the true horizon is at least n.
        decay: the factor per step, fitted by least squares to the logarithm of the median, on the
            lags at which it is positive, finite and above the noise floor. Below 1 gradients
            vanish, above 1 they explode. None if there are fewer than two such lags.
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
        """Return JSON-able series of at most 512 lags: all of them, or log-spaced with both ends.

        Numbers that are not finite become None.
        """
        kept = _log_spaced(len(self.lags))
        states = {name: _finite(curve[kept]) for name, curve in self.states.items()}
        return {
            "lags": self.lags[kept].tolist(),
            **{name: _finite(getattr(self, name)[kept]) for name in ("median", "low", "high")},
            "layers": [_finite(layer[kept]) for layer in self.layers],
            **({"states": states} if states else {}),
            "horizon": self.horizon,
            "censored": self.censored,
            "decay": self.decay,
        }


class Others(Protocol):
    """Computes the gradients of the other states for an engine that gives only that of h."""

    def __call__(self, hidden: Array, batch: Batch, parameters: Parameters) -> Sequence[Array]:
        """Return d loss / d state for every state but h, as ``Gradients.states``; () if unknown."""


def measure_flow(
    trainer: Trainer, batch: Batch, names: Sequence[str] = (), others: Others | None = None
) -> Flow:
    """Return the gradient flow of ``batch`` at the trainer's weights; the trainer does not change.

    Args:
        trainer: provides the gradients.
        batch: only the loss at each sequence's last scored position is used.
        names: of the cell's states; if empty, states are numbered.
        others: completes the gradients of a trainer that gives only that of h; None: they stay
            incomplete.

    Raises:
        PluginError: there is not one gradient for each state, in the shape of that of h, or for a
            matrix with its last axis twice.
    """
    scored = batch.last_scored()
    gradients = trainer.gradients(trainer.put(scored))
    rest: Sequence[Array] = ()
    if gradients.states is not None:
        count = len(names) or len(gradients.states)
        shape = np.shape(gradients.hidden)
        shapes = [np.shape(state) for state in gradients.states]
        if len(shapes) != count or not {*shapes} <= {shape, (*shape, *shape[-1:])}:
            listed = ", ".join(names) or "the states"
            raise PluginError(
                f"invalid gradients: states must be one array for each of {listed}, "
                "shaped as hidden"
            )
        rest = gradients.states[1:]
    elif others is not None:
        rest = others(gradients.hidden, scored, trainer.parameters())
    states = (gradients.hidden, *rest)
    by_lag = [_by_lag(_norms(state), scored.mask) for state in states]  # (layers, lags, sequences)
    with np.errstate(over="ignore"):
        by_layer = _joint_norm(by_lag)
        total = _joint_norm(by_layer)
        by_state = [_joint_norm(norms) for norms in by_lag]
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
    """Return state -> curve; {} for a cell with one state, whose curve is that of the whole."""
    if max(len(names), len(medians)) == 1:
        return {}
    labels = names or [f"state_{number}" for number in range(len(medians))]
    return dict(zip(labels, medians, strict=False))


def median_norms(hidden: Array, batch: Batch) -> Series:
    """Return (lags,) the median over sequences of the norm of ``hidden`` (layers, T, B, H)."""
    (median,) = _quantiles(_joint_norm(_by_lag(_norms(hidden), batch.mask)), (0.5,))
    return np.asarray(median)


def _joint_norm(norms: Sequence[Series] | Series) -> Series:
    """Return the norm of concatenated vectors, from the norms of the parts, over the first axis."""
    return np.asarray(np.hypot.reduce(np.asarray(norms), axis=0))


def _norms(hidden: Array) -> Series:
    """Return (layers, T, B) L2 norms of (layers, T, B, H), without under- or overflow in float32.

    That of a matrix is over all its elements. NaN becomes infinite, because NaN marks the lags that
    a sequence does not have.
    """
    rows = hidden.reshape(*hidden.shape[:3], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ltbh,ltbh->ltb", rows, rows, dtype=np.float64))
    return np.where(np.isnan(norms), np.inf, norms)


def _by_lag(norms: Series, mask: NDArray[np.bool_]) -> Series:
    """Return (layers, lags, scored sequences), NaN before a sequence's start."""
    columns = np.flatnonzero(mask.any(axis=0))
    last = np.argmax(mask[:, columns], axis=0)
    steps = last[None, :] - np.arange(last.max() + 1)[:, None]  # (lags, sequences): t of each lag
    return np.where(steps >= 0, norms[:, np.maximum(steps, 0), columns], np.nan)


def _quantiles(norms: Series, levels: tuple[float, ...]) -> Series:
    """Return quantiles over the last axis, without NaN: the lags that a sequence does not have."""
    quantile = np.nanquantile if np.isnan(norms).any() else np.quantile  # nanquantile is slow
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
