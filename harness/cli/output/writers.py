"""The formats of ``harness report``, and what writes each. Nothing is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import rich_click as click

from harness.cli.output.pictures import PICTURES
from harness.cli.output.results import file_console, print_results, stdout_console, written
from harness.contract import Record

TEXTS = {  # format -> module and function of the records
    "markdown": ("markup", "to_markdown"),
    "latex": ("latex", "to_latex"),
    "csv": ("flat", "to_csv"),
    "json": ("flat", "to_json_lines"),
}
PARQUET = "parquet"

FORMATS = ("table", *TEXTS, PARQUET, "html", *PICTURES)


def write_report(records: Sequence[Record], format_: str, output: Path | None) -> None:
    """Write the records to a file, or to stdout where the format is text.

    Raises:
        UsageError: the file cannot be written.
    """
    if format_ == PARQUET:
        _write_parquet(records, output)
        return
    if format_ == "table":
        _write_tables(records, output)
        return
    module, name = TEXTS[format_]
    to_text: Callable[[Sequence[Record]], str] = getattr(
        import_module(f"harness_results.render.{module}"), name
    )
    with written(output) as file:
        file.write(to_text(records))


def _write_tables(records: Sequence[Record], output: Path | None) -> None:
    if output is None or str(output) == "-":
        print_results(records, stdout_console())
        return
    with written(output) as file:
        print_results(records, file_console(file))


def _write_parquet(records: Sequence[Record], output: Path | None) -> None:
    from harness.contract import COLUMNS
    from harness_results.render.parquet import write_parquet

    if output is None:
        raise click.UsageError("Parquet is no text: name a file with --output")
    with written(output, binary=True) as file:
        write_parquet((record.columns() for record in records), file, COLUMNS)
