"""What stands beside the speed: peak memory, and the error against the reference, by engine."""

from __future__ import annotations

from collections.abc import Sequence
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
    told,
)
from harness_results.charts.panels import rows_of
from harness_results.charts.series import Labelled, kept_lines, known, labelled, measured


def memory(records: Sequence[Record]) -> Rows:
    """Return the peak memory of every trial that ended well."""
    ended = (one for one in labelled(records) if one.record.status == "ok")
    kept, note = kept_lines(
        one for one in ended if known(one.record, "peak_memory_bytes") is not None
    )
    return rows_of(records, [_or_zero(measured(one, "peak_memory_bytes")) for one in kept], note)


def draw_memory(rows: Rows) -> alt.FacetChart:
    """Return lines by engine."""
    look, y, tips = (
        Looks(rows, "engine", "shape"),
        logarithmic("peak memory, bytes"),
        told(("y", "bytes", ".4~s")),
    )
    return panels(
        [*against_length(rows, look, y, tips), *edge("bottom", length(rows), look, tips)], rows, y=y
    )


def parity(records: Sequence[Record]) -> Rows:
    """Return the parity error and its tolerance of every trial that was held against the reference."""
    kept, note = kept_lines(
        one for one in labelled(records) if known(one.record, "parity_error") is not None
    )
    return rows_of(records, map(_error, kept), note)


def draw_parity(rows: Rows) -> alt.FacetChart:
    """Return lines by engine, and a tick at the tolerance of each."""
    look, x, y = (
        Looks(rows, "engine", "shape"),
        length(rows),
        logarithmic("parity error", form=".0e"),
    )
    tips = told(("y", "error"), ("tolerance", "tolerance"))
    bound = logarithmic("parity error", form=".0e", field="tolerance")
    ticks = (
        alt.Chart()
        .mark_tick(orient="horizontal", thickness=2, size=18, opacity=1)
        .encode(x=x, y=bound, tooltip=tips, **look.colour)
    )
    layers = [ticks, *against_length(rows, look, y, tips), *edge("bottom", x, look, tips)]
    return panels(layers, rows, y=y)


def _error(one: Labelled) -> dict[str, Any]:
    return _or_zero(
        measured(one, "parity_error") | {"tolerance": known(one.record, "parity_tolerance")}
    )


def _or_zero(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row; a zero has no place on a logarithmic axis, and stands at its end."""
    return row if row["y"] else row | {"part": "bottom", "y": None, "label": "0"}
