"""Throughput and the time of a step against T, and what compiling costs."""

from __future__ import annotations

import math
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
    length,
    logarithmic,
    panels,
    part,
    reference,
    told,
)
from harness_results.charts.panels import Group, Panel, rows_of
from harness_results.charts.series import (
    Labelled,
    figure,
    kept_lines,
    known,
    labelled,
    measured,
    nobody,
)
from harness_results.study.break_even import break_even
from harness_results.study.scaling import Scaling, scaling, time_steps
from harness_results.study.tables.pivot import by_task
from harness_results.study.tables.relative import least_seconds

LIMITS = {
    "serial": ("fraction_of_serial_limit", "serial limit"),
    "peak": ("fraction_of_peak", "all at the rate of large products"),
}
BETWEEN = 4  # points of a fitted line from one length to the next
COSTS = ("compiling, seconds", "paid after so many steps")


def throughput(records: Sequence[Record]) -> Rows:
    """Return the throughput of every trial that ended well, and the limits of its network and length."""
    kept, note = kept_lines(
        one for one in _ended(records) if figure(one.record, "tokens_per_second")
    )
    return rows_of(records, [*map(_throughput, kept), *_limits(kept)], note)


def draw_throughput(rows: Rows) -> alt.FacetChart:
    """Return lines by engine with their intervals, and the two limits."""
    look, x = Looks(rows, "engine", "shape"), length(rows)
    y, low = (logarithmic("tokens per second", field=field) for field in ("y", "low"))
    tips = told(("y", "tokens/s"), ("low", "from"), ("high", "to"))
    layers = [
        *reference("serial", x, y),
        *reference("peak", x, y),
        part("measured").mark_rule(strokeWidth=1.5).encode(x=x, y=low, y2="high:Q", **look.colour),
        *against_length(rows, look, y, tips),
    ]
    return panels(layers, rows, y=y)


def step_time(records: Sequence[Record]) -> Rows:
    """Return the median seconds of a step of every trial that ended well, and the fits of the scaling table."""
    kept, note = kept_lines(
        one for one in _ended(records) if figure(one.record, "step_seconds_median")
    )
    by_record = {id(one.record): one for one in kept}
    fits = [
        one for task in by_task(records) for one in scaling(task) if id(one.records[0]) in by_record
    ]
    lines = (row for one in fits for row in _fit(by_record[id(one.records[0])], one))
    return rows_of(records, [*(measured(one, "step_seconds_median") for one in kept), *lines], note)


def draw_step_time(rows: Rows) -> alt.FacetChart:
    """Return points by engine, and the line a + b t through them."""
    look, x, y = (
        Looks(rows, "engine", "shape"),
        length(rows),
        logarithmic("seconds per step", form=".4~g"),
    )
    tips = told(("y", "seconds per step"))
    fits = told(("a", "a, seconds per step"), ("b", "b, seconds per time step"))
    layers = [
        part("fit").mark_line().encode(x=length(rows, "at"), y=y, tooltip=fits, **look.line),
        part("measured")
        .mark_point(filled=True, size=55, opacity=1)
        .encode(x=x, y=y, tooltip=tips, **look.point),
    ]
    return panels(layers, rows, y=y)


def compiling(records: Sequence[Record]) -> Rows:
    """Return the seconds of compiling of every engine that compiles, and the steps after which they are paid for."""
    ended = list(_ended(records))
    kept, note = kept_lines(one for one in ended if figure(one.record, "compile_seconds"))
    rivals: dict[tuple[str, str, int], list[Record]] = {}
    for one in ended:
        rivals.setdefault(_place(one), []).append(one.record)
    paid = (row for one in kept for row in _paid(one, rivals[_place(one)]))
    costs = (measured(one, "compile_seconds", COSTS[0]) for one in kept)
    return rows_of(records, [*costs, *paid], note)


def draw_compiling(rows: Rows) -> alt.FacetChart:
    """Return lines by engine: what compiling costs, and beside it when it has paid."""
    look, y = Looks(rows, "engine", "shape"), logarithmic("", form=",.4~r")
    tips = told(("y", "seconds or steps"))
    against = [*tips, alt.Tooltip("against:N", title="against")]
    edges = [
        *edge("top", length(rows), look, against),
        *edge("bottom", length(rows), look, against),
    ]
    return panels([*against_length(rows, look, y, against), *edges], rows, y=y, columns=2)


def _ended(records: Sequence[Record]) -> Iterator[Labelled]:
    return (one for one in labelled(records) if one.record.status == "ok")


def _place(one: Labelled) -> tuple[str, str, int]:
    return one.record.trial.task, one.network, one.record.trial.length


def _throughput(one: Labelled) -> dict[str, Any]:
    low, high = (known(one.record, f"tokens_per_second_{end}") for end in ("low", "high"))
    return {**measured(one, "tokens_per_second"), "low": low, "high": high}


def _limits(found: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield one row per panel, length and limit, of no engine."""
    places: dict[Group, dict[int, list[Labelled]]] = {}
    for one in found:
        places.setdefault(one.by_network, {}).setdefault(one.record.trial.length, []).append(one)
    for group, lengths in places.items():
        for name, (fraction, words) in LIMITS.items():
            rates = {
                n: rate
                for n in sorted(lengths)
                if (rate := _rate(lengths[n], fraction)) is not None
            }
            for n, rate in rates.items():
                row = nobody(lengths[n][0], name, Panel(group), "engine")
                yield row | {"network": words, "y": rate, "alone": len(rates) == 1}


def _rate(found: Sequence[Labelled], fraction: str) -> float | None:
    """Return the tokens per second that the limit allows one network at one length."""
    records = [one.record for one in found]
    least = least_seconds(records, fraction)
    steps = next(filter(None, map(time_steps, records)), None)
    return steps * records[0].trial.batch / least if least and steps else None


def _fit(one: Labelled, found: Scaling) -> Iterator[dict[str, Any]]:
    """Yield the fitted line as rows of the network's engine: at each length, and between."""
    a, b = found.step_overhead_seconds.value, found.time_step_seconds.value
    points = [
        (float(record.trial.length), float(t))
        for record, t in zip(found.records, found.time_steps, strict=True)
    ]
    between = [
        (n + (m - n) * share / BETWEEN, t + (u - t) * share / BETWEEN)
        for (n, t), (m, u) in pairwise(points)
        for share in range(BETWEEN)
    ]
    for n, t in [*between, points[-1]]:
        if a + b * t > 0:
            panel = Panel(one.by_network)
            yield {
                **one.common,
                "length": None,
                "at": n,
                "part": "fit",
                "panel": panel,
                "y": a + b * t,
                "a": a,
                "b": b,
            }


def _paid(one: Labelled, rivals: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Yield when compiling has paid; never and at once have no place on a logarithmic axis, and stand at its ends."""
    found = break_even(one.record, [record for record in rivals if record is not one.record])
    if found is not None:
        row = {
            **one.common,
            "panel": Panel(one.by_network, aspect=COSTS[1]),
            "against": found.against,
        }
        if math.isinf(found.steps):
            yield row | {"part": "top", "y": None, "label": "never"}
        elif found.steps < 1:
            yield row | {"part": "bottom", "y": None, "label": "at once"}
        else:
            yield row | {"part": "measured", "y": found.steps}
