"""The work of ``harness reproduce``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cli import streams
from harness.cli.main import INTERRUPTED, NOT_OK, OK, REGRESSION
from harness.cli.output.results import stdout_console
from harness.cli.signals import stopping_on_signals
from harness.contract import UnknownNameError, UsageError
from harness.plan.file import plan_of
from harness.plan.request import PlanRequest, merge
from harness.plugins import Plugins
from harness.sweep.run import Outcome, execute
from harness_results.published.entry import Entry, read_entry
from harness_results.published.verdicts import (
    NOT_EXPRESSIBLE,
    OUTSIDE,
    Reproduction,
    reproduction,
    rows_of,
    table_of,
)
from harness_results.render.latex import latex_of
from harness_results.render.markup import markdown_of
from harness_results.render.terminal import ReportTables
from harness_results.study.tables.sections import Report
from harness_results.text.format import number
from harness_results.text.grid import Grid
from harness_results.text.json_text import json_text
from harness_results.text.lines import plain_text

QUICK_MINUTES = 2.0


def reproduce(plugins: Plugins, options: Mapping[str, Any]) -> int:
    """Run the published results that the options name, and print the verdicts.

    Raises:
        UsageError: a name is unknown, none is named, or an entry cannot be read.
    """
    entries = {
        name: read_entry(name, published.path) for name, published in plugins.published.items()
    }
    every = [*entries.values()]
    if options["list_"]:
        _write(_list_of(every), _list_rows(every), options["format_"])
        return OK
    reproductions, interrupted = [], False
    for entry in _chosen(entries, options):
        result, interrupted = _run(entry, plugins, options)
        reproductions.append(result)
        if interrupted:
            break
    _write(table_of(reproductions), rows_of(reproductions), options["format_"])
    return INTERRUPTED if interrupted else _status(reproductions)


def _chosen(entries: Mapping[str, Entry], options: Mapping[str, Any]) -> list[Entry]:
    names, all_, quick = options["names"], options["all_"], options["quick"]
    if (bool(names), all_, quick).count(True) != 1:
        fix = "harness reproduce --list shows the names"
        raise UsageError(f"give names, or --all, or --quick, and only one of these; {fix}")
    for name in names:
        if name not in entries:
            raise UnknownNameError("published result", name, entries, "harness reproduce --list")
    if names:
        return [entries[name] for name in dict.fromkeys(names)]
    return [
        each for each in entries.values() if all_ or _minutes(each, quick=True) <= QUICK_MINUTES
    ]


def _seeds(entry: Entry, *, quick: bool) -> int:
    return 1 if quick and entry.kind != "qualitative" else entry.seeds


def _minutes(entry: Entry, *, quick: bool = False) -> float:
    return (entry.minutes or 0.0) * _seeds(entry, quick=quick)


def _run(entry: Entry, plugins: Plugins, options: Mapping[str, Any]) -> tuple[Reproduction, bool]:
    """Return the verdict on an entry, and whether a signal interrupted it."""
    if entry.kind == "not_expressible":
        return Reproduction(entry), False
    request = plan_of(entry.plan, plugins.published[entry.name].path)
    seeds = options["seeds"] or _seeds(entry, quick=options["quick"])
    request = merge(request, PlanRequest({"seeds": (seeds,)}))
    try:
        outcome = _measured(request, plugins, options)
    except UsageError as error:
        if options["names"]:
            raise
        return Reproduction(entry, failures=[str(error)]), False
    if outcome.error is not None:
        raise outcome.error
    return reproduction(entry, outcome.records), outcome.interrupted


def _measured(request: PlanRequest, plugins: Plugins, options: Mapping[str, Any]) -> Outcome:
    return execute(
        request,
        {"jobs": options["jobs"]},
        store=options["store"],
        plugins=plugins,
        command=shlex.join(["harness", *sys.argv[1:]]),
        say=streams.note,
        quiet=options["quiet"],
        with_curves=True,
        signals=stopping_on_signals,
    )


def _status(reproductions: Sequence[Reproduction]) -> int:
    if any(each.verdict == OUTSIDE for each in reproductions):
        return REGRESSION
    return NOT_OK if any(each.failures for each in reproductions) else OK


def _write(grid: Grid, rows: list[dict[str, Any]], format_: str) -> None:
    content = Report((grid,), "")
    match format_:
        case "json" | "jsonl":
            text = json_text(rows, format_)
        case "markdown":
            text = markdown_of(content)
        case "latex":
            text = latex_of(content)
        case _:
            text = plain_text(ReportTables(content), stdout_console().width)
    sys.stdout.write(text)


def _list_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.name,
            "kind": entry.kind,
            "source": entry.source,
            "seeds": entry.seeds if entry.plan else None,
            "minutes": _minutes(entry) if entry.plan else None,
            "quick_minutes": _minutes(entry, quick=True) if entry.plan else None,
            "needs": entry.needs or None,
            "reason": entry.reason or None,
        }
        for entry in entries
    ]


def _list_of(entries: Sequence[Entry]) -> Grid:
    rows = []
    for entry in entries:
        seeds, minutes = "", ""
        if entry.plan:
            seeds, minutes = str(entry.seeds), number(_minutes(entry), 2)
        kind = NOT_EXPRESSIBLE if entry.reason else entry.kind
        rows.append(((entry.name,), (kind, seeds, minutes, entry.needs)))
    return Grid(
        title="published results: minutes on one core for all seeds",
        axes=("name",),
        columns=("kind", "seeds", "minutes", "needs"),
        rows=tuple(rows),
        notes=tuple(f"{entry.name}: {entry.source}" for entry in entries),
        across=True,
    )
