"""How well a network does at other lengths than the one it was trained at, and while it learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from harness.contract.records.evaluated import Evaluated
from harness.contract.records.record import Record
from harness_results.charts.bands import bands, over_seeds
from harness_results.charts.data import Rows, thin_curves
from harness_results.charts.learning import STEP
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
from harness_results.study.curves import series
from harness_results.study.seeds.evaluated import Figure, by_column, solved_by, values_of
from harness_results.study.seeds.summary import outcomes_of
from harness_results.study.tables.pivot import SOLVED
from harness_results.text.thinning import evenly_chosen

AT = "judged_at"  # the column of the length at which a network is judged
FEWEST = 3  # evaluations of a curve
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


def lengths_curves(entries: Sequence[Labelled]) -> Rows:
    """Return the accuracy over training at each other length; the loss ratio if there is none."""
    judged = [entry for entry in entries if any(map(_curves, outcomes_of(entry.record)))]
    have_accuracy = any(entry.figure("accuracy") is not None for entry in judged)
    figure: Figure = "accuracy" if have_accuracy else "loss_ratio"
    drawn, points, note = thin_curves(
        judged, lambda entry: (entry.panel_of_length, entry.record.trial.cell)
    )
    rows = [row for entry in drawn for row in _over_training(entry, figure, points)]
    return rows_of(entries, rows, note)


def draw_lengths_curves(rows: Rows) -> alt.FacetChart:
    """Return lines by cell over the training steps, a panel for each length."""
    measure = next((row["measure"] for row in rows), MEASURES["accuracy"])
    y, low = (_axis(measure, field) for field in ("y", "low"))
    look, tips = Looks(rows, "cell", "shape"), tooltips(("step", "step"), ("y", measure))
    measured = part("measured")
    layers = [
        *bands(rows, measured, STEP, low, look.colour),
        measured.mark_line().encode(x=STEP, y=y, **look.line),
        measured.mark_point(filled=True, size=40, opacity=1).encode(
            x=STEP, y=y, tooltip=tips, **look.point
        ),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _over_training(entry: Labelled, figure: Figure, points: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each length and evaluation, about ``points``: the median over seeds.

    A seed that stopped early keeps its last value; one that diverged has the worst.
    """
    seeds = outcomes_of(entry.record)
    curves = [_curves(seed) for seed in seeds]
    worst = 0.0 if figure == "accuracy" else None
    lengths = sorted({length for curve in curves for length in curve})
    for length in lengths:
        panel = Panel(entry.by_task, entry.record.trial.length, f"evaluated at {length}")
        row = {**entry.common, "part": "measured", "panel": panel, AT: length}
        steps = sorted({step for curve in curves for step in curve.get(length, {})})
        for step in evenly_chosen(steps, max(FEWEST, points // len(lengths))):
            values = []
            for seed, curve in zip(seeds, curves, strict=True):
                at = [each for each in curve.get(length, {}) if each <= step]
                has_value = at and (seed.status == "ok" or at[-1] == step)
                value = series([curve[length][at[-1]].get(figure)])[0] if has_value else None
                values.append(worst if value is None else value)
            if (band := over_seeds(values))["y"] is not None:
                yield {**row, "step": step, **band, "measure": MEASURES[figure]}


def _curves(seed: Record) -> dict[int, dict[int, Mapping[str, Any]]]:
    """Return length -> training step -> the figures there."""
    curves: dict[int, dict[int, Mapping[str, Any]]] = {}
    content = seed.curves.get("evaluation_sets")
    for each in content if isinstance(content, list | tuple) else ():
        if isinstance(each, Mapping) and {type(each.get(k)) for k in ("length", "step")} == {int}:
            curves.setdefault(each["length"], {})[each["step"]] = each
    return curves


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
