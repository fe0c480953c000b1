"""Some items of many, evenly chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_chosen(items: Sequence[T], most: int) -> list[T]:
    """Return ``items``, or ``most`` of them at even distances, including the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / max(1, most - 1))] for index in range(most)]
