"""A report that is too long to be read on a terminal, cut to what is: some rows, some lengths, some notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness_results.grid import Grid
from harness_results.pivot import Pivot
from harness_results.sections import Report

MOST_ROWS = 40  # of one table
MOST_LENGTHS = 8
MOST_NOTES = 12
CURE = "choose with -t, -c, -b, -T; all: pipe it (| less), or -f csv"


def shortened(found: Report) -> Report:
    """Return the report with at most so many rows, lengths and notes in each table, and a note of what is missing."""
    return replace(found, tables=tuple(map(_table, found.tables)))


def _table(table: Pivot | Grid) -> Pivot | Grid:
    if isinstance(table, Grid):
        cut = _counted("row", len(table.rows), MOST_ROWS)
        return replace(table, rows=table.rows[:MOST_ROWS], notes=_notes(cut, table.notes))
    lengths = _spread(table.lengths)
    networks = [row for row in table.rows if not row.reference]
    kept = {id(row) for row in networks[:MOST_ROWS]}
    cut = _counted("row", len(networks), MOST_ROWS) + _counted("length", len(table.lengths), MOST_LENGTHS)
    rows = tuple(row for row in table.rows if row.reference or id(row) in kept)
    return replace(table, lengths=lengths, rows=rows, notes=_notes(cut, table.notes))


def _counted(what: str, count: int, most: int) -> list[str]:
    return [f"{most} of {count:,} {what}s"] if count > most else []


def _notes(cut: Sequence[str], notes: Sequence[str]) -> tuple[str, ...]:
    more = len(notes) - MOST_NOTES
    told = (*notes[:MOST_NOTES], f"and {more:,} more notes") if more > 0 else tuple(notes)
    return (f"shown: {', '.join(cut)}; {CURE}", *told) if cut else told


def _spread(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return the first length, the last, and some between them."""
    if len(lengths) <= MOST_LENGTHS:
        return tuple(lengths)
    return tuple(_unique(lengths[round(i * (len(lengths) - 1) / (MOST_LENGTHS - 1))] for i in range(MOST_LENGTHS)))


def _unique(values: Iterable[int]) -> Iterable[int]:
    return dict.fromkeys(values)
