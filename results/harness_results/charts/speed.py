"""Throughput against T with its interval, beside what the machine allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from harness.contract.record import Record
from harness_results.charts.data import Rows, whole_lines
from harness_results.charts.marks import Looks, length, logarithmic, panels, part, reference, told
from harness_results.charts.panels import Panel, rows_of
from harness_results.charts.series import Labelled, labelled, lines_of
from harness_results.relative import least_seconds
from harness_results.scaling import time_steps

LIMITS = {"serial": ("fraction_of_serial_limit", "serial limit"), "peak": ("fraction_of_peak", "peak")}
FIGURES = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")


def throughput(records: Sequence[Record]) -> Rows:
    """Return the throughput of every trial that ended well, and the limits of its network and length."""
    timed = [one for one in labelled(records) if one.record.status == "ok" and _speed(one.record)]
    found, note = whole_lines(lines_of(timed), "lines")
    kept = [one for line in found for one in line]
    return rows_of(records, [*map(_measured, kept), *_limits(kept)], note)


def draw_throughput(rows: Rows) -> alt.FacetChart:
    """Return lines by engine with their intervals, and the two limits."""
    x, y = length(rows), logarithmic(rows, "tokens per second")
    low = logarithmic(rows, "tokens per second", field="low")
    tips = told(("y", "tokens/s"), ("low", "from"), ("high", "to"))
    measured, look = part("measured"), Looks(rows, "engine", "shape")
    return panels(
        [
            *reference("serial", x, y, (4, 4)),
            *reference("peak", x, y, (1, 3)),
            measured.mark_rule(strokeWidth=1.5).encode(x=x, y=low, y2="high:Q", **look.colour),
            measured.mark_line().encode(x=x, y=y, **look.line),
            measured.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, tooltip=tips, **look.point),
        ],
        rows,
    )


def _speed(record: Record) -> float | None:
    speed = record.figures.get("tokens_per_second")
    return None if speed is None else float(speed)


def _measured(one: Labelled) -> dict[str, Any]:
    middle, low, high = (one.record.figures.get(name) for name in FIGURES)
    return {**one.common, "part": "measured", "panel": Panel(one.by_network), "y": middle, "low": low, "high": high}


def _limits(found: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    """Yield one row per panel, length and limit: of no engine; the last of each line carries its name."""
    places: dict[tuple[str, ...], dict[int, list[Record]]] = {}
    for one in found:
        lengths = places.setdefault(one.by_network, {})
        lengths.setdefault(one.record.trial.length, []).append(one.record)
    for group, lengths in places.items():
        for name, (fraction, words) in LIMITS.items():
            rates = {n: rate for n in sorted(lengths) if (rate := _rate(lengths[n], fraction)) is not None}
            for n, rate in rates.items():
                trial = lengths[n][0].trial
                yield {
                    "task": trial.task, "cell": trial.cell, "backend": None, "engine": None, "length": n,
                    "network": words, "series": -1, "part": name, "panel": Panel(group), "y": rate,
                    "label": words if n == max(rates) else None,
                }  # fmt: skip


def _rate(records: Sequence[Record], fraction: str) -> float | None:
    """Return the tokens per second that the limit allows the records of one network and length."""
    least = least_seconds(records, fraction)
    steps = next(filter(None, map(time_steps, records)), None)
    return steps * records[0].trial.batch / least if least and steps else None
