"""The formats of ``harness report``, and what writes each. Nothing is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import rich_click as click

from harness.cli.output import written
from harness.cli.pictures import PICTURES
from harness.contract import Record

TEXTS = {  # format -> module and function of the records
    "table": ("tables", "plain_table"),
    "markdown": ("markup", "to_markdown"),
    "latex": ("latex", "to_latex"),
    "csv": ("export", "to_csv"),
    "json": ("export", "to_json_lines"),
}
PARQUET = "parquet"

FORMATS = (*TEXTS, PARQUET, "html", *PICTURES)


def write_report(records: Sequence[Record], format_: str, output: Path | None) -> None:
    """Write the records to a file, or to stdout where the format is text.

    Raises:
        UsageError: the file cannot be written.
    """
    if format_ == PARQUET:
        _write_parquet(records, output)
        return
    module, name = TEXTS[format_]
    to_text: Callable[[Sequence[Record]], str] = getattr(import_module(f"harness_results.{module}"), name)
    with written(output) as file:
        file.write(to_text(records))


def _write_parquet(records: Sequence[Record], output: Path | None) -> None:
    from harness.contract import COLUMNS
    from harness_results.parquet import write_parquet

    if output is None:
        raise click.UsageError("Parquet is no text: name a file with --output")
    with written(output, binary=True) as file:
        write_parquet((record.columns() for record in records), file, COLUMNS)
