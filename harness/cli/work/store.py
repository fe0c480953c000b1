"""The work of ``harness store``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rich_click as click

from harness.cli import streams
from harness.cli.main import NOT_OK, OK
from harness.cli.output.results import written
from harness.contract.wording import counted, printable
from harness_results.render.flat import FLAT_COLUMNS, WRITERS, flat_rows
from harness_results.render.parquet import write_parquet
from harness_results.store.integrity import check_store
from harness_results.store.merge import Merged, merge
from harness_results.store.overview import overview
from harness_results.store.store import Store


def check_and_print(location: str, format_: str) -> int:
    """Check a store and print what is damaged."""
    with Store.open(location, create=False) as store:
        report, name = check_store(store), store.name
    if format_ == "json":
        damages = [vars(damage) for damage in report.damages]
        _print_json({"store": name, "records": report.records, "damages": damages})
    else:
        for damage in report.damages:
            click.echo(printable(f"damaged: {damage.where}: {damage.what}"))
        click.echo(f"{name}: {report.records} records, {counted(len(report.damages), 'damage')}")
    if not report.damages:
        return OK
    fix = f"harness store merge {name} --into NEW.sqlite"
    click.echo(f"restore it from a copy, or take over all that is whole: {fix}", err=True)
    return NOT_OK


def print_overview(location: str, format_: str) -> int:
    """Print what a store holds, in numbers."""
    with Store.open(location, create=False) as store:
        content = overview(store)
    if format_ == "json":
        _print_json(content)
    else:
        for line in _overview_lines(content):
            click.echo(printable(line))
    return OK


def merge_and_print(sources: Sequence[str], target: str) -> int:
    """Merge stores into one, and print what was added and what was left out."""
    with ExitStack() as stack:
        distinct = dict.fromkeys(sources)
        stores = [stack.enter_context(Store.open(name, create=False)) for name in distinct]
        results = merge(stack.enter_context(Store.open(target)), stores)
    for result in results:
        _print_merged(result)
    return NOT_OK if any(result.damages for result in results) else OK


def write_launches(
    location: str, format_: str, output: Path | None, run: str | None, *, curves: bool
) -> int:
    """Write the launches of a store, or of one of its runs, to a file or stdout."""
    with Store.open(location, create=False) as store:
        rows = flat_rows(store, store.run_named(run), with_curves=curves)
        with written(output, binary=format_ == "parquet") as file:
            if format_ == "parquet":
                write_parquet(rows, file, (*FLAT_COLUMNS, *(("curves",) if curves else ())))
            else:
                WRITERS[format_](rows, file)
    return OK


def _print_merged(result: Merged) -> None:
    added = f"{counted(result.runs, 'run')} and {counted(result.records, 'record')} added"
    click.echo(printable(f"{result.name}: {added}, {counted(result.present, 'record')} were there"))
    for damage in result.damages:
        click.echo(printable(f"left out: {damage.where}: {damage.what}"), err=True)
    if result.late:
        runs = f"{counted(result.late, 'run')} of {result.name}"
        streams.note(
            f"{runs} began before the last run of the target, but come after it by number. Reports "
            "take the run with the largest number. For the order of time, merge all stores into a "
            "new one."
        )


def _overview_lines(content: Mapping[str, Any]) -> Iterator[str]:
    statuses = ", ".join(f"{count:,} {status}" for status, count in content["statuses"].items())
    span = f" ({content['first_run_at']} to {content['last_run_at']})" if content["runs"] else ""
    yield f"store         {content['store']}"
    yield f"version       {content['version']}"
    yield f"size          {_size(content['size_bytes'])}"
    yield f"runs          {content['runs']:,}{span}"
    yield f"trials        {content['trials']:,}"
    yield f"records       {content['records']:,} ({statuses or 'none'})"
    for environment in content["environments"]:
        facts = (environment["cpu"], environment["system"], *environment["gpus"])
        name = environment["environment_id"] or "unknown"
        records = counted(environment["records"], "record")
        yield f"environment   {name}: {records}; {', '.join(filter(None, facts)) or 'unknown'}"


def _size(size_bytes: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"


def _print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
