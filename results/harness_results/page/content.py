"""The tables of a report as JSON for the page: the texts of the pivot and the grids, and what to filter and sort by."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record
from harness_results.study.networks import networks
from harness_results.study.tables import notes
from harness_results.study.tables.pivot import MEASURED, CellText, Pivot, Row, by_task
from harness_results.study.tables.sections import of_task
from harness_results.study.verdicts.fastest import fastest
from harness_results.text.grid import Grid

_LENGTH = re.compile(r"T=(\d+)")
Figures = Mapping[tuple[tuple[str, ...], int], Record]


def tables(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return all tables of a report, by task.

    A table has ``task``, ``title``, ``settings``, ``minor``, ``axes``, ``groups`` (of columns:
    ``length``, None where it has none, and ``columns``), ``rows`` and ``notes``. A row has
    ``labels``, ``reference``, ``cells`` (a list for each group, of texts or of a text, its tone and
    its mark) and, in the first table of a task, ``values`` to sort by.
    """
    tasks = by_task(records)
    bold = fastest(tasks)
    return [table for task in tasks for table in _of_task(task, bold)]


def reading(records: Sequence[Record]) -> str:
    """Return how to read the columns of the first table of each task."""
    return notes.reading(records)


def _of_task(records: Sequence[Record], bold: Container[int]) -> Iterator[dict[str, Any]]:
    labels = networks(records).labels
    known = {(label, r.trial.length): r for label, r in zip(labels, records, strict=True)}
    for table in of_task(records, bold):
        found = _grid(table) if isinstance(table, Grid) else _pivot(table, known)
        yield {"task": records[0].trial.task, "notes": list(table.notes), **found}


def _pivot(pivot: Pivot, known: Figures) -> dict[str, Any]:
    return {
        "title": pivot.task,
        "settings": pivot.settings,
        "minor": pivot.minor,
        "axes": list(pivot.axes),
        "groups": [{"length": length, "columns": list(pivot.measures)} for length in pivot.lengths],
        "rows": [_row(row, pivot, {} if pivot.minor else known) for row in pivot.rows],
    }


def _row(row: Row, pivot: Pivot, known: Figures) -> dict[str, Any]:
    found: dict[str, Any] = {
        "labels": list(row.labels),
        "cells": [
            [_cell(shown) for shown in row.entries.get(length, ())] for length in pivot.lengths
        ],
    }
    if row.reference:
        return found | {"reference": True}
    values = [_values(known.get((row.labels, length))) for length in pivot.lengths] if known else []
    return found | ({"values": values} if values else {})


def _cell(shown: CellText) -> str | list[str]:
    return [shown.text, shown.tone, shown.mark] if shown.tone or shown.mark else shown.text


def _values(record: Record | None) -> list[float | None]:
    """Return the figures of ``MEASURED``; [] where nothing was measured."""
    if record is None:
        return []
    columns = record.columns()
    figures = [columns[column.name] for column in MEASURED]
    return [_short(value) if record.status == "ok" else None for value in figures]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _grid(grid: Grid) -> dict[str, Any]:
    """Return a grid with a group for each column, whose length is that of its name: ``T=50``."""
    matches = [_LENGTH.fullmatch(name) for name in grid.columns]
    return {
        "title": grid.title,
        "settings": "",
        "minor": True,
        "axes": list(grid.axes),
        "groups": [
            {"length": int(match[1]) if match else None, "columns": [name]}
            for name, match in zip(grid.columns, matches, strict=True)
        ],
        "rows": [
            {"labels": list(labels), "cells": [[cell] for cell in cells]}
            for labels, cells in grid.rows
        ],
    }
