"""Whether two sets of launches took turns, so that drift affects both alike."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.contract.records.columns import FIGURE_NAMES
from harness.contract.records.record import Record, stable_facts

LOPSIDED = 0.75  # share of pairs of launches in which the same side came first, from which the sides took no turns
FEWEST_TURNS = (
    0.5  # changes of side per launch of the smaller side, below which the sides took no turns
)
AT_ONCE = 2  # seconds for which two launches run side by side, and no rounding of their starts explains it
Starts = Sequence[datetime]


def interleaved(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether the launches of two sides took turns on one machine.

    Shuffled rounds of n launches give a share of 0.5 +- 0.5/n and change sides n times or more; two
    runs one after the other give 0 or 1, and a run between two halves of another changes sides
    twice. Launches that ran beside those of the other side took no turns, unless they were sent out
    at once (``--jobs``, a cluster). Of a single round nothing can be said. A launch whose start is
    unknown took no turns.
    """
    left, right = ([_start(record) for record in side] for side in (base, new))
    starts = [start for start in left if start], [other for other in right if other]
    if not left or not right or None in left or None in right:
        return False
    return (
        _evenly(*starts)
        and _by_turns(*starts)
        and _on_one_machine(base, new)
        and not _at_once(base, new)
    )


def _evenly(left: Starts, right: Starts) -> bool:
    pairs = list(itertools.product(left, right))
    first = sum(
        (first_start < second_start) + (first_start == second_start) / 2
        for first_start, second_start in pairs
    ) / len(pairs)
    return 1 - LOPSIDED <= first <= LOPSIDED


def _by_turns(left: Starts, right: Starts) -> bool:
    """Say whether the sides changed often enough."""
    order = sorted([*_numbered(left, "base"), *_numbered(right, "new")])
    turns = sum(before[-1] != after[-1] for before, after in itertools.pairwise(order))
    return turns >= FEWEST_TURNS * min(len(left), len(right))


def _numbered(starts: Starts, side: str) -> Iterator[tuple[datetime, int, str]]:
    seen: Counter[datetime] = Counter()
    for start in starts:
        yield start, seen[start], side
        seen[start] += 1


def _on_one_machine(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether any launches of the two sides may share a machine."""
    left, right = ({_machine(record) for record in side} for side in (base, new))
    return bool(left & right)


def _machine(record: Record) -> str:
    facts = {
        name: value for name, value in stable_facts(record.environment).items() if name != "python"
    }
    return json.dumps(facts, sort_keys=True, default=str)


def _at_once(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether most launches of the smaller side overlapped with one of the other."""
    smaller, larger = sorted((base, new), key=len)
    beside = sum(any(_beside(launch, other) for other in larger) for launch in smaller)
    return 2 * beside > len(smaller)


def _beside(launch: Record, other: Record) -> bool:
    spans = [_span(record) for record in (launch, other)]
    began, ended = max(span[0] for span in spans), min(span[1] for span in spans)
    return ended - began > AT_ONCE


def _span(record: Record) -> tuple[float, float]:
    """Return when a launch began and ended, in seconds; no time if it was sent out at once."""
    start, sent_out = (
        _start(record),
        "node" in record.details or int(record.details.get("jobs", 1)) > 1,
    )
    began = start.timestamp() if start else 0.0
    return began, began + (0.0 if sent_out else float(record.details.get("wall_seconds") or 0))


def _start(record: Record) -> datetime | None:
    """Return when a launch began, None where that cannot be read; without a time zone it is UTC."""
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
    started = content.get("started_at")
    return replace(
        record,
        status=content.get("status", "ok"),
        started_at=started,
        figures=figures,
        details=details,
    )
