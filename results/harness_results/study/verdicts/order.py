"""Whether two sets of launches took turns, so that drift affects both alike."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.contract.records.columns import FIGURE_NAMES
from harness.contract.records.record import Record
from harness_results.study.machines import hardware

# The sides took turns only if all of these hold:
LOPSIDED = 0.75  # the same side came first in at most this share of pairs of launches
FEWEST_TURNS = 0.5  # changes of side per launch of the smaller side
AT_ONCE = 2  # seconds; a longer overlap of two launches is more than rounding of their starts


def interleaved(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether the launches of two sides took turns on one machine.

    In shuffled rounds of n launches, one side comes first in a share of 0.5 +- 0.5/n of the pairs,
    and the sides change n times or more. Of two runs one after the other the share is 0 or 1. If
    one run lies between two halves of the other, the sides change twice. Launches that overlap with
    those of the other side took no turns, unless they were sent out at once (``--jobs``, a
    cluster). A single round proves nothing. A launch whose start is unknown took no turns.
    """
    left, right = _starts(base), _starts(new)
    if len(left) < len(base) or len(right) < len(new) or not left or not right:
        return False
    if not _evenly(left, right) or not _by_turns(left, right):
        return False
    # whether any launches of the two sides may share a machine
    machines, others = ({hardware(record.environment) for record in side} for side in (base, new))
    return bool(machines & others) and not _at_once(base, new)


def _starts(records: Sequence[Record]) -> list[datetime]:
    return [start for record in records if (start := _start(record)) is not None]


def _evenly(left: Sequence[datetime], right: Sequence[datetime]) -> bool:
    pairs = list(itertools.product(left, right))
    first = sum((start < other) + (start == other) / 2 for start, other in pairs) / len(pairs)
    return 1 - LOPSIDED <= first <= LOPSIDED


def _by_turns(left: Sequence[datetime], right: Sequence[datetime]) -> bool:
    """Say whether the sides changed often enough."""
    order = sorted([*_numbered(left, "base"), *_numbered(right, "new")])
    turns = sum(before[-1] != after[-1] for before, after in itertools.pairwise(order))
    return turns >= FEWEST_TURNS * min(len(left), len(right))


def _numbered(starts: Sequence[datetime], side: str) -> Iterator[tuple[datetime, int, str]]:
    """Yield each start with its number among equal starts, so that both sides alternate there."""
    seen: Counter[datetime] = Counter()
    for start in starts:
        yield start, seen[start], side
        seen[start] += 1


def _at_once(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether most launches of the smaller side overlapped with one of the other."""
    smaller, larger = ([_span(record) for record in side] for side in sorted((base, new), key=len))
    overlapping = sum(any(_overlap(span, other) for other in larger) for span in smaller)
    return 2 * overlapping > len(smaller)


def _overlap(span: tuple[float, float], other: tuple[float, float]) -> bool:
    return min(span[1], other[1]) - max(span[0], other[0]) > AT_ONCE


def _span(record: Record) -> tuple[float, float]:
    """Return when a launch began and ended, in seconds; equal if several were sent out at once."""
    details, start = record.details, _start(record)
    began = start.timestamp() if start else 0.0
    sent_out = "node" in details or int(details.get("jobs", 1)) > 1
    return began, began + (0.0 if sent_out else float(details.get("wall_seconds") or 0))


def _start(record: Record) -> datetime | None:
    """Return when a launch began, in UTC if no time zone is stored; None if it cannot be read."""
    try:
        start = datetime.fromisoformat(record.started_at or "")
    except ValueError:
        return None
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def each_launch(record: Record) -> list[Record]:
    """Return the launches of a combined record, or the record if it is one launch."""
    launches = record.details.get("launch_figures")
    return [_launch(record, content) for content in launches] if launches else [record]


def _launch(record: Record, content: Mapping[str, Any]) -> Record:
    figures = {name: content.get(name) for name in FIGURE_NAMES}
    details = {**record.details, "wall_seconds": content.get("wall_seconds")}
    status, started = content.get("status", "ok"), content.get("started_at")
    return replace(record, status=status, started_at=started, figures=figures, details=details)
