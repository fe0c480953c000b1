"""The curves of a record as points and drawings; values of the wrong kind are left out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.text.format import number, one_line
from harness_results.text.plot import Plot, Points

LARGEST = 1e300  # beyond it, means overflow
MARKS = 15  # along a curve
WIDE = 50.0  # a loss that falls by more is drawn by order of magnitude


def drawings(record: Record) -> Iterator[Plot]:
    """Yield what can be drawn of a record."""
    loss = points(record.curves.get("loss"))
    checks = evaluations(record.curves.get("evaluations"))
    values = [y for _, y in (*loss, *checks) if y > 0]
    all_positive = bool(values) and len(values) == len(loss) + len(checks)
    wide = all_positive and max(values) > WIDE * min(values)
    content = record.curves.get("evaluations")
    sampled = len(alike(content)) < len(_entries(content))
    data = "sample of validation" if sampled else "validation"
    title = f"loss on training data, o: {data}; {findings.loss_unit(record)}"
    yield Plot(title, "training step", loss, checks, logarithmic=wide)
    flow = record.curves.get("gradient_flow")
    for moment, when in (("final", "trained"), ("initial", "untrained")):
        part = flow.get(moment) if isinstance(flow, Mapping) else None
        if isinstance(part, Mapping):
            yield _flow(part, when)


def series(values: Any) -> list[float | None]:
    """Return the finite numbers of a curve, None for all else; empty if it is not a curve."""
    items = values if isinstance(values, Sequence) and not isinstance(values, str | bytes) else ()
    if set(map(type, items)) <= {int, float} and _are_within(items):  # at the speed of C
        return list(items)
    return [value if _is_number(value) else None for value in items]


def has_values(values: Any) -> bool:
    """Say whether a curve has any finite number."""
    return any(value is not None for value in series(values))


def points(values: Any, positions: Any = None) -> Points:
    """Return the known values of a curve with their positions; by default 1, 2, ..."""
    numbers, at = series(values), series(positions)
    at = at if len(at) == len(numbers) else list(range(1, len(numbers) + 1))
    return [(x, y) for x, y in zip(at, numbers, strict=True) if x is not None and y is not None]


def alike(content: Any) -> list[Mapping[str, Any]]:
    """Return the evaluations on the same data: all but the one in full, if others are samples."""
    entries = _entries(content)
    tokens = entries[0].get("tokens_validation") if entries else None
    return [entry for entry in entries if entry.get("tokens_validation") == tokens]


def evaluations(content: Any) -> Points:
    """Return the validation losses during training on the same data, with their steps."""
    entries = alike(content)
    losses = [entry.get("loss_validation") for entry in entries]
    return points(losses, [entry.get("step") for entry in entries])


def _entries(content: Any) -> list[Mapping[str, Any]]:
    entries = content if isinstance(content, list | tuple) else ()
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _flow(part: Mapping[str, Any], when: str) -> Plot:
    """Return the drawing of a gradient flow; marks show h alone if the cell has more states."""
    decay, states = part.get("decay"), part.get("states")
    suffix = f", x {number(decay)} per step back" if isinstance(decay, int | float) else ""
    norms = points(part.get("median"), part.get("lags"))
    names = [one_line(name) for name in states] if isinstance(states, Mapping) else []
    wrt, alone = "h", list[tuple[float, float]]()
    if isinstance(states, Mapping) and len(names) > 1:
        wrt, suffix = f"({', '.join(names)})", f", o: {names[0]} alone{suffix}"
        least = min((norm for _, norm in norms if norm > 0), default=0.0)  # keeps the axis
        of_h = points(next(iter(states.values())), part.get("lags"))
        alone = [(lag, norm) for lag, norm in of_h if norm >= least]
        alone = alone[:: max(1, len(norms) // MARKS)]
    title = f"gradient flow, {when}: ‖dL/d{wrt}‖{suffix}"
    return Plot(title, "lag (time steps back)", norms, alone, logarithmic=True)


def _are_within(numbers: Sequence[Any]) -> bool:
    """Say whether no number is infinite, NaN or beyond ``LARGEST``."""
    if not numbers:
        return True
    return min(numbers) >= -LARGEST and max(numbers) <= LARGEST and not math.isnan(sum(numbers))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
