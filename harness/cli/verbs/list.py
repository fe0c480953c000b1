"""``harness list``: what is installed, what is missing, and the fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.main import OK
from harness.cli.options.common import format_option
from harness.cli.work.source import source_of
from harness.contract import Backend, BrokenAnswerError, Missing
from harness.contract.errors import with_fix
from harness.contract.wording import printable
from harness.plugins import Plugins, load_plugins, query
from harness_results.text.json_text import JSON_FORMATS, json_text

KINDS = ("backends", "tasks", "cells", "probes", "exporters", "suites", "plugins")
Row = dict[str, Any]
_NO_ANSWERS: Row = {
    "name": "", "status": "ready", "groups": [], "variants": [], "versions": {},
    "missing_variants": {}, "deviations": {},
}  # fmt: skip
_BELOW = ("missing_variants", "deviations")  # sentences, printed below the table


@click.command("list")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@format_option("table", *JSON_FORMATS)
@click.option(
    "--source",
    metavar="CELL[:LANGUAGE]",
    help="Print the code that an engine generates for a cell: c, ...; graph: what is derived.",
)
@click.pass_obj
def command(blocked: tuple[str, ...], kind: str | None, format_: str, source: str | None) -> int:
    """List backends, tasks, cells, probes, exporters, suites, plugins. It imports no framework."""
    plugins = load_plugins(blocked)
    if source is not None:
        sys.stdout.write(source_of(plugins, source))
        return OK
    tables = {title: _ROWS[title](plugins) for title in ([kind] if kind else KINDS)}
    if format_ in JSON_FORMATS:
        kinds = {title: {"kind": title.removesuffix("s")} for title in tables}
        objects = [kinds[title] | row for title, rows in tables.items() for row in rows]
        sys.stdout.write(json_text(objects, format_))
        return OK
    console = Console()
    for title, rows in tables.items():
        console.print(_table(title, rows))
        for note in _backend_notes(rows) if title == "backends" else ():
            console.print(escape(printable(note)))
    return OK


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    names = [name for name in (rows[0] if rows else ("name",)) if name not in _BELOW]
    if not any(row.get("groups") for row in rows):
        names = [name for name in names if name != "groups"]
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(escape(printable(_text(row[name]))) for name in names))
    return table


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _backends(plugins: Plugins) -> list[Row]:
    rows = [_backend_row(backend, plugins) for backend in plugins.backends.values()]
    for broken in plugins.broken:
        status = f"broken: {with_fix(broken.reason, broken.fix)}"
        rows.append(_NO_ANSWERS | {"name": broken.name, "status": status})
    return rows


def _backend_row(backend: Backend, plugins: Plugins) -> Row:
    row: Row = _NO_ANSWERS | {"name": backend.name, "groups": list(backend.groups)}
    is_missing = False
    try:
        answer = query.availability(backend)
        if is_missing := isinstance(answer, Missing):
            row["status"] = f"missing: {with_fix(answer.reason, answer.fix)}"
        names = query.all_variants(backend)
        offered = {
            cell.name: query.variants(backend, cell) if names is None else names
            for cell in plugins.cells.values()
        }
        row["variants"] = list(dict.fromkeys(names or chain.from_iterable(offered.values())))
        absent = query.missing_variants(backend)
        row["missing_variants"] = {
            name: with_fix(missing.reason, missing.fix) for name, missing in absent.items()
        }
        row["deviations"] = _deviations(backend, plugins, offered)
        return row if is_missing else row | {"versions": query.versions(backend)}
    except BrokenAnswerError as error:  # a backend whose library is missing need not answer
        return row if is_missing else row | {"status": query.without_name(backend, error)}


def _deviations(
    backend: Backend, plugins: Plugins, offered: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Return ``cell variant`` -> how it differs from the cell's equations."""
    deviations: dict[str, str] = {}
    for cell, variants in offered.items():
        for variant in variants:
            deviation = query.deviation(backend, plugins.cells[cell], variant)
            if deviation is not None:
                deviations[f"{cell} {variant}"] = deviation
    return deviations


def _backend_notes(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        for name, reason in row["missing_variants"].items():
            yield f"{row['name']}:{name} is missing: {reason}"
        variants: dict[str, list[str]] = {}
        for variant, deviation in row["deviations"].items():
            variants.setdefault(deviation, []).append(variant)
        for deviation, names in variants.items():
            yield f"{row['name']} runs another function ({', '.join(names)}): {deviation}"


def _tasks(plugins: Plugins) -> list[Row]:
    rows: list[Row] = []
    for name, task in plugins.tasks.items():
        options = [f"{key}={field.default}" for key, field in task.Options.model_fields.items()]
        rows.append({"name": name, "summary": _summary(task), "options": options})
    return rows


def _cells(plugins: Plugins) -> list[Row]:
    rows: list[Row] = []
    for name, cell in plugins.cells.items():
        parts = {"gates": list(cell.gates), "states": list(cell.states)}
        rows.append({"name": name, **parts, "summary": _summary(type(cell))})
    return rows


def _suites(plugins: Plugins) -> list[Row]:
    from harness.plan.expand import prepared
    from harness.plan.file import read_plan
    from harness.plan.request import count, smaller

    rows: list[Row] = []
    for name, suite in plugins.suites.items():
        plan = prepared(read_plan(suite.path), plugins)
        quick = "" if plan.quick is None else count(prepared(smaller(plan), plugins))
        sizes = {"trials": count(plan), "quick": quick}
        rows.append({"name": name, "asks": plan.asks, **sizes, "takes": plan.takes})
    return rows


def _probes(plugins: Plugins) -> list[Row]:
    rows: list[Row] = []
    for name, probe in plugins.probes.items():
        facts = {"version": probe.version, "figures": list(probe.figures)}
        rows.append({"name": name, **facts, "summary": _summary(type(probe))})
    return rows


def _exporters(plugins: Plugins) -> list[Row]:
    rows: list[Row] = []
    for name, exporter in plugins.exporters.items():
        summary = _summary(type(exporter))
        rows.append({"name": name, "suffixes": list(exporter.suffixes), "summary": summary})
    return rows


def _plugins(plugins: Plugins) -> list[Row]:
    rows = []
    for plugin in plugins.loaded:
        status = "; ".join(["ok", *(f"it {change} (put back)" for change in plugin.changes)])
        offers = [f"{kind} {name}" for kind, name in plugin.offers]
        rows.append(_plugin_row(plugin.name, plugin.distribution, status, offers))
    for broken in plugins.broken:
        status = f"broken: {with_fix(broken.reason, broken.fix)}"
        rows.append(_plugin_row(broken.name, broken.distribution, status))
    rows += [_plugin_row(name, "", "blocked") for name in plugins.blocked]
    return rows


def _plugin_row(name: str, distribution: str, status: str, offers: Sequence[str] = ()) -> Row:
    return {"name": name, "distribution": distribution, "status": status, "offers": [*offers]}


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0].replace("``", "").rstrip(":.")


_ROWS = {
    "backends": _backends,
    "tasks": _tasks,
    "cells": _cells,
    "suites": _suites,
    "probes": _probes,
    "exporters": _exporters,
    "plugins": _plugins,
}
