"""Over training: what probes measure of a network, and its loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import altair as alt

from harness.contract.probes import Curve
from harness.contract.records.probed import Probed, probed
from harness_results.charts.bands import bands, over_seeds
from harness_results.charts.data import Rows, short, thin_curves
from harness_results.charts.marks import EXTENT, Looks, panels, part, rule_across, tooltips
from harness_results.charts.panels import Panel
from harness_results.charts.series import Labelled, ended, reference_row, rows_of
from harness_results.study.curves import series
from harness_results.study.seeds.summary import outcomes_of
from harness_results.text.thinning import evenly_chosen

LOSS = "training loss"
EDGE = "exponent_per_step"  # of the probe ``lyapunov``: at 0 a gradient neither grows nor shrinks
GROWTH = 1.3  # of the steps that share a point of the loss
Curves = Mapping[str, Curve]  # figure -> its series over training


def over_training(entries: Sequence[Labelled]) -> Rows:
    """Return the loss, and for each probe its first figure, over the steps of training."""
    measured = [entry for entry in ended(entries) if _probes(entry)]
    drawn, most, note = thin_curves(measured, lambda entry: entry.panel_of_length)
    return rows_of(entries, [row for entry in drawn for row in _rows(entry, most)], note)


def draw_over_training(rows: Rows) -> alt.FacetChart:
    """Return a panel for the loss and for each figure; steps on a logarithmic axis from 0 on."""
    look = Looks(rows, "cell", "shape")
    x, y, low = _steps(rows), _axis("y"), _axis("low")
    tips = tooltips(("step", "training step"), ("y", "value"))
    loss, figure = part("loss"), part("figure")
    layers = [
        rule_across("level", y),
        *(layer for each in (loss, figure) for layer in bands(rows, each, x, low, look.colour)),
        *(each.mark_line().encode(x=x, y=y, tooltip=tips, **look.line) for each in (loss, figure)),
        figure.mark_point(filled=True, size=40).encode(x=x, y=y, tooltip=tips, **look.point),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _steps(rows: Rows) -> alt.X:
    """Return the axis of steps, logarithmic from the first step that probes measured."""
    figures = [row["step"] for row in rows if row["part"] == "figure" and row["step"] > 0]
    first, last = min(figures, default=1), max(figures, default=1)
    ticks = [0]
    while (tick := first * 10 ** (len(ticks) - 1)) <= last:
        ticks.append(tick)
    scale = alt.Scale(type="symlog", constant=first, domainMin=0, nice=False)
    axis = alt.Axis(values=ticks, grid=False, format=",d")
    return alt.X("step:Q", title="training step", scale=scale, axis=axis)


def _axis(field: str) -> alt.Y:
    axis = alt.Axis(tickCount=5, minExtent=EXTENT, maxExtent=EXTENT)
    scale = alt.Scale(zero=False, nice=False, padding=8)
    return alt.Y(f"{field}:Q", title=None, axis=axis, scale=scale)


def _probes(entry: Labelled) -> dict[str, list[Probed]]:
    """Return probe -> what it measured of each seed over training."""
    by_probe: dict[str, list[Probed]] = {}
    for seed in outcomes_of(entry.record):
        for name, result in probed(seed.details).items():
            if result.over_training:
                by_probe.setdefault(name, []).append(result)
    return by_probe


def _rows(entry: Labelled, most: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a network: at most ``most`` points of each line."""
    yield from evenly_chosen(list(_loss(entry)), most)
    baseline = entry.study.baseline(entry.record.trial.length)
    if baseline is not None:
        panel = _panel(entry, LOSS)
        yield {**_of(reference_row(entry, "level", panel, "cell"), panel), "y": short(baseline)}
    for name, results in _probes(entry).items():
        curves = [result.over_training for result in results]
        figure = next((figure for figure in curves[0] if _is_known(curves, figure)), None)
        if figure is None:
            continue
        panel = _panel(entry, f"{name}.{figure}")
        series_of_seeds = [each[figure] for each in curves if figure in each]
        yield from evenly_chosen(list(_figure(entry, panel, series_of_seeds)), most)
        level = _level(results, figure)
        if level is not None:
            yield {**_of(reference_row(entry, "level", panel, "cell"), panel), "y": level}


def _is_known(curves: Sequence[Curves], figure: str) -> bool:
    values_of_seeds = [each[figure].values for each in curves if figure in each]
    return any(value is not None for values in values_of_seeds for value in values)


def _level(results: Sequence[Probed], figure: str) -> float | None:
    """Return the value to compare with: chance, if the probe has a figure of that name, or 0."""
    chances = over_seeds([result.figures.get(f"chance_{figure}") for result in results])
    return 0.0 if figure == EDGE else chances["y"]


def _figure(entry: Labelled, panel: Panel, curves: Sequence[Curve]) -> Iterator[dict[str, Any]]:
    of_seeds = [dict(zip(curve.at, curve.values, strict=True)) for curve in curves]
    for step in sorted({step for points in of_seeds for step in points}):
        values = [points[step] for points in of_seeds if points.get(step) is not None]
        if values:
            row = {**entry.common, "part": "figure", "step": step, **over_seeds(values)}
            yield _of(row, panel)


def _loss(entry: Labelled) -> Iterator[dict[str, Any]]:
    """Yield the means of the training loss over ever more steps."""
    panel = _panel(entry, LOSS)
    losses = [series(seed.curves.get("loss")) for seed in outcomes_of(entry.record)]
    longest, first = max(map(len, losses), default=0), 0
    while first < longest:
        last = min(longest, max(first + 1, round(GROWTH * first)))
        parts = [[x for x in loss[first:last] if x is not None] for loss in losses]
        row = {**entry.common, "part": "loss", "step": last}
        band = over_seeds([fmean(values) if values else None for values in parts])
        if band["y"] is not None:
            yield _of({**row, **band, "y": short(band["y"])}, panel)
        first = last


def _panel(entry: Labelled, aspect: str) -> Panel:
    return Panel(entry.by_task, entry.record.trial.length, aspect)


def _of(row: Mapping[str, Any], panel: Panel) -> dict[str, Any]:
    """Return a row in a panel whose vertical axis is its own."""
    return {**row, "panel": panel, "scale": f"{row['task']} {panel.length} {panel.aspect}"}
