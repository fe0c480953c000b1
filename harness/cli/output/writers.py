"""Writers of ``harness report``: tables, text formats and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import rich_click as click

from harness.cli.output.formats import PARQUET, PARQUET_NEEDS_FILE
from harness.cli.output.results import file_console, print_results, stdout_console, written
from harness.contract import COLUMNS, Record
from harness_results.render.flat import to_csv, to_json
from harness_results.render.latex import to_latex
from harness_results.render.markup import to_markdown
from harness_results.render.parquet import write_parquet

TO_TEXT: dict[str, Callable[..., str]] = {
    "markdown": to_markdown,
    "latex": to_latex,
    "json": to_json,
    "jsonl": partial(to_json, format_="jsonl"),
}


def write_report(
    records: Sequence[Record], format_: str, output: Path | None, *, per_seed: bool
) -> None:
    """Write the records to a file, or to stdout if the format is text.

    CSV and Parquet, for other programs, always have a row for each trial.

    Raises:
        UsageError: the file cannot be written.
    """
    if format_ == PARQUET:
        if output is None:
            raise click.UsageError(PARQUET_NEEDS_FILE)
        with written(output, binary=True) as file:
            write_parquet((record.columns() for record in records), file, COLUMNS)
    elif format_ == "csv":
        with written(output) as file:
            file.write(to_csv(records))
    elif format_ != "table":
        with written(output) as file:
            file.write(TO_TEXT[format_](records, per_seed=per_seed))
    elif output is None or str(output) == "-":
        print_results(records, stdout_console(), per_seed=per_seed)
    else:
        with written(output) as file:
            print_results(records, file_console(file), per_seed=per_seed)
