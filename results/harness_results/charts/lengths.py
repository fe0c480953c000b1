"""How well a network does at other lengths than the one it was trained at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from harness.contract.records.evaluated import Evaluated, at_lengths
from harness_results.charts.bands import bands
from harness_results.charts.data import Rows
from harness_results.charts.marks import (
    EXTENT,
    Looks,
    length_axis,
    logarithmic,
    panels,
    part,
    tooltips,
)
from harness_results.charts.panels import Panel
from harness_results.charts.series import Labelled, drawn_lines, ended, reference_row, rows_of
from harness_results.charts.theme import NEUTRAL
from harness_results.study.seeds.statistics import spread
from harness_results.study.seeds.summary import outcomes_of
from harness_results.study.tables.pivot import SOLVED

SHADE = 0.1  # opacity of the trained lengths
ACCURACY, RATIO = "accuracy", "loss / baseline"


def lengths(entries: Sequence[Labelled]) -> Rows:
    """Return the accuracy at each length of the networks judged at several.

    It is the loss as a multiple of the baseline if no task has an accuracy.
    """
    judged = [entry for entry in ended(entries) if at_lengths(entry.record)]
    have_accuracy = any(entry.figure("accuracy") is not None for entry in judged)
    measure = ACCURACY if have_accuracy else RATIO
    drawn, note = drawn_lines(judged)
    rows = [row for entry in drawn for row in _measured(entry, measure)]
    trained = {entry.panel_of_length: entry for entry in drawn}
    shades = [_trained(entry, panel) for panel, entry in trained.items()]
    return rows_of(entries, [*rows, *shades], note)


def draw_lengths(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, points filled if solved, and the trained lengths shaded."""
    measure = next((row["measure"] for row in rows if row["part"] == "measured"), ACCURACY)
    axis = alt.Axis(tickCount=5, minExtent=EXTENT, maxExtent=EXTENT)
    y = alt.Y("y:Q", title=measure, axis=axis, scale=alt.Scale(zero=True, nice=False))
    if measure == RATIO:
        y = logarithmic(measure, form=".4~g")
    look = Looks(rows, "cell", "shape")
    x = length_axis(rows, "at", "at").title("length at which the network is evaluated")
    tips = tooltips(("at", "evaluated at"), ("y", measure))
    shade = part("trained").mark_rect(color=NEUTRAL, opacity=SHADE)
    measured = part("measured")
    solid = measured.transform_filter("datum.mark != null")
    hollow = measured.transform_filter("datum.mark == null")
    points = (
        solid.mark_point(filled=True, size=55, opacity=1),
        hollow.mark_point(size=45, opacity=1, strokeWidth=1.5),
    )
    low = y.copy()
    low.shorthand = "low:Q"
    layers = [
        shade.encode(x=x, x2=alt.value(0), y=alt.value(0), y2=alt.value("height")),
        *bands(rows, measured, x, low, look.colour),
        measured.mark_line().encode(x=x, y=y, **look.line),
        *(marks.encode(x=x, y=y, tooltip=tips, **look.point) for marks in points),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _measured(entry: Labelled, measure: str) -> Iterator[dict[str, Any]]:
    for each in at_lengths(entry.record):
        value = _value(each, measure)
        if value is not None:
            yield {
                **entry.common,
                "part": "measured",
                "panel": entry.panel_of_length,
                "at": each.length,
                "y": value,
                **_spread(entry, each, measure),
                "measure": measure,
                "mark": SOLVED if each.solved else None,
            }


def _spread(entry: Labelled, each: Evaluated, measure: str) -> dict[str, float]:
    """Return the ends of the band over seeds; none of one seed."""
    sets = [
        of
        for seed in outcomes_of(entry.record)
        for of in at_lengths(seed)
        if (of.name, of.length) == (each.name, each.length)
    ]
    values = [value for value in (_value(of, measure) for of in sets) if value is not None]
    return dict(zip(("low", "high"), spread(values), strict=True)) if len(values) > 1 else {}


def _value(each: Evaluated, measure: str) -> float | None:
    return each.accuracy if measure == ACCURACY else each.loss_ratio


def _trained(entry: Labelled, panel: Panel) -> dict[str, Any]:
    return {**reference_row(entry, "trained", panel, "cell"), "at": entry.record.trial.length}
