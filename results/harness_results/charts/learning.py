"""Who learns: validation loss against T, and losses over training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import altair as alt

from harness.contract.records.record import Record
from harness_results.charts.data import Rows, buckets, ends
from harness_results.charts.marks import (
    Looks,
    against_length,
    corner,
    length,
    logarithmic,
    panels,
    part,
    reference,
    rule_across,
    told,
)
from harness_results.charts.panels import Group, Panel, rows_of
from harness_results.charts.series import (
    Labelled,
    figure,
    kept_curves,
    kept_lines,
    known,
    labelled,
    nobody,
)
from harness_results.study.curves import evaluations, points, series
from harness_results.study.tables.pivot import SOLVED, agreed, baseline_at

ZERO = "datum.value ? datum.label : '0'"  # which "~s" writes as 0k beside 1k
STEP = alt.X(
    "step:Q",
    title="training step",
    axis=alt.Axis(grid=False, format="~s", tickCount=5, labelExpr=ZERO),
)


def loss(records: Sequence[Record]) -> Rows:
    """Return the validation loss of every trial that ended well, and baseline and floor where records agree on them."""
    ended = (one for one in labelled(records) if one.record.status == "ok")
    kept, note = kept_lines(one for one in ended if figure(one.record, "loss_validation"))
    return rows_of(records, [*map(_validation, kept), *_references(kept)], note)


def draw_loss(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, their points filled where solved, and the two references."""
    look, x, y = (
        Looks(rows, "cell", "shape"),
        length(rows),
        logarithmic("validation loss", form=".4~g"),
    )
    tips = [
        *told(("y", "validation loss"), ("ratio", "x baseline")),
        alt.Tooltip("mark:N", title="solved"),
    ]
    layers = [
        *reference("baseline", x, y),
        *reference("floor", x, y),
        *against_length(rows, look, y, tips, filled="datum.mark != null"),
        corner(part("words")),
    ]
    return panels(layers, rows, y=y)


def loss_curves(records: Sequence[Record]) -> Rows:
    """Return the training loss over the steps, the mean of each stretch, and the validation losses on the way."""
    kept, most, note = kept_curves(
        one for one in labelled(records) if points(one.record.curves.get("loss"))
    )
    rows = [row for one in kept for row in (*_training(one, most), *_evaluations(one, most))]
    return rows_of(records, [*rows, *_baselines(kept)], note)


def draw_loss_curves(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, points where validated, and the baseline."""
    look, y = Looks(rows, "cell", "shape"), logarithmic("loss", form=".4~g")
    lines, points = (
        part("training").mark_line(),
        part("validation").mark_point(filled=True, size=40, opacity=1),
    )
    tips = told(("step", "step"), ("y", "loss"))
    layers = [
        rule_across("baseline", y),
        lines.encode(x=STEP, y=y, tooltip=tips, **look.line),
        points.encode(x=STEP, y=y, tooltip=tips, **look.point),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _validation(one: Labelled) -> dict[str, Any]:
    told_of = {"y": known(one.record, "loss_validation"), "ratio": known(one.record, "loss_ratio")}
    mark = SOLVED if one.record.figures.get("solved") else None
    return {**one.common, "part": "measured", "panel": Panel(one.by_task), **told_of, "mark": mark}


def _references(found: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield baseline and floor of each panel by length; a floor of zero has no place on the axis, and is named."""
    for group, members in _groups(found).items():
        records = [one.record for one in members]
        lengths = sorted({record.trial.length for record in records})
        baselines = {n: baseline_at(n, records) for n in lengths}
        floors = {n: agreed("loss_floor", n, records) for n in lengths}
        for name, values in (("baseline", baselines), ("floor", floors)):
            row = nobody(members[0], name, Panel(group), "cell")
            drawn = {n: value for n, value in values.items() if value}
            for n, value in drawn.items():
                yield row | {"length": n, "y": value, "alone": len(drawn) == 1}
            if not drawn and 0 in values.values():
                yield row | {"part": "words", "y": None, "label": f"{name}: 0"}


def _training(one: Labelled, most: int) -> Iterator[dict[str, Any]]:
    values = series(one.record.curves.get("loss"))
    for step, value in zip(ends(len(values), most), buckets(values, most, fmean), strict=True):
        if value is not None and value > 0:
            yield {**_of_curve(one, "training"), "step": step, "y": value}


def _evaluations(one: Labelled, most: int) -> Iterator[dict[str, Any]]:
    found = [
        (step, value)
        for step, value in evaluations(one.record.curves.get("evaluations"))
        if value > 0
    ]
    apart = max(1, -(-len(found) // max(1, most // 4)))
    for step, value in [*found[:-1:apart], *found[-1:]]:
        yield {**_of_curve(one, "validation"), "step": step, "y": value}


def _of_curve(one: Labelled, name: str) -> dict[str, Any]:
    return {**one.common, "part": name, "panel": Panel(one.by_task, one.record.trial.length)}


def _baselines(found: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    for group, members in _groups(found).items():
        records = [one.record for one in members]
        for n in sorted({record.trial.length for record in records}):
            value = baseline_at(n, records)
            if value:
                row = nobody(members[0], "baseline", Panel(group, n), "cell")
                yield row | {"length": n, "y": value}


def _groups(found: Sequence[Labelled]) -> dict[Group, list[Labelled]]:
    groups: dict[Group, list[Labelled]] = {}
    for one in found:
        groups.setdefault(one.by_task, []).append(one)
    return groups
