"""What speed must be read with: peak memory, and the error against the reference, by engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from harness_results.charts.data import Rows
from harness_results.charts.marks import (
    Looks,
    against_length,
    edge,
    length_axis,
    logarithmic,
    panels,
    tooltips,
)
from harness_results.charts.series import Labelled, drawn_lines, ended, measured, rows_of


def memory(entries: Sequence[Labelled]) -> Rows:
    """Return the peak memory of every trial that ended ok."""
    drawn, note = drawn_lines(
        entry for entry in ended(entries) if entry.figure("peak_memory_bytes") is not None
    )
    rows = [_or_zero(measured(entry, "peak_memory_bytes")) for entry in drawn]
    return rows_of(entries, rows, note)


def draw_memory(rows: Rows) -> alt.FacetChart:
    """Return lines by engine."""
    look, x = Looks(rows, "engine", "shape"), length_axis(rows)
    y = logarithmic("peak memory, bytes")
    tips = tooltips(("y", "bytes", ".4~s"))
    layers = [*against_length(rows, look, y, tips), *edge("bottom", x, look, tips)]
    return panels(layers, rows, y=y)


def parity(entries: Sequence[Labelled]) -> Rows:
    """Return the parity error and its tolerance of every trial compared with the reference."""
    drawn, note = drawn_lines(
        entry for entry in entries if entry.figure("parity_error") is not None
    )
    return rows_of(entries, map(_error, drawn), note)


def draw_parity(rows: Rows) -> alt.FacetChart:
    """Return lines by engine, and a tick at the tolerance of each."""
    look, x = Looks(rows, "engine", "shape"), length_axis(rows)
    y, bound = (
        logarithmic("parity error", form=".0e", field=field) for field in ("y", "tolerance")
    )
    tips = tooltips(("y", "error"), ("tolerance", "tolerance"))
    tick = alt.Chart().mark_tick(orient="horizontal", thickness=2, size=18, opacity=1)
    layers = [
        tick.encode(x=x, y=bound, tooltip=tips, **look.colour),
        *against_length(rows, look, y, tips),
        *edge("bottom", x, look, tips),
    ]
    return panels(layers, rows, y=y)


def _error(entry: Labelled) -> dict[str, Any]:
    tolerance = {"tolerance": entry.figure("parity_tolerance")}
    return _or_zero(measured(entry, "parity_error") | tolerance)


def _or_zero(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row; a zero goes to the bottom, because a logarithmic axis cannot show it."""
    return row if row["y"] else row | {"part": "bottom", "y": None, "label": "0"}
