"""When launches were made: whether two sets of them took turns, so that the machine's drift hit both alike."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from harness.contract.record import Record

LOPSIDED = 0.75  # share of pairs of launches in which the same side came first, from which the sides took no turns


def interleaved(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether the launches of two sides took turns: neither side came first in most pairs of launches.

    Shuffled rounds of n launches give a share of 0.5 +- 0.5/n, two runs one after the other 0 or 1; of a single round
    nothing can be said. A launch whose start is unknown took no turns.
    """
    left, right = ([_start(record) for record in side] for side in (base, new))
    pairs = list(itertools.product(left, right))
    if not pairs or None in left or None in right:
        return False
    first = sum((one < other) + (one == other) / 2 for one, other in pairs if one and other) / len(pairs)
    return 1 - LOPSIDED <= first <= LOPSIDED


def _start(record: Record) -> datetime | None:
    """Return when a launch began, None where that cannot be read; without a time zone it is UTC."""
    try:
        start = datetime.fromisoformat(record.started_at or "")
    except ValueError:
        return None
    return start if start.tzinfo else start.replace(tzinfo=UTC)
