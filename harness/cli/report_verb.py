"""``harness report``: what a store holds, as a table or flat data. It never runs anything."""

from __future__ import annotations

import shlex
from pathlib import Path

import rich_click as click

from harness.cli.main import OK
from harness.cli.options import default_store
from harness.contract import Record, UsageError

FORMATS = ("table", "markdown", "csv", "json")


def _refuse_store(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(f"the store is an argument here, without --store: harness report {shlex.quote(value)}")


@click.command("report")
@click.argument("stores", nargs=-1, metavar="[STORE...]")
@click.option("--format", "-f", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option("--run", "run_id", type=click.IntRange(1), help="Only the launches of this run.  [default: all, latest]")
@click.option("--relative", metavar="ENGINE", help="Throughput of all engines as multiples of this one's instead.")
@click.option("--serve", is_flag=True, help="Serve the page on this machine alone while a sweep runs, until Ctrl-C.")
@click.option("--port", type=click.IntRange(1, 65535), help="With --serve.  [default: any that is free]")
@click.option("--store", hidden=True, expose_value=False, callback=_refuse_store)
@click.option("--last", is_flag=True, help="Only the launches of the last run (not of a doctor's).")
def command(
    stores: tuple[str, ...], format_: str, output: Path | None, relative: str | None, run_id: int | None, last: bool,
    serve: bool, port: int | None,
) -> int:  # fmt: skip
    """Show the trials of one store or several, each by the launches of the latest run that measured it.

    A trial measured on several machines is shown once for each; one in several stores by the latest.
    """
    from harness.cli.output import print_results, write_text
    from harness_results.launches import latest

    if last and run_id:
        raise click.UsageError("--run and --last exclude each other")
    places = dict.fromkeys(stores or (default_store(),))
    if serve or port:
        from harness.cli.serving import check_alone, serve_report

        check_alone(serve=serve)
        return serve_report(tuple(places), lambda store: _records(store, run_id, last=last, with_curves=True), port)
    records = latest(record for store in places for record in _records(store, run_id, last=last))
    if not records:
        raise UsageError("the store holds no record: run something with `harness run`, or name another store")
    if output is None and format_ == "table" and relative is None:
        print_results(records)
        return OK
    write_text(_text(records, format_) if relative is None else _relative(records, relative, format_), output)
    return OK


def _records(location: str, run_id: int | None, *, last: bool, with_curves: bool = False) -> list[Record]:
    from harness_results.launches import combine, of_each_place
    from harness_results.reported import reported
    from harness_results.runs import run_id_of
    from harness_results.store import Store

    with Store.open(location, create=False) as store:
        if last or run_id is not None:
            run_id = run_id_of("last" if last else str(run_id), store.runs(), store.name)
        if with_curves:
            return reported(store, run_id)
        if run_id is not None:
            return combine(store.launches(run_id))
        return of_each_place(store.launches(run.run_id) for run in store.runs())


def _relative(records: list[Record], base: str, format_: str) -> str:
    from harness.cli.output import stdout_console
    from harness_results.markup import markdown_of
    from harness_results.sections import relative_report
    from harness_results.tables import ReportTables, plain_text

    if format_ not in {"table", "markdown"}:
        raise click.UsageError("--relative is a table: choose --format table or markdown")
    found = relative_report(records, base)
    return markdown_of(found) if format_ == "markdown" else plain_text(ReportTables(found), stdout_console().width)


def _text(records: list[Record], format_: str) -> str:
    from harness_results import export, markup, tables

    writers = {
        "table": tables.plain_table,
        "markdown": markup.to_markdown,
        "csv": export.to_csv,
        "json": export.to_json_lines,
    }
    return writers[format_](records)
