"""The work of ``harness report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.axes import default_store
from harness.cli.options.filters import chosen
from harness.cli.output.pages import check_page, write_page
from harness.cli.output.pictures import check_picture, write_picture
from harness.cli.output.results import stdout_console, write_text
from harness.cli.output.writers import write_report
from harness.cli.work.serving import check_alone, serve_report
from harness.cli.work.units import units_of
from harness.contract import Record, UsageError
from harness.plugins import load_plugins
from harness_results.render.latex import latex_of
from harness_results.render.markup import markdown_of
from harness_results.render.terminal import ReportTables
from harness_results.store.store import Store
from harness_results.study.launches import latest, of_each_environment
from harness_results.study.reported import NOT_IN_REPORTS, in_plan_order, reported, with_floors
from harness_results.study.tables.sections import Report, best_of_report, relative_report
from harness_results.text.lines import plain_text


def report(stores: Sequence[str], options: Mapping[str, Any]) -> int:
    """Write the report that the options ask for, or serve it."""
    stores = tuple(dict.fromkeys(stores or (default_store(),)))
    run, format_, output = options["run"], options["format_"], options["output"]
    relative, chart, title = (options[name] for name in ("relative", "chart", "title"))
    per_seed = options["per_seed"]
    if options["serve"] or options["port"]:
        check_alone(serve=options["serve"])
        read = partial(_records, run=run, with_curves=True)
        choose = partial(chosen, options=options)
        return serve_report(stores, read, choose, options["port"], title, per_seed=per_seed)
    best_of = options["best_of"]
    if relative is not None and best_of is not None:
        raise click.UsageError("--relative and --best-of are two tables: leave one of them out")
    tables = relative or best_of
    is_picture = check_picture(chart, format_, output, tables)
    is_page = check_page(format_, output, title) and tables is None
    plugins = load_plugins()
    exporter = plugins.exporters.get(format_)
    with_curves = is_picture or (exporter is not None and exporter.with_curves)
    records = _chosen_records(stores, run, options, with_curves=with_curves)
    if is_picture:
        write_picture(records, str(chart), format_, output, per_seed=per_seed)
    elif is_page:
        units = units_of(records, stores)
        write_page(records, stores, output, title, units, per_seed=per_seed)
    elif relative is not None:
        content = relative_report(records, relative, per_seed=per_seed)
        write_text(_as_text(content, "--relative", format_), output)
    elif best_of is not None:
        write_text(_as_text(best_of_report(records, best_of), "--best-of", format_), output)
    else:
        write_report(records, format_, output, plugins, per_seed=per_seed)
    return OK


def _chosen_records(
    stores: Sequence[str], run: str | None, options: Mapping[str, Any], *, with_curves: bool
) -> list[Record]:
    records: list[Record] = []
    for store in stores:
        records += _records(store, run, with_curves=with_curves)
    records = latest(records)
    if not records:
        raise UsageError(
            "the store holds no record: run something with `harness run`, or name another store"
        )
    return chosen(records, options)


def _records(location: str, run: str | None, *, with_curves: bool) -> list[Record]:
    with Store.open(location, create=False) as store:
        run_id = store.run_named(run)
        if with_curves:
            return reported(store, run_id, without=NOT_IN_REPORTS)
        runs = [each.run_id for each in store.runs()] if run_id is None else [run_id]
        records = of_each_environment(map(store.launches, runs))
        return with_floors(in_plan_order(records, store, run_id), store)


def _as_text(tables: Report, option: str, format_: str) -> str:
    if format_ not in {"table", "markdown", "latex"}:
        raise click.UsageError(f"{option} is a table: choose --format table, markdown or latex")
    if format_ == "markdown":
        return markdown_of(tables)
    if format_ == "latex":
        return latex_of(tables)
    return plain_text(ReportTables(tables), stdout_console().width)
