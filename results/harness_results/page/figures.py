"""The charts of a page as JSON: a specification without data or colours of the surroundings, and its rows by column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract.records.record import Record
from harness_results.charts import all_charts
from harness_results.charts.theme import config

if TYPE_CHECKING:
    from harness_results.charts.catalogue import Chart

DIGITS = 6  # of a number in a chart: more than can be seen


def figures(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return every chart that these records have something for: its words, ``spec`` and ``columns`` of its rows.

    Raises:
        UnavailableError: altair is not installed.
    """
    found = (_figure(chart, records) for chart in all_charts().values())
    return [figure for figure in found if figure is not None]


def without_data(shown: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the charts that are not among these figures."""
    names = {figure["name"] for figure in shown}
    return [chart for name, chart in all_charts().items() if name not in names]


def schemes() -> dict[str, Any]:
    """Return the configuration of charts for each kind of surroundings."""
    return {scheme: config(scheme) for scheme in ("light", "dark")}


def _figure(chart: Chart, records: Sequence[Record]) -> dict[str, Any] | None:
    from altair import NamedData

    rows = chart.rows(records)
    if not rows.values:
        return None
    drawn = chart.draw(rows)
    drawn.data = NamedData(name="rows")  # the rows travel beside it, by column
    words = {name: getattr(chart, name) for name in ("name", "title", "shows", "measured", "key")}
    left_out = {
        "datasets",
        "config",
        "transform",
    }  # the page itself chooses the panels, of what its filter shows
    return words | {
        "thinned": rows.thinned or "",
        "most": rows.most,
        "spec": {name: part for name, part in drawn.to_dict().items() if name not in left_out},
        "columns": _by_column(rows.values),
    }


def _by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return name -> values; a name that a row lacks is None there."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_short(row.get(name)) for row in rows] for name in names}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
