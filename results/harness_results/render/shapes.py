"""The shapes of a pivot on a terminal: lengths side by side, or one below the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness_results.study.tables.pivot import CellText, Pivot, Row

ID = "id"  # the column of the first digits of a trial's id
STACKED = 0  # the only length of a pivot whose lengths are row labels
EVERY = "all"  # in the place of the length: a reference that is the same at each


def shapes(pivot: Pivot, *, side_by_side: bool) -> Iterator[Pivot]:
    """Yield the shapes of a table, the best first.

    Args:
        pivot: the table.
        side_by_side: whether several lengths may be side by side.
    """
    below = pivot
    if len(pivot.lengths) > 1:
        if side_by_side:
            yield pivot
        below = stacked(pivot)
    yield with_ids(below)
    yield with_ids(without_engine(below))


def stacked(pivot: Pivot) -> Pivot:
    """Return the table with a row for each length of each row."""
    rows = tuple(line for row in pivot.rows for line in _lines(row, pivot.lengths))
    axes = (*pivot.axes, "T")
    return replace(pivot, axes=axes, lengths=(STACKED,), rows=rows, trends=())


def without_engine(pivot: Pivot) -> Pivot:
    """Return the table with the engine in its caption, if all rows have the same."""
    if "engine" not in pivot.axes:
        return pivot
    index = pivot.axes.index("engine")
    engines = {row.labels[index] for row in pivot.rows if not row.reference}
    if len(engines) != 1:
        return pivot
    rows = tuple(replace(row, labels=_without(row.labels, index)) for row in pivot.rows)
    settings = " · ".join(filter(None, (*engines, pivot.settings)))
    return replace(pivot, axes=_without(pivot.axes, index), rows=rows, settings=settings)


def with_ids(pivot: Pivot) -> Pivot:
    """Return a table of one length with a column of ids, if it has ids."""
    if not any(row.ids for row in pivot.rows):
        return pivot
    rows = tuple(replace(row, entries=_entries_with_ids(row)) for row in pivot.rows)
    return replace(pivot, rows=rows, measures=(*pivot.measures, ID))


def id_lines(pivot: Pivot) -> Iterator[str]:
    """Yield the ids of a table without a column for them: a line for each row."""
    for row in pivot.rows if ID not in pivot.measures else ():
        ids = [f"T={length} {id_}" for length, id_ in row.ids.items()]
        if ids:
            yield f"ids: {' '.join(row.labels)}: {', '.join(ids)}"


def _lines(row: Row, lengths: tuple[int, ...]) -> Iterator[Row]:
    width = len(str(max(lengths)))
    entries = [(length, row.entries[length]) for length in lengths if length in row.entries]
    same = len({entry for _, entry in entries}) == 1
    if row.reference and same and len(entries) > 1:
        yield _line(row, EVERY.rjust(width), entries[0][1])
        return
    for length, entry in entries:
        yield _line(row, str(length).rjust(width), entry, row.ids.get(length))


def _line(row: Row, length: str, entry: tuple[CellText, ...], id_: str | None = None) -> Row:
    ids = {STACKED: id_} if id_ else {}
    return Row((*row.labels, length), {STACKED: entry}, row.reference, ids=ids)


def _entries_with_ids(row: Row) -> dict[int, tuple[CellText, ...]]:
    return {
        length: (*entry, CellText(row.ids.get(length, ""), style="dim"))
        for length, entry in row.entries.items()
    }


def _without(labels: tuple[str, ...], index: int) -> tuple[str, ...]:
    return (*labels[:index], *labels[index + 1 :])
