"""``harness list``: what is installed, what is missing, and the fix."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.main import OK
from harness.contract import Backend, BrokenAnswerError, Cell, Missing
from harness.contract.wording import printable
from harness.plugins import Plugins, load_plugins, query

KINDS = ("backends", "tasks", "cells", "plugins")
Row = dict[str, Any]
_NO_ANSWERS: Row = {
    "name": "", "status": "ready", "groups": [], "variants": [], "versions": {},
    "missing_variants": {}, "deviations": {},
}  # fmt: skip
_BELOW = ("missing_variants", "deviations")  # sentences: below the table, not in it


@click.command("list")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@click.option(
    "--format",
    "-f",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
)
@click.pass_obj
def command(blocked: tuple[str, ...], kind: str | None, format_: str) -> int:
    """List backends, tasks, cells or plugins; nothing heavy is imported to answer."""
    plugins = load_plugins(blocked)
    console = Console()
    for one in [kind] if kind else KINDS:
        rows = _ROWS[one](plugins)
        if format_ == "json":
            sys.stdout.writelines(
                json.dumps({"kind": one.removesuffix("s"), **row}) + "\n" for row in rows
            )
        else:
            console.print(_table(one, rows))
            for note in _NOTES[one](rows) if one in _NOTES else ():
                console.print(escape(printable(note)))
    return OK


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    names = [
        name
        for name in (rows[0] if rows else ("name",))
        if name not in _BELOW and _is_told(name, rows)
    ]
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(escape(printable(_text(row[name]))) for name in names))
    return table


def _is_told(name: str, rows: list[Row]) -> bool:
    return name != "groups" or any(row[name] for row in rows)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _backends(plugins: Plugins) -> list[Row]:
    rows = [_backend_row(backend, plugins) for backend in plugins.backends.values()]
    return rows + [
        _NO_ANSWERS | {"name": one.name, "status": f"broken: {one.reason}. Fix: {one.fix}"}
        for one in plugins.broken
    ]


def _backend_row(backend: Backend, plugins: Plugins) -> Row:
    row: Row = _NO_ANSWERS | {"name": backend.name, "groups": list(backend.groups)}
    missing = False
    try:
        answer = query.availability(backend)
        if missing := isinstance(answer, Missing):
            row["status"] = f"missing: {answer.reason}. Fix: {answer.fix}"
        offered = {cell.name: query.variants(backend, cell) for cell in plugins.cells.values()}
        row["variants"] = list(dict.fromkeys(name for names in offered.values() for name in names))
        absent = query.missing_variants(backend)
        row["missing_variants"] = {
            name: f"{one.reason}. Fix: {one.fix}" for name, one in absent.items()
        }
        row["deviations"] = _deviations(backend, plugins, offered)
        return row if missing else row | {"versions": query.versions(backend)}
    except BrokenAnswerError as error:  # one whose library is missing may say no more than that
        return row if missing else row | {"status": query.without_name(backend, error)}


def _deviations(
    backend: Backend, plugins: Plugins, offered: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Return ``cell variant`` -> how it differs from the cell's equations."""
    found = {
        f"{cell} {variant}": query.deviation(backend, plugins.cells[cell], variant)
        for cell, variants in offered.items()
        for variant in variants
    }
    return {place: deviation for place, deviation in found.items() if deviation is not None}


def _backend_notes(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        yield from (
            f"{row['name']}:{name} is missing: {why}"
            for name, why in row["missing_variants"].items()
        )
        places: dict[str, list[str]] = {}
        for place, deviation in row["deviations"].items():
            places.setdefault(deviation, []).append(place)
        for deviation, where in places.items():
            yield f"{row['name']} runs another function ({', '.join(where)}): {deviation}"


def _tasks(plugins: Plugins) -> list[Row]:
    return [
        {
            "name": name,
            "summary": _summary(task),
            "options": [
                f"{key}={field.default}" for key, field in task.Options.model_fields.items()
            ],
        }
        for name, task in plugins.tasks.items()
    ]


def _cells(plugins: Plugins) -> list[Row]:
    return [
        {
            "name": name,
            "gates": list(cell.gates),
            "states": list(cell.states),
            "summary": _summary(type(cell)),
        }
        for name, cell in plugins.cells.items()
    ]


def _plugins(plugins: Plugins) -> list[Row]:
    rows: list[Row] = [
        {
            "name": one.name,
            "distribution": one.distribution,
            "status": "; ".join(["ok", *(f"it {change} (put back)" for change in one.changes)]),
            "offers": [f"{kind} {name}" for kind, name in one.offers],
        }
        for one in plugins.loaded
    ]
    rows += [
        {
            "name": one.name,
            "distribution": one.distribution,
            "status": f"broken: {one.reason}. Fix: {one.fix}",
            "offers": [],
        }
        for one in plugins.broken
    ]
    return rows + [
        {"name": name, "distribution": "", "status": "blocked", "offers": []}
        for name in plugins.blocked
    ]


def _summary(described: type[Cell] | type) -> str:
    return (described.__doc__ or "").strip().partition("\n")[0].replace("``", "").rstrip(":.")


_NOTES = {"backends": _backend_notes}
_ROWS = {"backends": _backends, "tasks": _tasks, "cells": _cells, "plugins": _plugins}
