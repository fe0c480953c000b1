"""``harness report``: what a store holds, as a table or flat data. It never runs anything."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.axes import default_store, run_option
from harness.cli.options.filters import chosen, filter_options
from harness.cli.output.writers import FORMATS, write_report
from harness.contract import Record, UsageError


def _refuse_store(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            f"the store is an argument here, without --store: harness report {shlex.quote(value)}"
        )


@click.command("report")
@click.argument("stores", nargs=-1, metavar="[STORE...]")
@filter_options
@click.option(
    "--format", "-f", "format_", type=click.Choice(FORMATS), default="table", show_default=True
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
)
@run_option("Only the launches of this run", "all, latest")
@click.option(
    "--relative",
    metavar="ENGINE",
    help="Throughput of all engines as multiples of this one's instead.",
)
@click.option(
    "--chart", metavar="NAME", help="The chart that -f png and -f svg draw, such as gradient-flow."
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
def command(
    stores: tuple[str, ...],
    format_: str,
    output: Path | None,
    relative: str | None,
    run: str | None,
    chart: str | None,
    serve: bool,
    port: int | None,
    **filters: Any,
) -> int:
    """Show the trials of one store or several, each by the launches of the latest run that measured it.

    A trial measured on several machines is shown once for each, with a label for the machine; one
    in several stores by the latest. On a terminal long tables are cut, and say so: choose with -t,
    -c, -b, -T, or pipe the report.
    """
    from harness.cli.output.pages import check_page, write_page
    from harness.cli.output.pictures import check_picture, write_picture
    from harness.cli.output.results import write_text
    from harness_results.study.launches import latest

    places = dict.fromkeys(stores or (default_store(),))
    if serve or port:
        from harness.cli.output.serving import check_alone, serve_report

        check_alone(serve=serve)
        read = partial(_records, run=run, with_curves=True)
        return serve_report(tuple(places), read, partial(chosen, options=filters), port)
    drawn = check_picture(chart, format_, output, relative)
    as_page = check_page(format_, output) and relative is None
    whole = drawn or as_page
    records = latest(
        record for store in places for record in _records(store, run, with_curves=whole)
    )
    if not records:
        raise UsageError(
            "the store holds no record: run something with `harness run`, or name another store"
        )
    records = chosen(records, filters)
    if drawn:
        write_picture(records, str(chart), format_, output)
    elif as_page:
        write_page(records, places, output)
    elif relative is not None:
        write_text(_relative(records, relative, format_), output)
    else:
        write_report(records, format_, output)
    return OK


def _records(location: str, run: str | None, *, with_curves: bool) -> list[Record]:
    from harness_results.store.store import Store
    from harness_results.study.launches import of_each_place
    from harness_results.study.reported import reported
    from harness_results.study.verdicts.floors import with_floors

    with Store.open(location, create=False) as store:
        run_id = store.run_named(run)
        if with_curves:
            return reported(store, run_id)
        runs = [one.run_id for one in store.runs()] if run_id is None else [run_id]
        return with_floors(of_each_place(map(store.launches, runs)), store.all_calibrations())


def _relative(records: list[Record], base: str, format_: str) -> str:
    from harness.cli.output.results import stdout_console
    from harness_results.render.latex import latex_of
    from harness_results.render.markup import markdown_of
    from harness_results.render.terminal import ReportTables, plain_text
    from harness_results.study.tables.sections import relative_report

    if format_ not in {"table", "markdown", "latex"}:
        raise click.UsageError("--relative is a table: choose --format table, markdown or latex")
    found = relative_report(records, base)
    if format_ == "table":
        return plain_text(ReportTables(found), stdout_console().width)
    return markdown_of(found) if format_ == "markdown" else latex_of(found)
