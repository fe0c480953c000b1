"""``harness report -f png|svg --chart NAME``: one chart as a picture, drawn without a browser."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from harness.cli.output.formats import PICTURES
from harness.cli.output.results import written
from harness.contract import Record, UsageError
from harness_results.charts import all_charts, chart_named, chart_of
from harness_results.charts.picture import picture


def check_picture(
    chart: str | None, format_: str, output: Path | None, relative: str | None
) -> bool:
    """Say whether the options ask for a picture. Nothing is read yet.

    Raises:
        click.UsageError: options exclude each other.
        UsageError: the chart is unknown, or a terminal would get the picture.
    """
    if format_ not in PICTURES:
        if chart is not None:
            raise click.UsageError("--chart is a picture: choose --format png or svg")
        return False
    if chart is None:
        raise click.UsageError(
            f"--format {format_} draws one chart: name it with --chart: {', '.join(all_charts())}"
        )
    if relative is not None:
        raise click.UsageError(
            "--relative is a table, and --chart is a picture: leave one of them out"
        )
    chart_named(chart)
    if output is None and is_terminal():
        raise UsageError(
            f"a picture is not for a terminal: write it to a file with --output {chart}.{format_}"
        )
    return True


def write_picture(
    records: Sequence[Record], chart: str, format_: str, output: Path | None, *, per_seed: bool
) -> None:
    """Draw the chart into a file, or to stdout.

    Raises:
        UsageError: no record has what the chart needs, or the file cannot be written.
    """
    drawn = chart_of(records, chart, per_seed=per_seed)
    content = picture(drawn, "svg" if format_ == "svg" else "png")
    with written(output, binary=True) as file:
        file.write(content)


def is_terminal() -> bool:
    """Say whether stdout is a terminal."""
    return sys.stdout.isatty()
