"""Which cells learn: validation loss against T, and losses over training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import altair as alt

from harness_results.charts.bands import bands, over_seeds
from harness_results.charts.data import Rows, buckets, ends
from harness_results.charts.marks import (
    Looks,
    against_length,
    bands_against_length,
    corner,
    length_axis,
    logarithmic,
    panels,
    part,
    reference,
    rule_across,
    tooltips,
)
from harness_results.charts.panels import Group, Panel
from harness_results.charts.series import (
    Labelled,
    drawn_curves,
    drawn_lines,
    ended,
    reference_row,
    rows_of,
)
from harness_results.study.curves import evaluations, series
from harness_results.study.findings import shared_baseline_name
from harness_results.study.seeds.summary import outcomes_of
from harness_results.study.study import Study
from harness_results.study.tables.pivot import SOLVED

ZERO = "datum.value ? datum.label : '0'"  # "~s" would write it as 0k if other ticks are 1k
STEP = alt.X(
    "step:Q",
    title="training step",
    axis=alt.Axis(grid=False, format="~s", tickCount=5, labelExpr=ZERO),
)


def loss(entries: Sequence[Labelled]) -> Rows:
    """Return the validation loss of every trial that ended ok, and baseline and floor.

    A baseline or floor is drawn if the records agree on it.
    """
    drawn, note = drawn_lines(entry for entry in ended(entries) if entry.figure("loss_validation"))
    rows = rows_of(entries, [*map(_validation, drawn), *_references(drawn)], note)
    return replace(rows, baseline=_baseline_name(drawn))


def draw_loss(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, their points filled if solved, and the two references."""
    look, x = Looks(rows, "cell", "shape"), length_axis(rows)
    y = logarithmic("validation loss", form=".4~g")
    tips = tooltips(("y", "validation loss"), ("ratio", f"x {rows.baseline}"))
    tips.append(alt.Tooltip("mark:N", title="solved"))
    low = logarithmic("validation loss", form=".4~g", field="low")
    layers = [
        *reference("baseline", x, y),
        *reference("floor", x, y),
        *bands_against_length(rows, look, x, low),
        *against_length(rows, look, y, tips, filled="datum.mark != null"),
        corner(part("words")),
    ]
    return panels(layers, rows, y=y)


def loss_curves(entries: Sequence[Labelled]) -> Rows:
    """Return the training loss over the steps (means of buckets) and the validation losses."""
    drawn, most, note = drawn_curves(entries, "loss", "loss_validation")
    rows: list[dict[str, Any]] = []
    for entry in drawn:
        rows += [*_training(entry, most), *_evaluations(entry, most)]
    with_baselines = rows_of(entries, [*rows, *_baselines(drawn)], note)
    return replace(with_baselines, baseline=_baseline_name(drawn))


def draw_loss_curves(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, points at validations, and the baseline."""
    look, y = Looks(rows, "cell", "shape"), logarithmic("loss", form=".4~g")
    tips = tooltips(("step", "step"), ("y", "loss"))
    lines = part("training").mark_line()
    dots = part("validation").mark_point(filled=True, size=40, opacity=1)
    low = logarithmic("loss", form=".4~g", field="low")
    layers = [
        rule_across("baseline", y),
        *bands(rows, part("training"), STEP, low, look.colour),
        lines.encode(x=STEP, y=y, tooltip=tips, **look.line),
        dots.encode(x=STEP, y=y, tooltip=tips, **look.point),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _validation(entry: Labelled) -> dict[str, Any]:
    return {
        **entry.common,
        "part": "measured",
        "panel": Panel(entry.by_task),
        **over_seeds(entry.of_seeds("loss_validation")),
        "ratio": entry.figure("loss_ratio"),
        "mark": SOLVED if entry.record.figures.get("solved") else None,
    }


def _references(entries: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield baseline and floor of each panel by length.

    A floor of zero is written as words, because a logarithmic axis cannot show it.
    """
    for group, members in _groups(entries).items():
        study = Study([entry.record for entry in members])
        baselines = {n: study.baseline(n) for n in study.lengths}
        floors = {n: study.floor(n) for n in study.lengths}
        for name, values in (("baseline", baselines), ("floor", floors)):
            row = reference_row(members[0], name, Panel(group), "cell")
            drawn = {n: value for n, value in values.items() if value}
            for n, value in drawn.items():
                yield row | {"length": n, "y": value, "alone": len(drawn) == 1}
            if not drawn and 0 in values.values():
                yield row | {"part": "words", "y": None, "label": f"{name}: 0"}


def _training(entry: Labelled, most: int) -> Iterator[dict[str, Any]]:
    curves = [series(seed.curves.get("loss")) for seed in outcomes_of(entry.record)]
    longest = max(map(len, curves))  # a seed that diverged has a shorter curve
    whole = [[*curve, *[None] * (longest - len(curve))] for curve in curves]
    means = [buckets(curve, most, fmean) for curve in whole]
    for step, *values in zip(ends(longest, most), *means, strict=True):
        band = over_seeds(values)
        if band["y"] is not None and min(band.values()) > 0:
            yield {**_of_curve(entry, "training"), "step": step, **band}


def _evaluations(entry: Labelled, most: int) -> Iterator[dict[str, Any]]:
    curves = [
        dict(evaluations(seed.curves.get("evaluations"))) for seed in outcomes_of(entry.record)
    ]
    steps = sorted({step for curve in curves for step in curve})
    losses = [(step, over_seeds([curve.get(step) for curve in curves])["y"]) for step in steps]
    positive = [(step, value) for step, value in losses if value is not None and value > 0]
    stride = max(1, -(-len(positive) // max(1, most // 4)))
    for step, value in [*positive[:-1:stride], *positive[-1:]]:
        yield {**_of_curve(entry, "validation"), "step": step, "y": value}


def _of_curve(entry: Labelled, name: str) -> dict[str, Any]:
    return {**entry.common, "part": name, "panel": entry.panel_of_length}


def _baselines(entries: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    for group, members in _groups(entries).items():
        study = Study([entry.record for entry in members])
        for n in study.lengths:
            value = study.baseline(n)
            if value:
                row = reference_row(members[0], "baseline", Panel(group, n), "cell")
                yield row | {"length": n, "y": value}


def _baseline_name(entries: Iterable[Labelled]) -> str:
    return shared_baseline_name(entry.record for entry in entries)


def _groups(entries: Sequence[Labelled]) -> dict[Group, list[Labelled]]:
    groups: dict[Group, list[Labelled]] = defaultdict(list)
    for entry in entries:
        groups[entry.by_task].append(entry)
    return groups
