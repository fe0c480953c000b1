"""``-t -c -b -T --evaluated-at`` of ``harness report``: filters, written as axes of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rich_click as click

from harness.cli import streams
from harness.cli.options import types
from harness.contract import Record

MOST_LENGTHS = 8  # in a note
FILTERS: tuple[tuple[str, str, click.ParamType[Any], str], ...] = (
    ("task", "-t", types.Named("tasks"), "Only these tasks."),
    ("cell", "-c", types.Named("cells"), "Only these cells."),
    (
        "backend",
        "-b",
        types.Named("backends"),
        "Only BACKEND (with all variants), BACKEND:VARIANT or GROUP.",
    ),
    ("length", "-T", types.Lengths(), "Only these lengths, or ranges FIRST:LAST:xFACTOR."),
    ("evaluated_at", "", types.Lengths(), "Of the lengths of --evaluate-at only these."),
)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one repeatable, comma-separated option per filter."""
    for name, short, kind, text in reversed(FILTERS):
        flags = [f"--{name.replace('_', '-')}", *([short] if short else [])]
        function = click.option(*flags, name, type=kind, multiple=True, help=text)(function)
    return function


def chosen(records: Sequence[Record], options: Mapping[str, Any]) -> list[Record]:
    """Return the records that the filters keep; a note names the lengths that none of them has.

    Raises:
        UnknownNameError: no record has a name that was given.
        UsageError: no record has all of what was given.
    """
    from harness_results.study.selection import Selection

    task, cell, backend, length, evaluated_at = (
        [value for part in options[name] for value in part] for name, *_ in FILTERS
    )
    selection = Selection(task, cell, _without_groups(backend, records), length, evaluated_at)
    kept = selection.of(records)
    if missing := selection.missing_lengths(kept):
        lengths = ", ".join(map(str, missing[:MOST_LENGTHS]))
        more = len(missing) - MOST_LENGTHS
        streams.note(f"no such record with T = {lengths}{f' and {more} more' if more > 0 else ''}")
    return kept


def _without_groups(backends: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return the backends, with groups replaced by their members. Plugins are loaded if needed."""
    from harness_results.study.selection import with_groups

    names = {name for record in records for name in (record.trial.backend, record.trial.engine)}
    if all(name.removesuffix(":all") in names for name in backends):
        return list(backends)
    from harness.plugins import load_plugins

    return with_groups(backends, records, load_plugins().groups)
