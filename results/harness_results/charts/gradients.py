"""How far gradients reach back at each T, and how large they are over training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import altair as alt

from harness.contract.records.record import Record
from harness_results.charts.data import Rows, buckets, ends
from harness_results.charts.learning import STEP
from harness_results.charts.marks import (
    Looks,
    against_length,
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
from harness_results.study.curves import points, series
from harness_results.study.findings import VANISHING_FRACTION, is_censored, is_exploding

BOUNDS = {"whole": (1.0, "T"), "half": (VANISHING_FRACTION, "T/2")}


def horizon(records: Sequence[Record]) -> Rows:
    """Return the gradient horizon of every trial that ended well, and the length itself and its half."""
    ended = (
        one for one in labelled(records) if one.record.status == "ok"
    )  # of others it is that of the start
    kept, note = kept_lines(one for one in ended if figure(one.record, "gradient_horizon"))
    return rows_of(records, [*map(_horizon, kept), *_bounds(kept)], note)


def draw_horizon(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, their points hollow where the gradient never fell so far."""
    look, x, y = (
        Looks(rows, "cell", "shape"),
        length(rows),
        logarithmic("horizon, time steps", form=".4~g"),
    )
    tips = told(("y", "horizon"), ("decay", "factor per step"))
    tips += [alt.Tooltip("mark:N", title="beyond"), alt.Tooltip("exploding:N", title="exploding")]
    arrows = (
        part("measured")
        .transform_filter("datum.exploding !== null")
        .mark_text(dy=-12, fontWeight="bold")
    )
    layers = [
        *reference("whole", x, y),
        *reference("half", x, y),
        *against_length(rows, look, y, tips, filled="datum.mark == null"),
        arrows.encode(x=x, y=y, text="exploding:N", **look.colour),
    ]
    return panels(layers, rows, y=y)


def norm(records: Sequence[Record]) -> Rows:
    """Return the gradient norm over the steps: of each stretch the median, the smallest and the largest."""
    kept, most, note = kept_curves(
        one for one in labelled(records) if points(one.record.curves.get("gradient_norm"))
    )
    rows = [row for one in kept for row in _norms(one, most)]
    return rows_of(records, [*rows, *_clips(kept)], note)


def draw_norm(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, a band from the smallest to the largest, and the norm from which on it is clipped."""
    look = Looks(rows, "cell", "dash")
    y, low = (logarithmic("gradient norm", form=".4~g", field=field) for field in ("y", "low"))
    tips = told(("step", "step"), ("y", "median"), ("low", "smallest"), ("high", "largest"))
    band = part("norm").mark_area(opacity=0.15)
    layers = [
        rule_across("clip", y),
        band.encode(x=STEP, y=low, y2="high:Q", detail="series:N", **look.colour),
        part("norm").mark_line().encode(x=STEP, y=y, tooltip=tips, **look.line),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _horizon(one: Labelled) -> dict[str, Any]:
    reach, decay = known(one.record, "gradient_horizon"), known(one.record, "gradient_decay")
    row = {**one.common, "part": "measured", "panel": Panel(one.by_task)}
    marks = {
        "mark": ">" if is_censored(one.record) else None,
        "exploding": "↑" if is_exploding(one.record) else None,
    }
    return row | {"y": reach, "decay": decay, **marks}


def _bounds(found: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield, in each panel, the length and the part of it below which a gradient counts as vanishing."""
    groups: dict[Group, dict[int, Labelled]] = {}
    for one in found:
        groups.setdefault(one.by_task, {})[one.record.trial.length] = one
    for group, lengths in groups.items():
        for name, (fraction, words) in BOUNDS.items():
            for n, one in sorted(lengths.items()):
                row = nobody(one, name, Panel(group), "cell") | {"network": words}
                yield row | {"y": fraction * n, "alone": len(lengths) == 1}


def _norms(one: Labelled, most: int) -> Iterator[dict[str, Any]]:
    values = series(one.record.curves.get("gradient_norm"))
    stretches = (buckets(values, most, of) for of in (median, min, max))
    panel = Panel(one.by_task, one.record.trial.length)
    for step, middle, low, high in zip(ends(len(values), most), *stretches, strict=True):
        if middle is not None and middle > 0:
            row = {**one.common, "part": "norm", "panel": panel, "step": step, "y": middle}
            yield row | {"low": low if low and low > 0 else None, "high": high}


def _clips(found: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield the norm from which on gradients are clipped, where all of a panel share it."""
    members: dict[Panel, list[Labelled]] = {}
    for one in found:
        members.setdefault(Panel(one.by_task, one.record.trial.length), []).append(one)
    for panel, several in members.items():
        clips = {one.record.trial.clip_norm for one in several}
        if len(clips) == 1 and None not in clips:
            clip = clips.pop()
            yield nobody(several[0], "clip", panel, "cell") | {"y": clip}
