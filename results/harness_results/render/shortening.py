"""A report that is too long to be read on a terminal, cut to what is: some rows, some lengths, some notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness_results.study.tables.pivot import Pivot, Row
from harness_results.study.tables.sections import Report
from harness_results.text.grid import Grid

MOST_ROWS = 24  # of one table
MOST_LENGTHS = 8
MOST_NOTES = 12
FURTHER = "none of the tables that would follow"
FIX = "choose with -t, -c, -b, -T; all: pipe it (| less), or -f csv"


def shortened(found: Report) -> Report:
    """Return the report with at most so many rows, lengths and notes in each table, and a note of what is missing.

    Where the table of a task is cut, those that follow it (scaling, memory, limits) are left out.
    """
    return replace(found, tables=tuple(_tables(found.tables)))


def _tables(tables: Sequence[Pivot | Grid]) -> Iterator[Pivot | Grid]:
    whole = True
    for index, table in enumerate(tables):
        if isinstance(table, Pivot) and not table.minor:
            cut = _cut(table)
            whole = not cut
            yield _pivot(
                table, [*cut, *([FURTHER] if cut and _has_more(tables[index + 1 :]) else [])]
            )
        elif whole:
            yield _grid(table) if isinstance(table, Grid) else _pivot(table, _cut(table))


def _has_more(tables: Sequence[Pivot | Grid]) -> bool:
    """Say whether what follows a table is about the same task."""
    return bool(tables) and (isinstance(tables[0], Grid) or tables[0].minor)


def _cut(table: Pivot) -> list[str]:
    rows = sum(not row.reference for row in table.rows)
    return _counted("row", rows, MOST_ROWS) + _counted("length", len(table.lengths), MOST_LENGTHS)


def _pivot(table: Pivot, cut: Sequence[str]) -> Pivot:
    kept = _representative([row for row in table.rows if not row.reference])
    rows = tuple(row for row in table.rows if row.reference or id(row) in kept)
    return replace(table, lengths=_spread(table.lengths), rows=rows, notes=_notes(cut, table.notes))


def _grid(table: Grid) -> Grid:
    cut = _counted("row", len(table.rows), MOST_ROWS)
    return replace(table, rows=table.rows[:MOST_ROWS], notes=_notes(cut, table.notes))


def _representative(rows: Sequence[Row]) -> set[int]:
    """Return the ids of the rows to show: of every cell on every engine the first, then the second, and so on."""
    turns: dict[tuple[str, str], int] = {}
    ranked: list[tuple[int, int, int]] = []
    for row in rows:
        kind = (row.labels[0], row.labels[-1])
        turns[kind] = turns.get(kind, 0) + 1
        ranked.append((turns[kind], len(ranked), id(row)))
    return {identity for _, _, identity in sorted(ranked)[:MOST_ROWS]}


def _counted(what: str, count: int, most: int) -> list[str]:
    return [f"{most} of {count:,} {what}s"] if count > most else []


def _notes(cut: Sequence[str], notes: Sequence[str]) -> tuple[str, ...]:
    more = len(notes) - MOST_NOTES
    told = (*notes[:MOST_NOTES], f"and {more:,} more notes") if more > 0 else tuple(notes)
    return (f"shown: {', '.join(cut)}; {FIX}", *told) if cut else told


def _spread(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return the first length, the last, and some between them."""
    if len(lengths) <= MOST_LENGTHS:
        return tuple(lengths)
    places = (
        round(index * (len(lengths) - 1) / (MOST_LENGTHS - 1)) for index in range(MOST_LENGTHS)
    )
    return tuple(dict.fromkeys(lengths[place] for place in places))
