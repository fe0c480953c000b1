"""Charts of records: ``chart_of`` makes one. altair is imported when a chart is made."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.contract.errors import UnavailableError, UnknownNameError, UsageError
from harness.contract.records.record import Record

if TYPE_CHECKING:
    import altair as alt

    from harness_results.charts.catalogue import Chart
    from harness_results.charts.series import Labelled

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


def chart_of(
    records: Iterable[Record], name: str, scheme: str = "light", *, per_seed: bool = False
) -> alt.FacetChart:
    """Return one chart of these records, with title and theme.

    Args:
        records: one per trial, with curves.
        name: the name of the chart.
        scheme: ``light`` or ``dark``.
        per_seed: a line for each seed, instead of the median over seeds with a band.

    Raises:
        UnavailableError: altair is not installed.
        UnknownNameError: the chart or the scheme does not exist.
        UsageError: no record has what the chart needs.
    """
    from harness_results.charts import theme

    if scheme not in theme.PAPER:
        raise UnknownNameError("scheme", scheme, theme.PAPER)
    chart = chart_named(name)
    import altair as alt

    from harness_results.charts import marks
    from harness_results.charts.series import labelled
    from harness_results.study.seeds.summary import over_seeds

    entries = labelled(list(records) if per_seed else over_seeds(records))
    rows = chart.rows(entries)
    if not rows.values:
        raise UsageError(_no_data(chart, entries))
    title = {
        "text": chart.title,
        "subtitle": [line for line in (chart.key_of(rows), rows.note) if line],
        "offset": marks.LINE * marks.heading_lines(rows),  # panels have their headings above them
    }
    drawn: alt.FacetChart = (
        chart.draw(rows).properties(title=title).configure(**theme.config(scheme))
    )
    drawn.data = alt.InlineData(values=list(rows.values), name="rows")
    return drawn


def chart_named(name: str) -> Chart:
    """Return the chart of this name.

    Raises:
        UnavailableError: altair is not installed.
        UnknownNameError: the chart does not exist.
    """
    charts = all_charts()
    if name not in charts:
        raise UnknownNameError("chart", name, charts)
    return charts[name]


def _no_data(chart: Chart, entries: Sequence[Labelled]) -> str:
    others = [other.name for other in all_charts().values() if other.rows(entries).values]
    hint = (
        f"Charts with data: {', '.join(others)}" if others else "No chart of these records has data"
    )
    return f"the chart {chart.name} has nothing to draw: no trial {chart.needs}. {hint}"
