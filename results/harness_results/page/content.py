"""The tables of a report as JSON for the page: texts, and the values to filter and sort by."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from typing import Any

from harness.contract.records.record import Record, finite
from harness_results.page.settings import Letters
from harness_results.study.study import Study, studies
from harness_results.study.tables import notes
from harness_results.study.tables.pivot import CellText, Pivot, Row, value_of
from harness_results.study.tables.sections import across, of_task
from harness_results.study.verdicts.fastest import Contest, contests, winners
from harness_results.text.grid import Grid

_LENGTH = re.compile(r"T=(\d+)")


def tables(
    records: Sequence[Record],
    tasks: Sequence[Study] | None = None,
    of_tasks: Sequence[Sequence[Contest]] | None = None,
) -> list[dict[str, Any]]:
    """Return all tables of a report: those of all tasks first, then by task.

    A table has ``task`` (None: all), ``title``, ``settings``, ``sets`` (letters with settings),
    ``minor``, ``axes``, ``groups`` (of columns: ``length`` or None, and ``columns``), ``rows`` and
    ``notes``. A row has ``labels``, ``reference``, ``cells`` (a sequence for each group; each cell
    is a text, or a list of text, style and mark) and, in the first table of a task, ``values`` to
    sort by.

    Args:
        records: of all tasks.
        tasks: their studies, if they exist already.
        of_tasks: the contests of each task, likewise.
    """
    tasks = studies(records) if tasks is None else tasks
    bold = winners(contests(tasks) if of_tasks is None else of_tasks)
    common = [
        _grid(grid) | {"task": None, "sets": [], "notes": [*grid.notes]} for grid in across(tasks)
    ]
    return [*common, *(table for study in tasks for table in _of_task(study, bold))]


def reading(records: Sequence[Record]) -> str:
    """Return how to read the columns of the first table of each task."""
    return notes.reading(records)


def _of_task(study: Study, bold: Container[int]) -> Iterator[dict[str, Any]]:
    letters = Letters.of(study)
    for table in of_task(study, bold):
        content = _grid(table) if isinstance(table, Grid) else _pivot(table, study)
        content |= {"task": study.task, "sets": [], "notes": list(table.notes)}
        yield _lettered(content, letters) if letters else content


def _lettered(table: dict[str, Any], letters: Letters) -> dict[str, Any]:
    """Return the table with a letter for the settings of each row."""
    axes = table["axes"]
    rows = [{**row, "labels": letters.replaced(axes, row["labels"])} for row in table["rows"]]
    return {
        **table,
        "axes": letters.replaced(axes, axes),
        "rows": rows,
        "sets": [] if table["minor"] else letters.listed,
        "notes": list(map(letters.note, table["notes"])),
    }


def _pivot(pivot: Pivot, study: Study) -> dict[str, Any]:
    return {
        "title": pivot.task,
        "settings": pivot.settings,
        "minor": pivot.minor,
        "axes": list(pivot.axes),
        "groups": [{"length": length, "columns": list(pivot.measures)} for length in pivot.lengths],
        "rows": [_row(row, pivot, study) for row in pivot.rows],
    }


def _row(row: Row, pivot: Pivot, study: Study) -> dict[str, Any]:
    content: dict[str, Any] = {
        "labels": list(row.labels),
        "cells": [tuple(map(_cell, row.entries.get(length, ()))) for length in pivot.lengths],
    }
    if row.reference:
        content["reference"] = True
    elif not pivot.minor:
        by_length = study.rows[row.labels]
        content["values"] = [
            _values(by_length.get(length), pivot.measures) for length in pivot.lengths
        ]
    return content


def _cell(cell: CellText) -> str | list[str]:
    return [cell.text, cell.style, cell.mark] if cell.style or cell.mark else cell.text


def _values(record: Record | None, measures: Sequence[str]) -> Sequence[float | None]:
    """Return the values of these columns; () if nothing was measured."""
    if record is None:
        return ()
    values = [finite(value_of(record, measure)) for measure in measures]
    return [_short(value) if record.status == "ok" else None for value in values]


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
