"""Lists and counts as parts of a sentence. No record is known here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FEW = 6  # names or lengths told one by one


def listed(words: Iterable[str], most: int = FEW) -> str:
    """Return ``a, b and c``; beyond ``most`` words the rest is only counted."""
    known = list(words)
    known = known if len(known) <= most else [*known[: most - 1], f"{len(known) - most + 1} more"]
    return (
        known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}" if known else ""
    )


def at_lengths(some: Iterable[int], measured: Sequence[int]) -> str:
    """Return ``at every T``, ``at T = 20``, ``at T = 20 to 80`` (all that were measured between) or ``at T = 20, 80``.

    Args:
        some: lengths out of ``measured``.
        measured: all lengths, ascending.
    """
    found = sorted(set(some))
    if len(found) == len(measured):
        return "at every T" if len(found) > 1 else f"at T = {found[0]}"
    first = measured.index(found[0])
    if len(found) > 2 and list(measured[first : first + len(found)]) == found:  # noqa: PLR2004
        return f"at T = {found[0]} to {found[-1]}"
    return f"at T = {listed(map(str, found))}"


def span(values: Sequence[str]) -> str:
    """Return ``1.2 to 3.4``, or the one value where both ends read alike."""
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
