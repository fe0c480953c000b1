"""How well a network does at other lengths than the one it was trained at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from harness.contract.records.evaluated import Evaluated
from harness_results.charts.bands import over_seeds
from harness_results.charts.data import Rows
from harness_results.charts.marks import (
    EXTENT,
    Looks,
    bands_against_length,
    length_axis,
    logarithmic,
    panels,
    part,
    tooltips,
)
from harness_results.charts.panels import Panel
from harness_results.charts.series import Labelled, drawn_lines, ended, reference_row, rows_of
from harness_results.charts.theme import NEUTRAL
from harness_results.study.seeds.evaluated import Figure, by_column, solved_by, values_of
from harness_results.study.tables.pivot import SOLVED

AT = "judged_at"  # the column of the length at which a network is judged
SHADE = 0.1  # opacity of the trained lengths
MEASURES: dict[Figure, str] = {"accuracy": "accuracy", "loss_ratio": "loss / baseline"}


def lengths(entries: Sequence[Labelled]) -> Rows:
    """Return the accuracy at each length of the networks judged at several.

    It is the loss as a multiple of the baseline if no task has an accuracy.
    """
    judged = [entry for entry in ended(entries) if _at_lengths(entry)]
    have_accuracy = any(entry.figure("accuracy") is not None for entry in judged)
    figure: Figure = "accuracy" if have_accuracy else "loss_ratio"
    drawn, note = drawn_lines(judged)
    rows = [row for entry in drawn for row in _measured(entry, figure)]
    trained = {entry.panel_of_length: entry for entry in drawn}
    shades = [_trained(entry, panel) for panel, entry in trained.items()]
    return rows_of(entries, [*rows, *shades], note)


def draw_lengths(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, points filled if solved, and the trained lengths shaded."""
    measures = [row["measure"] for row in rows if row["part"] == "measured"]
    measure = measures[0] if measures else MEASURES["accuracy"]
    y, low = (_axis(measure, field) for field in ("y", "low"))
    look = Looks(rows, "cell", "shape")
    x = length_axis(rows, AT, AT).title("length at which the network is evaluated")
    tips = tooltips((AT, "evaluated at"), ("y", measure))
    shade = part("trained").mark_rect(color=NEUTRAL, opacity=SHADE)
    measured = part("measured")
    solid = measured.transform_filter("datum.mark != null")
    hollow = measured.transform_filter("datum.mark == null")
    points = (
        solid.mark_point(filled=True, size=55, opacity=1),
        hollow.mark_point(size=45, opacity=1, strokeWidth=1.5),
    )
    layers = [
        shade.encode(x=x, x2=alt.value(0), y=alt.value(0), y2=alt.value("height")),
        *bands_against_length(rows, look, x, low),
        measured.mark_line().encode(x=x, y=y, **look.line),
        *(marks.encode(x=x, y=y, tooltip=tips, **look.point) for marks in points),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _axis(measure: str, field: str) -> alt.Y:
    if measure == MEASURES["loss_ratio"]:
        return logarithmic(measure, form=".4~g", field=field)
    axis = alt.Axis(tickCount=5, minExtent=EXTENT, maxExtent=EXTENT)
    scale = alt.Scale(zero=True, nice=False)
    return alt.Y(f"{field}:Q", title=measure, axis=axis, scale=scale)


def _measured(entry: Labelled, figure: Figure) -> Iterator[dict[str, Any]]:
    for length, seeds in sorted(_at_lengths(entry).items()):
        values = over_seeds(values_of(seeds, figure))
        if values["y"] is not None:
            yield {
                **entry.common,
                "part": "measured",
                "panel": entry.panel_of_length,
                AT: length,
                **values,
                "measure": MEASURES[figure],
                "mark": SOLVED if solved_by(seeds) == len(seeds) else None,
            }


def _at_lengths(entry: Labelled) -> dict[int, Sequence[Evaluated | None]]:
    columns = by_column(entry.record).items()
    return {column: seeds for column, seeds in columns if isinstance(column, int)}


def _trained(entry: Labelled, panel: Panel) -> dict[str, Any]:
    return {**reference_row(entry, "trained", panel, "cell"), AT: entry.record.trial.length}
