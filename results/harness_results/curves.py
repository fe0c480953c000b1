"""The curves of a record as drawings: the loss over training, and the gradient against the lag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.contract.record import Record
from harness_results import findings
from harness_results.plot import Plot, Points
from harness_results.text import number

WIDE = 50.0  # a loss that falls by more is drawn by order of magnitude


def drawings(record: Record) -> Iterator[Plot]:
    """Yield what can be drawn of a record."""
    loss = _points(record.curves.get("loss"))
    checks = _evaluations(record.curves.get("evaluations"))
    values = [y for _, y in (*loss, *checks) if y > 0]
    wide = bool(values) and max(values) > WIDE * min(values) and len(values) == len(loss) + len(checks)
    unit = findings.loss_unit(record)
    yield Plot(f"loss on training data, o: validation; {unit}", "training step", loss, checks, logarithmic=wide)
    flow = record.curves.get("gradient_flow")
    for moment, when in (("final", "trained"), ("initial", "untrained")):
        part = flow.get(moment) if isinstance(flow, Mapping) else None
        if isinstance(part, Mapping):
            yield _flow(part, when)


def _flow(part: Mapping[str, Any], when: str) -> Plot:
    decay = part.get("decay")
    told = f", x {number(decay)} per time step back" if isinstance(decay, int | float) else ""
    points = _points(part.get("median"), part.get("lags"))
    return Plot(f"gradient flow, {when}: norm of dL/dh{told}", "lag (time steps back)", points, logarithmic=True)


def _points(values: Any, places: Any = None) -> Points:
    """Return the known values with their places, counted from 1 where none are given."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return ()
    at = places if isinstance(places, Sequence) and len(places) == len(values) else range(1, len(values) + 1)
    return [(x, y) for x, y in zip(at, values, strict=True) if _is_number(x) and _is_number(y)]


def _evaluations(found: Any) -> Points:
    known = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []
    return _points([one.get("loss_validation") for one in known], [one.get("step") for one in known])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
