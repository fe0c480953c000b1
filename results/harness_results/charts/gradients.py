"""How far gradients reach back at each T, and how large they are over training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import altair as alt

from harness_results.charts.bands import over_seeds
from harness_results.charts.data import Rows, buckets, ends
from harness_results.charts.learning import STEP
from harness_results.charts.marks import (
    Looks,
    against_length,
    bands_against_length,
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
from harness_results.study.curves import series
from harness_results.study.findings import VANISHING_FRACTION, is_censored, is_exploding
from harness_results.study.seeds.summary import outcomes_of

BOUNDS = {"whole": (1.0, "T"), "half": (VANISHING_FRACTION, "T/2")}


def horizon(entries: Sequence[Labelled]) -> Rows:
    """Return the gradient horizon of every trial that ended ok, and the lines T and T/2.

    A trial that did not end ok has the horizon of the start only.
    """
    drawn, note = drawn_lines(entry for entry in ended(entries) if entry.figure("gradient_horizon"))
    return rows_of(entries, [*map(_horizon, drawn), *_bounds(drawn)], note)


def draw_horizon(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, their points hollow if the gradient never fell below 1 %."""
    look, x = Looks(rows, "cell", "shape"), length_axis(rows)
    y = logarithmic("horizon, time steps", form=".4~g")
    tips = tooltips(("y", "horizon"), ("decay", "factor per step"))
    tips += [alt.Tooltip("mark:N", title="beyond"), alt.Tooltip("exploding:N", title="exploding")]
    exploding = part("measured").transform_filter("datum.exploding !== null")
    arrows = exploding.mark_text(dy=-12, fontWeight="bold")
    low = logarithmic("horizon, time steps", form=".4~g", field="low")
    layers = [
        *reference("whole", x, y),
        *reference("half", x, y),
        *bands_against_length(rows, look, x, low),
        *against_length(rows, look, y, tips, filled="datum.mark == null"),
        arrows.encode(x=x, y=y, text="exploding:N", **look.colour),
    ]
    return panels(layers, rows, y=y)


def norm(entries: Sequence[Labelled]) -> Rows:
    """Return the gradient norm over the steps: median, smallest and largest of each bucket."""
    drawn, most, note = drawn_curves(entries, "gradient_norm", "gradient_norm_median")
    rows = [row for entry in drawn for row in _norms(entry, most)]
    return rows_of(entries, [*rows, *_clips(drawn)], note)


def draw_norm(rows: Rows) -> alt.FacetChart:
    """Return lines by cell, a band from smallest to largest, and the norm that is clipped."""
    look = Looks(rows, "cell", "dash")
    y, low = (logarithmic("gradient norm", form=".4~g", field=field) for field in ("y", "low"))
    tips = tooltips(("step", "step"), ("y", "median"), ("low", "smallest"), ("high", "largest"))
    band = part("norm").mark_area(opacity=0.15)
    layers = [
        rule_across("clip", y),
        band.encode(x=STEP, y=low, y2="high:Q", detail="series:N", **look.colour),
        part("norm").mark_line().encode(x=STEP, y=y, tooltip=tips, **look.line),
    ]
    return panels(layers, rows, y=y, free=("x", "y"))


def _horizon(entry: Labelled) -> dict[str, Any]:
    horizons = [value for value in entry.of_seeds("gradient_horizon") if value is not None]
    return {
        **entry.common,
        **over_seeds(horizons),
        "part": "measured",
        "panel": Panel(entry.by_task),
        "y": entry.figure("gradient_horizon"),
        "decay": entry.figure("gradient_decay"),
        "mark": ">" if is_censored(entry.record) else None,
        "exploding": "↑" if is_exploding(entry.record) else None,
    }


def _bounds(entries: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield, for each panel, T and the fraction of it below which a gradient is vanishing."""
    groups: dict[Group, dict[int, Labelled]] = defaultdict(dict)
    for entry in entries:
        groups[entry.by_task][entry.record.trial.length] = entry
    for group, lengths in groups.items():
        for name, (fraction, words) in BOUNDS.items():
            for n, entry in sorted(lengths.items()):
                row = reference_row(entry, name, Panel(group), "cell") | {"network": words}
                yield row | {"y": fraction * n, "alone": len(lengths) == 1}


def _norms(entry: Labelled, most: int) -> Iterator[dict[str, Any]]:
    """Yield the median of each bucket of steps, of several seeds the median of theirs."""
    seeds = [series(seed.curves.get("gradient_norm")) for seed in outcomes_of(entry.record)]
    longest = max(map(len, seeds))
    whole = [[*curve, *[None] * (longest - len(curve))] for curve in seeds]
    reduced = [
        _over([buckets(curve, most, reduce) for curve in whole], reduce)
        for reduce in (median, min, max)
    ]
    for step, middle, low, high in zip(ends(longest, most), *reduced, strict=True):
        if middle is not None and middle > 0:
            smallest = low if low is not None and low > 0 else None
            row = {**entry.common, "part": "norm", "panel": entry.panel_of_length}
            yield row | {"step": step, "y": middle, "low": smallest, "high": high}


def _over(
    curves: Sequence[Sequence[float | None]], reduce: Callable[[Sequence[float]], float]
) -> list[float | None]:
    """Return the curves of all seeds as one; a seed that diverged counts until then."""
    values_by_step = [
        [value for value in values if value is not None] for values in zip(*curves, strict=True)
    ]
    return [reduce(values) if values else None for values in values_by_step]


def _clips(entries: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield the norm above which gradients are clipped, if all records of a panel share it."""
    members: dict[Panel, list[Labelled]] = defaultdict(list)
    for entry in entries:
        members[entry.panel_of_length].append(entry)
    for panel, group in members.items():
        clips = {entry.record.trial.clip_norm for entry in group}
        if len(clips) == 1 and None not in clips:
            yield reference_row(group[0], "clip", panel, "cell") | {"y": clips.pop()}
