"""Lists and counts as parts of a sentence. This module knows nothing about records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FEW = 6  # names or lengths that are listed one by one


def listed(words: Iterable[str], most: int = FEW) -> str:
    """Return ``a, b and c``; beyond ``most`` words the rest is only counted."""
    items = list(words)
    if len(items) > most:
        items = [*items[: most - 1], f"{len(items) - most + 1} more"]
    if len(items) < 2:  # noqa: PLR2004
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def at_lengths(some: Iterable[int], measured: Sequence[int]) -> str:
    """Return ``at every T``, ``at T = 20``, ``at T = 20 and 80``, or a range: ``at T = 20 to 80``.

    A range has three lengths or more, and contains all that were measured between its ends.

    Args:
        some: lengths out of ``measured``.
        measured: all lengths, ascending.
    """
    lengths = sorted(set(some))
    if len(lengths) == len(measured):
        return "at every T" if len(lengths) > 1 else f"at T = {lengths[0]}"
    first = measured.index(lengths[0])
    if len(lengths) > 2 and list(measured[first : first + len(lengths)]) == lengths:  # noqa: PLR2004
        return f"at T = {lengths[0]} to {lengths[-1]}"
    return f"at T = {listed(map(str, lengths))}"


def span(values: Sequence[str]) -> str:
    """Return ``1.2 to 3.4``, or only the first value if both ends are the same text."""
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
