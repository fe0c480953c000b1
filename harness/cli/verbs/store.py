"""``harness store``: check, describe, merge and export stores. It never runs anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli import streams
from harness.cli.main import NOT_OK, OK
from harness.cli.options.axes import default_store, run_option
from harness.contract.wording import counted, printable

if TYPE_CHECKING:
    from harness_results.store.merge import Merged

EXPORTS = ("csv", "jsonl", "parquet")
_place = click.argument("store", default=default_store, metavar="[STORE]")
_format = click.option(
    "--format",
    "-f",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
)


@click.group("store")
def command() -> None:
    """Check, describe, merge and export stores: files, and databases named by a URL."""


@command.command("check")
@_place
@_format
def check(store: str, format_: str) -> int:
    """Look at the whole of a STORE, every record included, and name what is damaged; it is not altered.

    Exit: 0 whole, 3 something is damaged, 2 it cannot be read at all.
    """
    from harness_results.store.integrity import check_store
    from harness_results.store.store import Store

    with Store.open(store, create=False) as opened:
        found, name = check_store(opened), opened.name
    if format_ == "json":
        _print_json(
            {
                "store": name,
                "records": found.records,
                "damages": [vars(one) for one in found.damages],
            }
        )
    else:
        for damage in found.damages:
            click.echo(printable(f"damaged: {damage.where}: {damage.what}"))
        click.echo(f"{name}: {found.records} records, {counted(len(found.damages), 'damage')}")
    if not found.damages:
        return OK
    fix = f"harness store merge {name} --into NEW.sqlite"
    click.echo(f"restore it from a copy, or take over all that is whole: {fix}", err=True)
    return NOT_OK


@command.command("info")
@_place
@_format
def info(store: str, format_: str) -> int:
    """Say what a STORE holds: version, size, runs, trials, records by status, environments."""
    from harness_results.store.overview import overview
    from harness_results.store.store import Store

    with Store.open(store, create=False) as opened:
        found = overview(opened)
    if format_ == "json":
        _print_json(found)
    else:
        for line in _info_lines(found):
            click.echo(printable(line))
    return OK


@command.command("merge")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--into",
    "target",
    required=True,
    metavar="STORE",
    help="Where all goes; made where it is missing.",
)
def merge(sources: tuple[str, ...], target: str) -> int:
    """Add the runs of all SOURCE stores to another; what it has already is not added again.

    Exit: 3 where a record was damaged and left out.
    """
    from harness_results.store.merge import merge as merge_stores
    from harness_results.store.store import Store

    with ExitStack() as stack:
        opened = [
            stack.enter_context(Store.open(source, create=False))
            for source in dict.fromkeys(sources)
        ]
        results = merge_stores(stack.enter_context(Store.open(target)), opened)
    for result in results:
        _tell(result)
    return NOT_OK if any(result.damages for result in results) else OK


@command.command("export")
@_place
@click.option(
    "--format", "-f", "format_", type=click.Choice(EXPORTS), default="csv", show_default=True
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
)
@run_option("Only this run", "all")
@click.option("--curves", is_flag=True, help="The curves too (not in CSV).")
def export(store: str, format_: str, output: Path | None, run: str | None, *, curves: bool) -> int:
    """Write every launch of a STORE, with all columns: CSV, JSON Lines or Parquet.

    `harness export` writes the trials for TensorBoard or MLflow.
    """
    from harness.cli.output.results import written
    from harness_results.render.flat import FLAT_COLUMNS, WRITERS, flat_rows
    from harness_results.render.parquet import write_parquet
    from harness_results.store.store import Store

    if format_ == "parquet" and output is None:
        raise click.UsageError("Parquet is no text: name a file with --output")
    if format_ == "csv" and curves:
        raise click.UsageError("CSV has no place for curves: take --format jsonl or parquet")
    with Store.open(store, create=False) as opened:
        rows = flat_rows(opened, opened.run_named(run), with_curves=curves)
        with written(output, binary=format_ == "parquet") as file:
            if format_ == "parquet":
                write_parquet(rows, file, (*FLAT_COLUMNS, *(("curves",) if curves else ())))
            else:
                WRITERS[format_](rows, file)
    return OK


def _tell(result: Merged) -> None:
    added = f"{counted(result.runs, 'run')} and {counted(result.records, 'record')} added"
    click.echo(printable(f"{result.name}: {added}, {counted(result.present, 'record')} were there"))
    for damage in result.damages:
        click.echo(printable(f"left out: {damage.where}: {damage.what}"), err=True)
    if result.late:
        began = f"{counted(result.late, 'run')} of {result.name} began before the last run that was there"
        after = "by number they come after it, and reports take the run with the largest number"
        streams.note(f"{began}; {after}. In order of time: merge all into a new store.")


def _info_lines(found: dict[str, Any]) -> Iterator[str]:
    statuses = (
        ", ".join(f"{count:,} {status}" for status, count in found["statuses"].items()) or "none"
    )
    yield f"store         {found['store']}"
    yield f"version       {found['version']}"
    yield f"size          {_size(found['size_bytes'])}"
    yield f"runs          {found['runs']:,}" + (
        f" ({found['first_run_at']} to {found['last_run_at']})" if found["runs"] else ""
    )
    yield f"trials        {found['trials']:,}"
    yield f"records       {found['records']:,} ({statuses})"
    for place in found["environments"]:
        what = ", ".join(filter(None, (place["cpu"], place["system"], *place["gpus"])))
        name, count = place["environment_id"] or "unknown", counted(place["records"], "record")
        yield f"environment   {name}: {count}; {what or 'unknown'}"


def _size(size_bytes: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"


def _print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
