"""A long report cut for a terminal: some rows, lengths and notes of each table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness_results.study.tables.pivot import Pivot, Row
from harness_results.study.tables.sections import Report
from harness_results.text.grid import Grid
from harness_results.text.thinning import evenly_chosen

MOST_ROWS = 24  # of one table
MOST_LENGTHS = 8
MOST_NOTES = 12
FURTHER = "none of the tables that would follow"
FIX = "choose with -t, -c, -b, -T; all: pipe it (| less), or -f csv"


def shortened(content: Report) -> Report:
    """Return the report with tables that are short enough, and a note of what is missing.

    If the main table of a task is cut, its further tables (scaling, memory, limits) are left out.
    """
    return replace(content, tables=tuple(_tables(content.tables)))


def _tables(tables: Sequence[Pivot | Grid]) -> Iterator[Pivot | Grid]:
    whole = True
    for index, table in enumerate(tables):
        if isinstance(table, Pivot) and not table.minor:
            cut = _cut(table)
            whole = not cut
            if cut and _has_more(tables[index + 1 :]):
                cut.append(FURTHER)
            yield _pivot(table, cut)
        elif whole or (isinstance(table, Grid) and table.across):
            yield _grid(table) if isinstance(table, Grid) else _pivot(table, _cut(table))


def _has_more(tables: Sequence[Pivot | Grid]) -> bool:
    """Say whether the first of these tables is a further table of the task before it."""
    if not tables:
        return False
    return not tables[0].across if isinstance(tables[0], Grid) else tables[0].minor


def _cut(table: Pivot) -> list[str]:
    rows = sum(not row.reference for row in table.rows)
    return _counted("row", rows, MOST_ROWS) + _counted("length", len(table.lengths), MOST_LENGTHS)


def _pivot(table: Pivot, cut: Sequence[str]) -> Pivot:
    identities = _representative([row for row in table.rows if not row.reference])
    rows = tuple(row for row in table.rows if row.reference or id(row) in identities)
    lengths, notes = evenly_chosen(table.lengths, MOST_LENGTHS), _notes(cut, table.notes)
    return replace(table, lengths=tuple(lengths), rows=rows, notes=notes)


def _grid(table: Grid) -> Grid:
    cut = _counted("row", len(table.rows), MOST_ROWS)
    return replace(table, rows=table.rows[:MOST_ROWS], notes=_notes(cut, table.notes))


def _representative(rows: Sequence[Row]) -> set[int]:
    """Return the ids of the rows to show.

    The first row of every cell on every engine comes first, then the second, and so on.
    """
    counts = Counter[tuple[str, str]]()
    ranked: list[tuple[int, int]] = []
    for row in rows:
        kind = (row.labels[0], row.labels[-1])
        counts[kind] += 1
        ranked.append((counts[kind], id(row)))
    ranked.sort(key=lambda rank: rank[0])
    return {identity for _, identity in ranked[:MOST_ROWS]}


def _counted(noun: str, count: int, most: int) -> list[str]:
    return [f"{most} of {count:,} {noun}s"] if count > most else []


def _notes(cut: Sequence[str], notes: Sequence[str]) -> tuple[str, ...]:
    lines = [f"shown: {', '.join(cut)}; {FIX}"] if cut else []
    lines += notes[:MOST_NOTES]
    if len(notes) > MOST_NOTES:
        lines.append(f"and {len(notes) - MOST_NOTES:,} more notes")
    return tuple(lines)
