"""Throughput and the time of a step against T, and what compiling costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from harness.contract.records.record import Record
from harness_results.charts.data import Rows
from harness_results.charts.marks import (
    Looks,
    against_length,
    edge,
    length_axis,
    logarithmic,
    panels,
    part,
    reference,
    tooltips,
)
from harness_results.charts.panels import Group, Panel
from harness_results.charts.series import (
    Labelled,
    drawn_lines,
    ended,
    measured,
    reference_row,
    rows_of,
)
from harness_results.study.break_even import break_even
from harness_results.study.scaling import Scaling, scaling, time_steps
from harness_results.study.study import studies
from harness_results.study.tables.relative import least_seconds

LIMITS = {
    "serial": ("fraction_of_serial_limit", "serial limit"),
    "peak": ("fraction_of_peak", "all at the rate of large products"),
}
BETWEEN = 4  # points of a fitted line from one length to the next
COSTS = ("compiling, seconds", "steps until it has paid")


def throughput(entries: Sequence[Labelled]) -> Rows:
    """Return the throughput of every trial that ended ok, and the limits of its network."""
    drawn, note = drawn_lines(
        entry for entry in ended(entries) if entry.figure("tokens_per_second")
    )
    return rows_of(entries, [*map(_throughput, drawn), *_limits(drawn)], note)


def draw_throughput(rows: Rows) -> alt.FacetChart:
    """Return lines by engine with their intervals, and the two limits."""
    look, x = Looks(rows, "engine", "shape"), length_axis(rows)
    y, low = (logarithmic("tokens per second", field=field) for field in ("y", "low"))
    tips = tooltips(("y", "tokens/s"), ("low", "from"), ("high", "to"))
    intervals = part("measured").mark_rule(strokeWidth=1.5)
    layers = [
        *reference("serial", x, y),
        *reference("peak", x, y),
        intervals.encode(x=x, y=low, y2="high:Q", **look.colour),
        *against_length(rows, look, y, tips),
    ]
    return panels(layers, rows, y=y)


def step_time(entries: Sequence[Labelled]) -> Rows:
    """Return the median seconds of a step of every trial that ended ok, and the fits."""
    drawn, note = drawn_lines(
        entry for entry in ended(entries) if entry.figure("step_seconds_median")
    )
    rows = [measured(entry, "step_seconds_median") for entry in drawn]
    by_record = {id(entry.record): entry for entry in drawn}
    for study in studies(entry.record for entry in entries):
        for fit in scaling(study.records):
            entry = by_record.get(id(fit.records[0]))
            rows += _fit(entry, fit) if entry else []
    return rows_of(entries, rows, note)


def draw_step_time(rows: Rows) -> alt.FacetChart:
    """Return points by engine, and the line a + b t through them."""
    look, x = Looks(rows, "engine", "shape"), length_axis(rows)
    y = logarithmic("seconds per step", form=".4~g")
    tips = tooltips(("y", "seconds per step"))
    fit_tips = tooltips(("a", "a, seconds per step"), ("b", "b, seconds per time step"))
    line = part("fit").mark_line()
    points = part("measured").mark_point(filled=True, size=55, opacity=1)
    layers = [
        line.encode(x=length_axis(rows, "at"), y=y, tooltip=fit_tips, **look.line),
        points.encode(x=x, y=y, tooltip=tips, **look.point),
    ]
    return panels(layers, rows, y=y)


def compiling(entries: Sequence[Labelled]) -> Rows:
    """Return the seconds of compiling of every engine that compiles, and when it has paid."""
    candidates = ended(entries)
    drawn, note = drawn_lines(entry for entry in candidates if entry.figure("compile_seconds"))
    rivals: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for entry in candidates:
        rivals[_network_at_length(entry)].append(entry.record)
    costs = [measured(entry, "compile_seconds", COSTS[0]) for entry in drawn]
    paid = [row for entry in drawn for row in _paid(entry, rivals[_network_at_length(entry)])]
    return rows_of(entries, [*costs, *paid], note)


def draw_compiling(rows: Rows) -> alt.FacetChart:
    """Return lines by engine: what compiling costs (left), and when it has paid (right)."""
    look, x = Looks(rows, "engine", "shape"), length_axis(rows)
    y = logarithmic("", form=",.4~r")
    tips = [*tooltips(("y", "seconds or steps")), alt.Tooltip("against:N", title="against")]
    edges = [*edge("top", x, look, tips), *edge("bottom", x, look, tips)]
    return panels(
        [*against_length(rows, look, y, tips), *edges], rows, y=y, columns=2, shared="panel"
    )


def _network_at_length(entry: Labelled) -> tuple[str, str, int]:
    return entry.record.trial.task, entry.network, entry.record.trial.length


def _throughput(entry: Labelled) -> dict[str, Any]:
    low, high = (entry.figure(f"tokens_per_second_{end}") for end in ("low", "high"))
    return {**measured(entry, "tokens_per_second"), "low": low, "high": high}


def _limits(entries: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield one row per panel, limit and length."""
    groups: dict[Group, dict[int, list[Labelled]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        groups[entry.by_network][entry.record.trial.length].append(entry)
    for group, lengths in groups.items():
        for name, (fraction, words) in LIMITS.items():
            limits = {n: _limit(lengths[n], fraction) for n in sorted(lengths)}
            rates = {n: rate for n, rate in limits.items() if rate is not None}
            for n, rate in rates.items():
                row = reference_row(lengths[n][0], name, Panel(group), "engine")
                yield row | {"network": words, "y": rate, "alone": len(rates) == 1}


def _limit(entries: Sequence[Labelled], fraction: str) -> float | None:
    """Return the tokens per second that the limit allows one network at one length."""
    records = [entry.record for entry in entries]
    least = least_seconds(records, fraction)
    steps = next(filter(None, map(time_steps, records)), None)
    return steps * records[0].trial.batch / least if least and steps else None


def _fit(entry: Labelled, fit: Scaling) -> Iterator[dict[str, Any]]:
    """Yield the fitted line as rows of the network's engine: at each length, and between."""
    a, b = fit.step_overhead_seconds.value, fit.time_step_seconds.value
    points = [
        (float(record.trial.length), float(t))
        for record, t in zip(fit.records, fit.time_steps, strict=True)
    ]
    line = [
        (n + (next_n - n) * share / BETWEEN, t + (next_t - t) * share / BETWEEN)
        for (n, t), (next_n, next_t) in pairwise(points)
        for share in range(BETWEEN)
    ]
    row = {**entry.common, "length": None, "part": "fit", "panel": Panel(entry.by_network)}
    for n, t in [*line, points[-1]]:
        if a + b * t > 0:
            yield row | {"at": n, "y": a + b * t, "a": a, "b": b}


def _paid(entry: Labelled, rivals: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Yield the steps until compiling has paid.

    "never" and "at once" are written at the ends of the axis, because a logarithmic axis cannot
    show them.
    """
    paid = break_even(entry.record, [record for record in rivals if record is not entry.record])
    if paid is None:
        return
    panel = Panel(entry.by_network, aspect=COSTS[1])
    row = {**entry.common, "panel": panel, "against": paid.against}
    if math.isinf(paid.steps):
        yield row | {"part": "top", "y": None, "label": "never"}
    elif paid.steps < 1:
        yield row | {"part": "bottom", "y": None, "label": "at once"}
    else:
        yield row | {"part": "measured", "y": paid.steps}
