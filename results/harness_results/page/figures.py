"""The charts of a page as JSON: a specification without data and theme, and its rows by column."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.contract.records.record import Record
from harness_results.charts import all_charts
from harness_results.charts.series import labelled_of
from harness_results.charts.theme import config
from harness_results.page.settings import Letters, letters_by_task
from harness_results.study.study import Study, studies

if TYPE_CHECKING:
    from harness_results.charts.catalogue import Chart
    from harness_results.charts.data import Rows

POSITIONS = ("rung", "step", "lag", "judged_at", "length")  # columns of the horizontal axis
DIGITS = 6  # of a number in a chart: more than can be seen
WORDS = ("name", "title", "shows", "measured")
LEFT_OUT = frozenset({"datasets", "config"})
FOLDED = ("step-time", "compiling", "gradient-norm", "memory", "parity")  # until the reader asks
FEW_PANELS = 2  # fit into half of the page's width
ALONE = "a single point: see the tables"


@dataclass(frozen=True)
class Figures:
    """The charts of a page.

    Attributes:
        drawn: the charts that compare something, first those of half the page's width. Each has the
            words of its chart, ``spec``, the ``columns`` of its rows, ``half`` and ``folded``.
        missing: the titles of the others, each with the reason.
    """

    drawn: list[dict[str, Any]]
    missing: list[tuple[str, str]]


def figures(records: Sequence[Record], tasks: Sequence[Study] | None = None) -> Figures:
    """Return the charts of these records.

    Args:
        records: of all tasks.
        tasks: their studies, if they exist already.

    Raises:
        UnavailableError: altair is not installed.
    """
    charts = all_charts().values()
    from altair.utils.schemapi import debug_mode

    tasks = studies(records) if tasks is None else tasks
    entries, letters = labelled_of(tasks), letters_by_task(tasks)
    drawn, missing = [], []
    with debug_mode(False):  # altair would check every part of every chart against its schema
        for chart in charts:
            rows = chart.rows(entries)
            panels = _panels(rows)
            if panels:
                drawn.append(_figure(chart, rows, panels, letters))
            else:
                missing.append((chart.title, ALONE if rows.values else f"no trial {chart.needs}"))
    unfolded = _in_pairs([figure for figure in drawn if not figure["folded"]])
    return Figures(
        [*unfolded, *_in_pairs([figure for figure in drawn if figure["folded"]])], missing
    )


def _in_pairs(figures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures, those of half the width first; the last of an odd number is whole."""
    halves = [figure for figure in figures if figure["half"]]
    if len(halves) % 2:
        halves.pop()["half"] = False
    return [*halves, *(figure for figure in figures if not figure["half"])]


def _panels(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the panels that compare something: values at two positions on their axis, or more."""
    positions: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        if row["engine"] is not None:
            position = next(row[name] for name in POSITIONS if name in row)
            positions[row["panel"]] |= {position} - {None}
    return {panel for panel, each in positions.items() if len(each) > 1}


def schemes() -> dict[str, Any]:
    """Return the configuration of charts for a light and for a dark page."""
    return {scheme: config(scheme) for scheme in ("light", "dark")}


def _figure(
    chart: Chart, rows: Rows, panels: Collection[str], letters: Mapping[str, Letters]
) -> dict[str, Any]:
    specification = chart.draw(rows).to_dict(validate=False)
    return {
        **{name: getattr(chart, name) for name in WORDS},
        "key": chart.key_of(rows),
        "thinned": rows.thinned or "",
        "most": rows.most,
        "half": len(panels) <= FEW_PANELS,
        "folded": chart.name in FOLDED,
        "spec": _spec(specification),
        "columns": _by_column([_lettered(row, letters) for row in rows if row["panel"] in panels]),
    }


def _spec(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification for the page, which chooses the panels by its filter."""
    spec = {name: part for name, part in drawn.items() if name not in LEFT_OUT}
    of_ranges = [step for step in drawn["transform"] if not {"window", "filter"} & step.keys()]
    return {**spec, "transform": of_ranges}


def _lettered(row: Mapping[str, Any], letters: Mapping[str, Letters]) -> Mapping[str, Any]:
    of_task = letters.get(row["task"])
    return {**row, "panel": of_task.heading(row["panel"])} if of_task else row


def _by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return name -> values; a name that a row lacks is None there."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_short(row.get(name)) for row in rows] for name in names}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
