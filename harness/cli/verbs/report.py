"""``harness report``: what a store holds, as tables, charts, a page or flat data. It only reads."""

from __future__ import annotations

import shlex
from typing import Any

import rich_click as click

from harness.cli.options.axes import run_option
from harness.cli.options.common import output_option, per_seed_option
from harness.cli.options.filters import filter_options
from harness.cli.output.formats import TABLE, ReportFormat


def _refuse_store(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            f"the store is an argument here, without --store: harness report {shlex.quote(value)}"
        )


@click.command("report")
@click.argument("stores", nargs=-1, metavar="[STORE...]")
@filter_options
@click.option(
    "--format",
    "-f",
    "format_",
    type=ReportFormat(),
    default=TABLE,
    show_default=True,
    help="table, png, svg, or an exporter: markdown, latex, csv, json, jsonl, parquet, html "
    "(harness list exporters).",
)
@output_option()
@run_option("Only the launches of this run", "all, latest")
@per_seed_option
@click.option(
    "--relative",
    metavar="ENGINE",
    help="Throughput of all engines as multiples of this one's instead.",
)
@click.option(
    "--best-of",
    metavar="SETTING",
    help="Of each network the best value of a setting, such as learning_rate, by validation, and "
    "its loss on the test split instead.",
)
@click.option(
    "--chart", metavar="NAME", help="The chart that -f png and -f svg draw, such as gradient-flow."
)
@click.option(
    "--title",
    metavar="TEXT",
    help="Title of the page of -f html and --serve.  [default: what it holds]",
)
@click.option(
    "--serve",
    is_flag=True,
    help="Serve the page on this machine alone while a sweep runs, until Ctrl-C.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="With --serve.  [default: any that is free]"
)
@click.option("--store", hidden=True, expose_value=False, callback=_refuse_store)
def command(stores: tuple[str, ...], **options: Any) -> int:
    """Show the trials of one store or several, each by the launches of its latest run.

    A trial measured on several machines is shown once for each machine, with a label. A trial in
    several stores is shown by the latest. On a terminal long tables are cut, and say so: choose
    with -t, -c, -b, -T, or pipe the report.
    """
    from harness.cli.work.report import report

    return report(stores, options)
