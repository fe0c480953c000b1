"""``harness store``: check, describe, merge and export stores. It never runs anything."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from harness.cli.options.axes import default_store, run_option
from harness.cli.options.common import format_option, output_option

_store = click.argument("store", default=default_store, metavar="[STORE]")
_format = format_option("table", "json")


@click.group("store")
def command() -> None:
    """Check, describe, merge and export stores: files, and databases named by a URL."""


@command.command("check")
@_store
@_format
def check(store: str, format_: str) -> int:
    """Read a whole STORE, every record included, and name what is damaged. It alters nothing.

    Exit: 0 whole, 3 something is damaged, 2 it cannot be read at all.
    """
    from harness.cli.work.store import check_and_print

    return check_and_print(store, format_)


@command.command("info")
@_store
@_format
def info(store: str, format_: str) -> int:
    """Say what a STORE holds: version, size, runs, trials, records by status, environments."""
    from harness.cli.work.store import print_overview

    return print_overview(store, format_)


@command.command("merge")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--into",
    "target",
    required=True,
    metavar="STORE",
    help="The store to merge into; made if it is missing.",
)
def merge(sources: tuple[str, ...], target: str) -> int:
    """Add the runs of all SOURCE stores to another. What it has already is not added again.

    Exit: 3 if a record was damaged and left out.
    """
    from harness.cli.work.store import merge_and_print

    return merge_and_print(sources, target)


@command.command("export")
@_store
@format_option("csv", "jsonl", "parquet")
@output_option()
@run_option("Only this run", "all")
@click.option("--curves", is_flag=True, help="The curves too (not in CSV).")
def export(store: str, format_: str, output: Path | None, run: str | None, *, curves: bool) -> int:
    """Write every launch of a STORE, with all columns: CSV, JSON Lines or Parquet.

    `harness export` writes the trials for TensorBoard or MLflow.
    """
    if format_ == "parquet" and output is None:
        raise click.UsageError("Parquet is not text: name a file with --output")
    if format_ == "csv" and curves:
        raise click.UsageError("CSV has no place for curves: take --format jsonl or parquet")
    from harness.cli.work.store import write_launches

    return write_launches(store, format_, output, run, curves=curves)
