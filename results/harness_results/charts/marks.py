"""The pieces of every chart: axes, colours by engine or cell, tooltips, references and panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from harness_results.charts.bands import bands, has_bands
from harness_results.charts.data import Rows
from harness_results.charts.theme import NEUTRAL, Look, looks

MOST_TICKS = 8
DASHED, DOTTED = [5, 4], [1, 3]
REFERENCES = {
    **dict.fromkeys(("serial", "baseline", "half"), DASHED),
    **dict.fromkeys(("peak", "floor", "whole"), DOTTED),
}
# panels in a row -> (width, height) of a panel
SIZES = {1: (560, 300), 2: (320, 210), 3: (200, 165)}
LOW = 150  # height of a panel if there are more than two rows of them
LINES = "split(datum.label, '\\n')"  # of a heading
LEGEND_COLUMNS = {"engine": 4, "cell": 6}
EXTENT = 46  # pixels for the ticks and labels of every vertical axis, so that panels align
# Pixels between panels: below one (its axis and title), per line of a heading, side by side.
ROW, LINE, COLUMN = 58, 14, 76
FREE = 1.1  # factor by which an axis exceeds its values, so that a few per cent look like a few
WORDS = 0.2  # share of an axis that is reserved for words


def part(name: str) -> alt.Chart:
    """Return a layer of the rows of one part."""
    return alt.Chart().transform_filter(f"datum.part === '{name}'")


@dataclass(frozen=True)
class Looks:
    """The encodings that distinguish engines or cells: colour, and dash or shape, with one legend.

    Attributes:
        rows: the rows of the chart.
        field: ``engine`` or ``cell``.
        symbol: what the legend shows: ``shape`` if the chart has points, else ``dash``.
    """

    rows: Rows
    field: Literal["engine", "cell"]
    symbol: Literal["shape", "dash"]

    @property
    def colour(self) -> dict[str, Any]:
        """The encoding of colour."""
        scaled = self._scaled([look.colour for look in self._looks])
        return {"color": alt.Color(f"{self.field}:N", **scaled)}

    @property
    def line(self) -> dict[str, Any]:
        """The encodings of a line: colour and dash."""
        dash = alt.StrokeDash(
            f"{self.field}:N", **self._scaled([look.dash for look in self._looks])
        )
        return {**self.colour, "detail": "series:N", "strokeDash": dash}

    @property
    def point(self) -> dict[str, Any]:
        """The encodings of a point: colour and shape."""
        shape = alt.Shape(f"{self.field}:N", **self._scaled([look.shape for look in self._looks]))
        return {**self.colour, "shape": shape}

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
        symbols: dict[str, Any] = {"symbolStrokeWidth": 0, "symbolSize": 110}
        if self.symbol == "dash":
            symbols = {"symbolType": "stroke", "symbolSize": 400}
        columns = LEGEND_COLUMNS[self.field]
        return alt.Legend(values=names, columns=columns, symbolOpacity=1, **symbols)


def length_axis(rows: Rows, field: str = "length", ticks: str = "length") -> alt.X:
    """Return the logarithmic axis of T, with a tick at each length, or at some of many."""
    lengths = sorted({int(row[ticks]) for row in rows if row.get(ticks) is not None})
    every = max(1, -(-len(lengths) // MOST_TICKS))
    axis = alt.Axis(values=lengths[::every], format="d", grid=False)
    scale = alt.Scale(type="log", base=2, nice=False, padding=14)
    return alt.X(f"{field}:Q", title="T, length of the sequence", axis=axis, scale=scale)


def logarithmic(title: str, *, form: str = ".3~s", field: str = "y") -> alt.Y:
    """Return a logarithmic axis, with grid lines at its labelled ticks only."""
    lines = alt.condition("datum.label === ''", alt.value(0), alt.value(1))
    axis = alt.Axis(format=form, tickCount=5, gridOpacity=lines, minExtent=EXTENT, maxExtent=EXTENT)
    scale = alt.Scale(type="log", nice=False, padding=8)
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)


def tooltips(*fields: tuple[str, str] | tuple[str, str, str]) -> list[alt.Tooltip]:
    """Return the tooltip of a mark: network, engine, T, and the fields (name, title, format)."""
    tips = [
        alt.Tooltip("network:N", title="network"),
        alt.Tooltip("engine:N", title="engine"),
        alt.Tooltip("length:Q", title="T"),
    ]
    for name, title, *form in fields:
        tips.append(alt.Tooltip(f"{name}:Q", title=title, format=form[0] if form else ".4~g"))
    return tips


def against_length(
    rows: Rows, look: Looks, y: alt.Y, tips: Sequence[alt.Tooltip], filled: str | None = None
) -> list[alt.Chart]:
    """Return the layers of what was measured at each length: lines and points.

    Args:
        rows: the rows of the chart.
        look: of engines or cells.
        y: the vertical axis.
        tips: the tooltips of the points.
        filled: an expression that is true for the points to fill; the others are hollow. None fills
            all of them.
    """
    x, measured = length_axis(rows), part("measured")
    solid = measured.transform_filter(filled) if filled else measured
    points = [solid.mark_point(filled=True, size=55, opacity=1)]
    if filled:
        hollow = measured.transform_filter(f"!({filled})")
        points.append(hollow.mark_point(size=45, opacity=1, strokeWidth=1.5))
    line = measured.mark_line().encode(x=x, y=y, **look.line)
    return [line, *(marks.encode(x=x, y=y, tooltip=tips, **look.point) for marks in points)]


def bands_against_length(rows: Rows, look: Looks, x: alt.X, low: alt.Y) -> list[alt.Chart]:
    """Return the layers of a band over seeds, and of a line from end to end at each length."""
    if not has_bands(rows):
        return []
    ends = part("measured").transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1)
    line = ends.encode(x=x, y=low, y2="high:Q", **look.colour)
    return [*bands(rows, part("measured"), x, low, look.colour), line]


def margins(rows: Rows, y: alt.Y) -> alt.Chart:
    """Return an invisible layer that widens the vertical axis of each panel to the shared range.

    This also makes room for words, and keeps a small difference small.
    """
    parts = {str(row["part"]) for row in rows}
    span = "pow(datum.most / datum.least, {})"
    below = span.format(WORDS if parts & {"words", "theory", "bottom"} else 0)
    above = span.format(WORDS if "top" in parts else 0)
    ends = alt.Chart().transform_aggregate(least="min(least)", most="max(most)", groupby=["panel"])
    ends = ends.transform_calculate(
        first=f"datum.least / {FREE} / {below}", last=f"datum.most * {FREE} * {above}"
    ).transform_filter("datum.least > 0")
    first = alt.Y("first:Q", **{name: y[name] for name in ("title", "scale", "axis")})
    layer: alt.Chart = ends.mark_rule(opacity=0, aria=False).encode(y=first, y2="last:Q")
    return layer


def reference(name: str, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Return the layers of a line that networks share; a single point becomes a line across."""
    style: dict[str, Any] = {"color": NEUTRAL, "strokeDash": REFERENCES[name], "strokeWidth": 1.5}
    alone = part(name).transform_filter("datum.alone").mark_rule(**style)
    return [part(name).mark_line(**style).encode(x=x, y=y, detail="series:N"), alone.encode(y=y)]


