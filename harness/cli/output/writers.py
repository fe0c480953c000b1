"""Writers of ``harness report``: the table, and what exporters make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from harness.cli.output.formats import TABLE
from harness.cli.output.results import file_console, print_results, stdout_console, written
from harness.contract import Record
from harness.plugins import Plugins
from harness.plugins.exporting import exported


def write_report(
    records: Sequence[Record],
    format_: str,
    output: Path | None,
    plugins: Plugins,
    *,
    per_seed: bool,
) -> None:
    """Write the records to a file, or to stdout if the format is text.

    Raises:
        PluginError: the exporter failed.
        UsageError: the file cannot be written, or a format that is not text has none.
    """
    if format_ != TABLE:
        exporter, label = plugins.exporter(format_), plugins.label("exporter", format_)
        content = exported(exporter, records, label, per_seed=per_seed)
        is_binary = isinstance(content, bytes)
        if is_binary and output is None:
            file_name = f"report{exporter.suffixes[0]}"
            raise click.UsageError(f"{format_} is not text: name a file with --output {file_name}")
        with written(output, binary=is_binary) as file:
            file.write(content)
    elif output is None or str(output) == "-":
        print_results(records, stdout_console(), per_seed=per_seed)
    else:
        with written(output) as file:
            print_results(records, file_console(file), per_seed=per_seed)
