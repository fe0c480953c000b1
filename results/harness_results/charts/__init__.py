"""Charts of records: ``chart_of`` makes one, ``picture`` renders it without a browser. altair is imported on use."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract.errors import UnavailableError, UnknownNameError, UsageError
from harness.contract.records.record import Record

if TYPE_CHECKING:
    import altair as alt

    from harness_results.charts.catalogue import Chart

FIX = 'pip install "rnn-harness[report]"'


def all_charts() -> dict[str, Chart]:
    """Return every chart by name, in the order of a report.

    Raises:
        UnavailableError: altair is not installed.
    """
    try:
        importlib.import_module("altair")
    except ImportError as error:
        raise UnavailableError(
            f"charts need altair, which is not installed. Install it: {FIX}"
        ) from error
    from harness_results.charts.catalogue import CHARTS

    return CHARTS


def chart_of(records: Iterable[Record], name: str, scheme: str = "light") -> alt.FacetChart:
    """Return one chart of these records, with title and theme.

    Args:
        records: one per trial, with curves.
        name: of the chart.
        scheme: ``light`` or ``dark``.

    Raises:
        UnavailableError: altair is not installed.
        UnknownNameError: there is no such chart, or no such scheme.
        UsageError: no record has what the chart needs.
    """
    from harness_results.charts import marks, theme

    if scheme not in theme.PAPER:
        raise UnknownNameError("scheme", scheme, theme.PAPER)
    known, chart = list(records), chart_named(name)
    rows = chart.rows(known)
    if not rows.values:
        raise UsageError(_nothing(chart, known))
    title: dict[str, Any] = {
        "text": chart.title,
        "subtitle": [line for line in (chart.key, rows.note) if line],
    }
    title["offset"] = marks.LINE * marks.heading_lines(rows)  # the headings stand above the panels
    drawn: alt.FacetChart = (
        chart.draw(rows).properties(title=title).configure(**theme.config(scheme))
    )
    return drawn


def chart_named(name: str) -> Chart:
    """Return the chart of this name.

    Raises:
        UnavailableError: altair is not installed.
        UnknownNameError: there is no such chart.
    """
    charts = all_charts()
    if name not in charts:
        raise UnknownNameError("chart", name, charts)
    return charts[name]


def _nothing(chart: Chart, records: Sequence[Record]) -> str:
    others = [other.name for other in all_charts().values() if other.rows(records).values]
    fix = (
        f"Charts with data: {', '.join(others)}" if others else "No chart of these records has data"
    )
    return f"the chart {chart.name} has nothing to draw: no trial {chart.needs}. {fix}"
