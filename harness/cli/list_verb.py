"""``harness list``: what is installed, what is missing, and the cure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import answers
from harness.cli.main import OK
from harness.contract import Backend, Cell, Missing, UnavailableError
from harness.contract.names import printable
from harness.plugins import Plugins, load_plugins

KINDS = ("backends", "tasks", "cells", "plugins")
Row = dict[str, Any]


@click.command("list")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def command(blocked: tuple[str, ...], kind: str | None, format_: str) -> int:
    """List backends, tasks, cells or plugins; nothing heavy is imported to answer."""
    plugins = load_plugins(blocked)
    console = Console()
    for one in [kind] if kind else KINDS:
        rows = _ROWS[one](plugins)
        if format_ == "json":
            sys.stdout.writelines(json.dumps({"kind": one.removesuffix("s"), **row}) + "\n" for row in rows)
        else:
            console.print(_table(one, rows))
    return OK


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    for name in rows[0] if rows else ("name",):
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(escape(printable(_text(value))) for value in row.values()))
    return table


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _backends(plugins: Plugins) -> list[Row]:
    rows = [_backend_row(backend, plugins) for backend in plugins.backends.values()]
    return rows + [
        {"name": one.name, "status": f"broken: {one.reason}. Cure: {one.cure}", "variants": [], "versions": {}}
        for one in plugins.broken
    ]


def _backend_row(backend: Backend, plugins: Plugins) -> Row:
    row: Row = {"name": backend.name, "status": "ready", "variants": [], "versions": {}}
    try:
        found = (name for cell in plugins.cells.values() for name in answers.variants(backend, cell))
        row["variants"] = list(dict.fromkeys(found))
        answer = answers.availability(backend)
        if isinstance(answer, Missing):
            return row | {"status": f"missing: {answer.reason}. Cure: {answer.cure}"}
        return row | {"versions": answers.versions(backend)}
    except UnavailableError as error:
        return row | {"status": str(error).removeprefix(f"backend {backend.name!r} is ")}


def _tasks(plugins: Plugins) -> list[Row]:
    return [
        {
            "name": name,
            "summary": _summary(task),
            "options": [f"{key}={field.default}" for key, field in task.Options.model_fields.items()],
        }
        for name, task in plugins.tasks.items()
    ]


def _cells(plugins: Plugins) -> list[Row]:
    return [
        {"name": name, "gates": list(cell.gates), "states": list(cell.states), "summary": _summary(type(cell))}
        for name, cell in plugins.cells.items()
    ]


def _plugins(plugins: Plugins) -> list[Row]:
    rows: list[Row] = [
        {
            "name": one.name,
            "distribution": one.distribution,
            "status": "ok",
            "offers": [f"{kind} {name}" for kind, name in one.offers],
        }
        for one in plugins.loaded
    ]
    rows += [
        {
            "name": one.name,
            "distribution": one.distribution,
            "status": f"broken: {one.reason}. Cure: {one.cure}",
            "offers": [],
        }
        for one in plugins.broken
    ]
    return rows + [{"name": name, "distribution": "", "status": "blocked", "offers": []} for name in plugins.blocked]


def _summary(described: type[Cell] | type) -> str:
    return (described.__doc__ or "").strip().partition("\n")[0].replace("``", "").rstrip(":.")


_ROWS = {"backends": _backends, "tasks": _tasks, "cells": _cells, "plugins": _plugins}