def corner(words: alt.Chart) -> alt.Chart:
    """Return the labels of some rows in the lower left corner of a panel."""
    text = words.mark_text(color=NEUTRAL, align="left", baseline="bottom", dx=5, dy=-11)
    layer: alt.Chart = text.encode(x=alt.value(0), y=alt.value("height"), text="label:N")
    return layer


def edge(
    name: Literal["top", "bottom"], x: alt.X, look: Looks, tips: Sequence[alt.Tooltip]
) -> list[alt.Chart]:
    """Return the layers of values that a logarithmic axis cannot show, with a label.

    Those beyond the axis are at its ``top``, those below it at its ``bottom``.
    """
    y, dy = (alt.value("height"), -7) if name == "bottom" else (alt.value(0), 7)
    points = part(name).mark_point(filled=True, size=55, opacity=1)
    words = part(name).mark_text(color=NEUTRAL, align="center", baseline=name, dy=dy)
    return [
        points.encode(x=x, y=y, tooltip=tips, **look.point),
        words.encode(x=x, y=y, text="label:N"),
    ]


def rule_across(name: str, y: alt.Y) -> alt.Chart:
    """Return a dashed line across the panel."""
    layer: alt.Chart = part(name).mark_rule(color=NEUTRAL, strokeDash=DASHED).encode(y=y)
    return layer


