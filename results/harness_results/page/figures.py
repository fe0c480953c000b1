"""The charts of a page as JSON: a specification without data and theme, and its rows by column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract.records.record import Record
from harness_results.charts import all_charts
from harness_results.charts.series import Labelled, labelled
from harness_results.charts.theme import config

if TYPE_CHECKING:
    from harness_results.charts.catalogue import Chart

DIGITS = 6  # of a number in a chart: more than can be seen
WORDS = ("name", "title", "shows", "measured", "key")
# The page chooses the panels itself, out of those that its filter shows: no transform.
LEFT_OUT = frozenset({"datasets", "config", "transform"})


def figures(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return every chart that has data: its words, ``spec``, and the ``columns`` of its rows.

    Raises:
        UnavailableError: altair is not installed.
    """
    charts = all_charts().values()
    from altair.utils.schemapi import debug_mode

    entries = labelled(records)
    with debug_mode(False):  # altair would check every part of every chart against its schema
        drawn = [_figure(chart, entries) for chart in charts]
    return [figure for figure in drawn if figure is not None]


def without_data(figures: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the charts that are not among these figures."""
    names = {figure["name"] for figure in figures}
    return [chart for name, chart in all_charts().items() if name not in names]


def schemes() -> dict[str, Any]:
    """Return the configuration of charts for a light and for a dark page."""
    return {scheme: config(scheme) for scheme in ("light", "dark")}


def _figure(chart: Chart, entries: Sequence[Labelled]) -> dict[str, Any] | None:
    rows = chart.rows(entries)
    if not rows.values:
        return None
    specification = chart.draw(rows).to_dict(validate=False)
    return {
        **{name: getattr(chart, name) for name in WORDS},
        "thinned": rows.thinned or "",
        "most": rows.most,
        "spec": {name: part for name, part in specification.items() if name not in LEFT_OUT},
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
