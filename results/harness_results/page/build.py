"""One HTML file from records, with style, scripts and Vega inside: it never needs a connection."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from harness.contract.errors import UnavailableError
from harness.contract.records.record import Record
from harness_results.charts import FIX, all_charts
from harness_results.page.units import COLUMNS, Units
from harness_results.profile.report import READING, table_of
from harness_results.profile.sentences import sentences
from harness_results.profile.view import Profile
from harness_results.text.format import one_line

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
SCRIPTS = ("filter.js", "tables.js", "charts.js", "page.js")
FIRST_CHARTS = ("ladder",)  # of a profile, below its table
MOST_SAMPLES = 40
MOST_ROWS = 100  # of a table, if scripts are not allowed
BUNDLE = """
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle().encode("utf-8"))
"""
IN_SCRIPTS = ("title", "key", "thinned", "most", "spec", "columns")  # what scripts need of a chart
_ENDS = re.compile(r"<(/script|/style|!--)", re.IGNORECASE)


def page(
    records: Sequence[Record],
    title: str | None = None,
    units: Units | None = None,
    stores: str = "",
    *,
    per_seed: bool = False,
    profile: Profile | None = None,
) -> str:
    """Return the page of these records, one per trial and with their curves.

    Args:
        records: at least one.
        title: any text; None names cells, tasks and lengths.
        units: what hidden units respond to, if it is known.
        stores: the names of the stores that the records come from; "" says nothing about them.
        per_seed: rows and lines for each seed, instead of medians over seeds.
        profile: of a cell, from these records: its sentences and its table come first.

    Raises:
        UnavailableError: jinja2, altair or vl-convert is not installed.
    """
    vega = check_libraries()
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "sort_keys": False,
        "allow_nan": False,
    }
    template = environment.from_string(_file("template.html.jinja"))
    return template.render(
        policy=POLICY,
        stores=one_line(stores),
        style=_inline(_file("page.css") + _file("units.css")),
        units=_units(environment, units),
        profile=_profile(environment, profile),
        first_charts=FIRST_CHARTS if profile else (),
        vega=vega,
        script=_inline("\n".join(map(_file, SCRIPTS))),
        **_content(list(records), title, profile, per_seed=per_seed),
    )


def check_libraries() -> Any:
    """Return Vega's code for a page.

    Raises:
        UnavailableError: jinja2, altair or vl-convert is not installed.
    """
    try:
        importlib.import_module("jinja2")
        all_charts()
        return _vega()
    except ImportError as error:
        raise UnavailableError(
            f"a page needs {error.name}, which is not installed. Install it: {FIX}"
        ) from error


def _profile(environment: Any, profile: Profile | None) -> Any:
    """Return the table of a profile as HTML; empty without one."""
    from markupsafe import Markup

    if profile is None:
        return ""
    template = environment.from_string(_file("profile.html.jinja"))
    html = template.render(
        table=table_of(profile),
        sections=[(section, profile.rows_of(section)) for section in READING],
        cells=profile.cells,
        reading=READING,
    )
    return Markup(html)  # noqa: S704


def _units(environment: Any, units: Units | None) -> Any:
    """Return the section on hidden units as HTML; empty without a network."""
    from markupsafe import Markup

    if units is None or not units.networks:
        return ""
    template = environment.from_string(_file("units.html.jinja"))
    return Markup(template.render(units=units, unit_columns=COLUMNS))  # noqa: S704


def _content(
    records: list[Record], title: str | None, profile: Profile | None, *, per_seed: bool
) -> dict[str, Any]:
    from harness_results.page.content import reading, tables
    from harness_results.page.environments import environments, measured_between, warnings
    from harness_results.page.failures import MOST, failures
    from harness_results.page.figures import figures, schemes
    from harness_results.page.headline import contents, headline, title_of
    from harness_results.study.samples import texts, texts_over_training, worth_showing
    from harness_results.study.seeds.summary import over_seeds
    from harness_results.study.study import studies
    from harness_results.study.tables.notes import LEGEND
    from harness_results.study.verdicts.fastest import contests

    rows = records if per_seed else over_seeds(records)
    tasks = studies(rows)
    of_tasks = contests(tasks)
    charts, failed, samples = figures(rows, tasks), failures(records), worth_showing(records)
    all_tables, in_short = tables(rows, tasks, of_tasks), headline(rows, tasks, of_tasks)
    return {
        "title": one_line(title or title_of(records)),
        "contents": contents(records),
        "measured": measured_between(records),
        "warnings": warnings(records),
        "headline": in_short if profile is None else replace(in_short, lines=_said(profile)),
        "axes": _axes(records),
        "figures": charts.drawn,
        "missing": charts.missing,
        "lettered": any(table["sets"] for table in all_tables),
        "further": [table["title"] for table in all_tables if table["minor"]],
        "failures": failed[:MOST],
        "failures_left_out": max(0, len(failed) - MOST),
        "samples": samples[:MOST_SAMPLES],
        "texts": texts,
        "texts_over_training": texts_over_training,
        "samples_left_out": max(0, len(samples) - MOST_SAMPLES),
        "environments": environments(records),
        "reading": reading(rows),
        "most_rows": MOST_ROWS,
        "data": {
            "tables": all_tables,
            "figures": {chart["name"]: {k: chart[k] for k in IN_SCRIPTS} for chart in charts.drawn},
            "schemes": schemes(),
            "trials": _trials(records),
            "marks": LEGEND,
        },
    }


def _said(profile: Profile) -> tuple[tuple[str, str], ...]:
    return tuple((section.capitalize(), text) for section, text in sentences(profile))


def _axes(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the values of each axis of the filter, in order of appearance, but lengths by size."""
    axes: dict[str, list[Any]] = {}
    for name in ("task", "cell", "backend", "variant"):
        axes[name] = list(dict.fromkeys(getattr(record.trial, name) for record in records))
    return axes | {"length": sorted({record.trial.length for record in records})}


def _trials(records: Sequence[Record]) -> list[list[Any]]:
    """Return task, cell, backend, variant, length and their number of trials, for the filter."""
    trials = (record.trial for record in records)
    numbers = Counter((t.task, t.cell, t.backend, t.variant, t.length) for t in trials)
    return [[*key, number] for key, number in numbers.items()]


@cache
def _vega() -> Any:
    """Return Vega, Vega-Lite and Vega-Embed as the code of one module.

    A process of its own makes it: bundling takes more than 100 MB, which would not come back.
    """
    if importlib.util.find_spec("vl_convert") is None:
        raise ModuleNotFoundError(name="vl_convert")
    bundling = subprocess.run([sys.executable, "-P", "-c", BUNDLE], capture_output=True, check=True)
    return _inline(bundling.stdout.decode("utf-8"))


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(code: str) -> Any:
    """Return trusted code or style, escaped so that it cannot end the element it is in."""
    from markupsafe import Markup

    return Markup(_ENDS.sub(r"<\\\1", code))  # noqa: S704
