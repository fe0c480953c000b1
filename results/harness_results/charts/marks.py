"""The pieces that the charts are drawn of: axes, colours by engine or cell, panels, tooltips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from harness_results.charts.data import Rows
from harness_results.charts.theme import NEUTRAL, Look, looks

MOST_TICKS = 8
DASHED, DOTTED = (5, 4), (1, 3)
REFERENCES = {
    "serial": DASHED,
    "peak": DOTTED,
    "baseline": DASHED,
    "floor": DOTTED,
    "half": DASHED,
    "whole": DOTTED,
}
SIZES = {
    1: (560, 300),
    2: (320, 210),
    3: (200, 165),
}  # width and height of a panel by panels side by side
LINES = "split(datum.label, '\\n')"  # of a heading
LOW = 150  # height of a panel that is one of many
LEGEND_COLUMNS = {"engine": 4, "cell": 6}
EXTENT = 46  # pixels for the ticks and labels of a vertical axis: titles and panels stand in line
ROW, LINE, COLUMN = (
    58,
    14,
    76,
)  # pixels from panel to panel: its axis and title; a line of a heading; side by side
FREE = 1.1  # factor by which an axis goes beyond its values, so that a few per cent look like a few per cent
WORDS = 0.2  # share of an axis that words have for themselves


def part(name: str) -> alt.Chart:
    """Return a layer of the rows of one part."""
    return alt.Chart().transform_filter(f"datum.part === '{name}'")


@dataclass(frozen=True)
class Looks:
    """How engines or cells are told apart in one chart: by colour, and dash or shape, with one legend.

    Attributes:
        rows: of the chart.
        field: ``engine`` or ``cell``.
        symbol: what the legend shows beside the colour: ``shape`` where there are points, else
            ``dash``.
    """

    rows: Rows
    field: Literal["engine", "cell"]
    symbol: Literal["shape", "dash"]

    @property
    def colour(self) -> dict[str, Any]:
        """The encoding colour."""
        return {
            "color": alt.Color(
                f"{self.field}:N", **self._scaled([one.colour for one in self._looks])
            )
        }

    @property
    def line(self) -> dict[str, Any]:
        """The encodings of a line: colour and dash."""
        scaled = self._scaled([one.dash for one in self._looks])
        return {
            **self.colour,
            "detail": "series:N",
            "strokeDash": alt.StrokeDash(f"{self.field}:N", **scaled),
        }

    @property
    def point(self) -> dict[str, Any]:
        """The encodings of a point: colour and shape."""
        return {
            **self.colour,
            "shape": alt.Shape(
                f"{self.field}:N", **self._scaled([one.shape for one in self._looks])
            ),
        }

    @property
    def _names(self) -> tuple[str, ...]:
        return self.rows.engines if self.field == "engine" else self.rows.cells

    @property
    def _looks(self) -> list[Look]:
        return looks(self._names)

    def _scaled(self, values: Sequence[Any]) -> dict[str, Any]:
        scale = alt.Scale(domain=list(self._names), range=list(values))
        return {"title": self.field, "legend": self._legend(), "scale": scale}

    def _legend(self) -> alt.Legend:
        drawn = {row[self.field] for row in self.rows}
        names = [name for name in self._names if name in drawn]
        form: dict[str, Any] = (
            {"symbolType": "stroke", "symbolSize": 400}
            if self.symbol == "dash"
            else {"symbolStrokeWidth": 0, "symbolSize": 110}
        )
        return alt.Legend(values=names, columns=LEGEND_COLUMNS[self.field], symbolOpacity=1, **form)


def length(rows: Rows, field: str = "length") -> alt.X:
    """Return the axis of the lengths: T, logarithmic, a tick at each length where there are not too many."""
    found = sorted({int(row["length"]) for row in rows if row["length"] is not None})
    every = -(-len(found) // MOST_TICKS)
    axis = alt.Axis(values=found[::every], format="d", grid=False)
    return alt.X(f"{field}:Q", title="T, length of the sequence", axis=axis,
                 scale=alt.Scale(type="log", base=2, nice=False, padding=14))  # fmt: skip


def logarithmic(title: str, *, form: str = ".3~s", field: str = "y") -> alt.Y:
    """Return a logarithmic axis; grid lines only where there is a number."""
    lines = alt.condition("datum.label === ''", alt.value(0), alt.value(1))
    axis = alt.Axis(format=form, tickCount=5, gridOpacity=lines, minExtent=EXTENT, maxExtent=EXTENT)
    return alt.Y(
        f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=8), axis=axis
    )


def told(*fields: tuple[str, str] | tuple[str, str, str]) -> list[alt.Tooltip]:
    """Return a tooltip: the network and its engine, then the fields (name, title, format)."""
    named = [alt.Tooltip("network:N", title="network"), alt.Tooltip("engine:N", title="engine")]
    named.append(alt.Tooltip("length:Q", title="T"))
    return named + [
        alt.Tooltip(f"{name}:Q", title=title, format=form[0] if form else ".4~g")
        for name, title, *form in fields
    ]


def against_length(
    rows: Rows, look: Looks, y: alt.Y, tips: Sequence[alt.Tooltip], filled: str | None = None
) -> list[alt.Chart]:
    """Return the layers of what was measured at each length: lines and points.

    Args:
        rows: of the chart.
        look: of engines or cells.
        y: the vertical axis.
        tips: the tooltips of the points.
        filled: an expression that holds of the points to fill; the others are hollow. None: all are
            filled.
    """
    x, measured = length(rows), part("measured")
    whole = measured.transform_filter(filled) if filled else measured
    points = [whole.mark_point(filled=True, size=55, opacity=1)]
    if filled:
        points.append(
            measured.transform_filter(f"!({filled})").mark_point(
                size=45, opacity=1, strokeWidth=1.5
            )
        )
    line = measured.mark_line().encode(x=x, y=y, **look.line)
    return [line, *(some.encode(x=x, y=y, tooltip=tips, **look.point) for some in points)]


def room(rows: Rows, y: alt.Y) -> alt.Chart:
    """Return an unseen layer that widens the vertical axis of each panel: for words, and for values that are close."""
    parts = {str(row["part"]) for row in rows}
    span = "pow(datum.most / datum.least, {})"
    below = span.format(WORDS if parts & {"words", "theory", "bottom"} else 0)
    above = span.format(WORDS if "top" in parts else 0)
    ends = alt.Chart().transform_aggregate(least="min(y)", most="max(y)", groupby=["panel"])
    ends = ends.transform_calculate(
        first=f"datum.least / {FREE} / {below}", last=f"datum.most * {FREE} * {above}"
    ).transform_filter("datum.least > 0")
    first = alt.Y("first:Q", **{name: y[name] for name in ("title", "scale", "axis")})
    drawn: alt.Chart = ends.mark_rule(opacity=0, aria=False).encode(y=first, y2="last:Q")
    return drawn


def reference(name: str, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Return the layers of a line that many networks share; it goes across the panel where it is one point."""
    style: dict[str, Any] = {
        "color": NEUTRAL,
        "strokeDash": list(REFERENCES[name]),
        "strokeWidth": 1.5,
    }
    alone = part(name).transform_filter("datum.alone").mark_rule(**style)
    return [part(name).mark_line(**style).encode(x=x, y=y, detail="series:N"), alone.encode(y=y)]


