"""When a gradient counts as exploding: by its norm in training or its growth through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# times the first and the median norm; with clipping, trainings that learn well stay below 50
EXPLODING_NORM = 100.0
EXPLODING_DECAY = 1.01  # per step back; fits of a flat gradient scatter closely around 1


def is_exploding(status: str, figures: Mapping[str, Any], curves: Mapping[str, Any]) -> bool | None:
    """Say whether the gradient explodes in training or on its way back; None: unknown."""
    measured = [figures.get("gradient_norm_max"), figures.get("gradient_decay")]
    measured += [flow.get("decay") for flow in _flows(curves)]
    if status != "diverged" and all(value is None for value in measured):
        return None
    return norm_explodes(status, figures, curves) or flow_explodes(figures, curves)


def norm_explodes(status: str, figures: Mapping[str, Any], curves: Mapping[str, Any]) -> bool:
    """Say whether the largest norm is 100 times first and median, or the last not finite."""
    norms = curves.get("gradient_norm")
    if status == "diverged" and isinstance(norms, Sequence) and len(norms) and norms[-1] is None:
        return True
    largest = figures.get("gradient_norm_max")
    usual = [figures.get(f"gradient_norm_{name}") for name in ("first", "median")]
    measured = [norm for norm in usual if norm is not None]
    return largest is not None and bool(measured) and largest >= EXPLODING_NORM * max(measured) > 0


def flow_explodes(figures: Mapping[str, Any], curves: Mapping[str, Any]) -> bool:
    """Say whether the gradient grows by more than 1 % per step back, before or after training.

    Both the fitted factor and the norm at the largest lag must show it: a curve that falls and
    rises again does not count.
    """
    flows = _flows(curves)
    decays = [(flow.get("decay"), flow) for flow in flows]
    decays.append((figures.get("gradient_decay"), flows[0] if flows else {}))
    return any(_is_above(decay, EXPLODING_DECAY) and _reaches_up(flow) for decay, flow in decays)


def _flows(curves: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the gradient flows of a record, that of the trained network first."""
    curve = curves.get("gradient_flow")
    if not isinstance(curve, Mapping):
        return []
    flows = (curve.get(moment) for moment in ("final", "initial"))
    return [flow for flow in flows if isinstance(flow, Mapping)]


def _reaches_up(flow: Mapping[str, Any]) -> bool:
    """Say whether the norm at the largest lag has grown by 1 % per step; True if it is unknown."""
    norms, lags = flow.get("median"), flow.get("lags")
    if not (isinstance(norms, list) and isinstance(lags, list) and len(norms) == len(lags) > 0):
        return True
    first, last, lag = norms[0], norms[-1], lags[-1]
    if not _is_above(first, 0.0) or not _is_above(lag, 0.0):
        return False
    # None: not finite
    return last is None or _is_above(last, first * EXPLODING_DECAY ** min(lag, 10_000))


def _is_above(value: Any, bound: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > bound