def panels(
    layers: Sequence[alt.Chart],
    rows: Rows,
    *,
    y: alt.Y | None,
    columns: int | None = None,
    free: Sequence[str] = ("y",),
    shared: str = "scale",
) -> alt.FacetChart:
    """Return the layers once for each panel, in order.

    Args:
        layers: of one panel.
        rows: the only dataset.
        y: the vertical axis of numbers; None: it has names.
        columns: panels in a row; None chooses by their number.
        free: the axes whose scale each panel has for itself.
        shared: the column whose panels of equal value share the range of their vertical axis.
    """
    count = rows.drawn
    side = min(count, columns or (3 if count == 3 or count > 4 else 2))  # noqa: PLR2004
    width, height = SIZES[side]
    height = min(height, LOW) if count > 2 * side else height
    data = alt.NamedData(name="rows")  # the values are added once, to the whole chart
    around = [] if y is None else [margins(rows, y)]
    panel = alt.layer(*around, *layers, data=data).properties(width=width, height=height)
    header = alt.Header(title=None, labelAnchor="start", labelExpr=LINES)
    facet = alt.Facet("panel:N", header=header, sort=alt.EncodingSortField("order", op="min"))
    faceted = panel.facet(facet=facet, columns=side).properties(
        transform=[
            *_first("level", rows.levels),
            *_first("order", rows.most),
            *([] if y is None else _range(rows, shared)),
        ],
        bounds="flush",
        spacing={"row": ROW + LINE * heading_lines(rows), "column": COLUMN},
    )
    scales: dict[str, Any] = dict.fromkeys(free, "independent")
    faceted = faceted.resolve_axis(x="independent", y="independent")
    resolved: alt.FacetChart = faceted.resolve_scale(**scales)
    return resolved


def heading_lines(rows: Rows) -> int:
    """Return the number of lines of the longest heading of a panel."""
    return max((name.count("\n") + 1 for name in rows.panels), default=1)


def _range(rows: Rows, shared: str) -> list[Any]:
    """Return the transforms that add the range of all rows with an equal value of ``shared``.

    Intervals and tolerances count.
    """
    names = {name for row in rows for name in row}
    lows = [name for name in ("y", "low") if name in names]
    highs = [name for name in ("y", "high", "tolerance") if name in names]
    joined = [
        *(
            alt.JoinAggregateFieldDef(op="min", field=name, **{"as": f"least_{name}"})
            for name in lows
        ),
        *(
            alt.JoinAggregateFieldDef(op="max", field=name, **{"as": f"most_{name}"})
            for name in highs
        ),
    ]
    return [
        alt.JoinAggregateTransform(joinaggregate=joined, groupby=[shared]),
        _extreme("least", "min", lows),
        _extreme("most", "max", highs),
    ]


def _extreme(name: str, op: str, fields: Sequence[str]) -> alt.CalculateTransform:
    """Return the transform that adds the extreme of several columns; the first is never empty."""
    first, *others = (f"datum.{name}_{field}" for field in fields)
    values = [first, *(f"(isValid({other}) ? {other} : {first})" for other in others)]
    return alt.CalculateTransform(calculate=f"{op}({', '.join(values)})", **{"as": name})


def _first(field: str, most: int) -> list[Any]:
    """Return the transforms that keep the rows with the ``most`` first values of a field."""
    rank = {"op": "dense_rank", "field": field, "as": f"{field}_rank"}
    window = alt.WindowTransform(window=[rank], sort=[{"field": field}])
    return [window, alt.FilterTransform(f"datum.{field}_rank <= {most}")]
