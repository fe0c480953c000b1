"""The ladder as a picture: cells against rungs, coloured by the seeds that climb."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import altair as alt

from harness_results.charts.data import Rows, short
from harness_results.charts.marks import panels, part, tooltips
from harness_results.charts.panels import Panel
from harness_results.charts.series import Labelled, rows_of
from harness_results.study.seeds.ladder import Rung, rungs_of
from harness_results.study.tables.pivot import SOLVED
from harness_results.text.thinning import evenly_chosen

DARK = 0.5  # share from which the words of a field are light
MOST_NAMES = 40  # of networks, and of rungs


def ladder(entries: Sequence[Labelled]) -> Rows:
    """Return a row for each network and rung; none if there is one rung alone.

    Of many networks or rungs some are drawn, evenly chosen.
    """
    by_record = {id(entry.record): entry for entry in entries}
    rungs = rungs_of(list(dict.fromkeys(entry.study for entry in entries)))
    engines = {rung.record.trial.engine for rung in rungs}
    names = list(dict.fromkeys(rung.name for rung in rungs))
    networks = list(dict.fromkeys(_network(rung, engines) for rung in rungs))
    if len(names) == 1:
        return rows_of(entries, ())
    columns, rows = (evenly_chosen(each, MOST_NAMES) for each in (names, networks))
    notes = [
        f"{len(drawn)} of {len(every)} {noun} are drawn"
        for drawn, every, noun in ((rows, networks, "networks"), (columns, names, "rungs"))
        if len(drawn) < len(every)
    ]
    fields = [
        _field(rung, by_record[id(rung.record)], columns.index(rung.name), rows.index(network))
        | {"network": network}
        for rung in rungs
        if rung.name in columns and (network := _network(rung, engines)) in rows
    ]
    return rows_of(entries, fields, "; ".join(notes) or None)


def _network(rung: Rung, engines: Collection[str]) -> str:
    return f"{rung.network} {rung.record.trial.engine}" if len(engines) > 1 else rung.network


def _field(rung: Rung, entry: Labelled, column: int, row: int) -> dict[str, Any]:
    return {
        **entry.common,
        "part": "field",
        "panel": Panel(((), ())),
        "rung": rung.name,
        "rung_order": column,
        "network_order": row,
        "y": short(rung.solved / rung.seeds),
        "accuracy": rung.accuracy,
        "words": f"{rung.solved}/{rung.seeds}{f' {SOLVED}' if rung.is_climbed else ''}",
    }


def draw_ladder(rows: Rows) -> alt.FacetChart:
    """Return a field for each network and rung; the darker, the more seeds climb."""
    order = {name: alt.EncodingSortField(f"{name}_order", op="min") for name in ("rung", "network")}
    x = alt.X(
        "rung:N", title=None, sort=order["rung"], axis=alt.Axis(labelAngle=-40, labelOverlap=False)
    )
    y = alt.Y("network:N", title=None, sort=order["network"])
    scale = alt.Scale(domain=[0, 1], scheme="blues")
    colour = alt.Color("y:Q", title="seeds that solve it", scale=scale, legend=None)
    tips = tooltips(("y", "share of seeds"), ("accuracy", "accuracy at the longest"))
    words = alt.when(alt.datum.y > DARK).then(alt.value("white")).otherwise(alt.value("black"))
    layers = [
        part("field").mark_rect(stroke="white").encode(x=x, y=y, color=colour, tooltip=tips),
        part("field").mark_text().encode(x=x, y=y, text="words:N", color=words),
    ]
    return panels(layers, rows, y=None, free=())
