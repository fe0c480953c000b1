"""When launches were made: whether two sets of them took turns, so that the machine's drift hit both alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from harness.contract.record import Record

LOPSIDED = 0.75  # share of pairs of launches in which the same side came first, from which the sides took no turns


def interleaved(base: Iterable[Record], new: Iterable[Record]) -> bool:
    """Say whether the launches of two sides took turns: neither side came first in most pairs of launches.

    Shuffled rounds of n launches give a share of 0.5 +- 0.5/n, two runs one after the other 0 or 1. A launch whose
    start is unknown took no turns.
    """
    left, right = _starts(base), _starts(new)
    if not left or not right:
        return False
    first = sum((one < other) + (one == other) / 2 for one in left for other in right) / (len(left) * len(right))
    return 1 - LOPSIDED <= first <= LOPSIDED


def _starts(records: Iterable[Record]) -> Sequence[datetime]:
    """Return when launches began; nothing where that is unknown of any."""
    texts = [record.started_at for record in records]
    return [datetime.fromisoformat(text) for text in texts if text] if all(texts) else []