def corner(words: alt.Chart) -> alt.Chart:
    """Return the labels of some rows in the lower left of a panel."""
    text = words.mark_text(color=NEUTRAL, align="left", baseline="bottom", dx=5, dy=-11)
    drawn: alt.Chart = text.encode(x=alt.value(0), y=alt.value("height"), text="label:N")
    return drawn


def edge(
    name: Literal["top", "bottom"], x: alt.X, look: Looks, tips: Sequence[alt.Tooltip]
) -> list[alt.Chart]:
    """Return what a logarithmic axis has no place for, with its words: ``top`` beyond it, ``bottom`` below it."""
    y = alt.value("height") if name == "bottom" else alt.value(0)
    points = part(name).mark_point(filled=True, size=55, opacity=1)
    words = part(name).mark_text(
        color=NEUTRAL, align="center", baseline=name, dy=-7 if name == "bottom" else 7
    )
    return [
        points.encode(x=x, y=y, tooltip=tips, **look.point),
        words.encode(x=x, y=y, text="label:N"),
    ]


def rule_across(name: str, y: alt.Y) -> alt.Chart:
    """Return a dashed line across the panel."""
    drawn: alt.Chart = part(name).mark_rule(color=NEUTRAL, strokeDash=list(DASHED)).encode(y=y)
    return drawn


def panels(
    layers: Sequence[alt.Chart],
    rows: Rows,
    *,
    y: alt.Y,
    columns: int | None = None,
    free: Sequence[str] = ("y",),
) -> alt.FacetChart:
    """Return the layers once for each panel, in order.

    Args:
        layers: of one panel.
        rows: the one dataset.
        y: the vertical axis.
        columns: panels side by side; None: as it suits their number.
        free: the axes that each panel has for itself.
    """
    count = rows.drawn
    side = min(count, columns or (3 if count == 3 or count > 4 else 2))  # noqa: PLR2004
    width, height = SIZES[side]
    height = min(height, LOW) if count > 2 * side else height
    drawn = alt.layer(
        room(rows, y), *layers, data=alt.InlineData(values=list(rows.values), name="rows")
    )
    order = alt.EncodingSortField("order", op="min")
    by_panel = alt.Facet(
        "panel:N", header=alt.Header(title=None, labelAnchor="start", labelExpr=LINES), sort=order
    )
    chosen = [*_first("level", rows.levels), *_first("order", rows.most)]
    drawn = drawn.properties(width=width, height=height)
    faceted: alt.FacetChart = drawn.facet(facet=by_panel, columns=side).properties(transform=chosen)
    apart = {"row": ROW + LINE * heading_lines(rows), "column": COLUMN}
    faceted = faceted.properties(bounds="flush", spacing=apart).resolve_axis(
        x="independent", y="independent"
    )
    own: dict[str, Any] = dict.fromkeys(free, "independent")
    resolved: alt.FacetChart = faceted.resolve_scale(**own)
    return resolved


def heading_lines(rows: Rows) -> int:
    """Return how many lines the longest heading of a panel has."""
    return max((name.count("\n") + 1 for name in rows.panels), default=1)


def _first(field: str, most: int) -> list[Any]:
    """Return the transforms that keep the rows with the first values of a field, of those that there are."""
    rank = {"op": "dense_rank", "field": field, "as": f"{field}_rank"}
    window = alt.WindowTransform(window=[rank], sort=[{"field": field}])
    return [window, alt.FilterTransform(f"datum.{field}_rank <= {most}")]
