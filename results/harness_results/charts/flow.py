"""Gradient flow: how much of the loss at the last scored position reaches back to each earlier state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.contract.records.record import HORIZON_FRACTION, Record
from harness_results.charts.data import Rows, in_turns, short, spread
from harness_results.charts.marks import Looks, corner, logarithmic, panels, part, rule_across, told
from harness_results.charts.panels import Panel, rows_of
from harness_results.charts.series import Labelled, labelled, nobody
from harness_results.study.curves import series
from harness_results.study.theory import decay_at_start

MOMENTS = {"initial": "at the start", "final": "after training"}
MOST_PANELS = 8
SMALLEST = 1e-12  # of its value at lag 0: nothing below is drawn
SERIES = ("lags", "median", "low", "high")
Point = tuple[float, float | None, float | None, float | None]  # of SERIES


@dataclass(frozen=True)
class Flow:
    """One gradient flow, as far as it is numbers; ``unit`` is the median at lag 0, above zero."""

    points: Sequence[Point]
    unit: float
    decay: float | None
    states: Mapping[
        str, Sequence[tuple[float, float | None]]
    ]  # by name, the (lag, median) of each of several


def gradient_flow(records: Sequence[Record]) -> Rows:
    """Return the norm of dL/ds_t by lag, as a fraction of that at lag 0, for every record that has one."""
    found = [(one, name, flow) for one in labelled(records) for name, flow in _flows(one.record)]
    kept, points, note = in_turns(
        found, lambda curve: (_panel(curve[0], curve[1]), curve[0].record.trial.cell)
    )
    rows = [row for one, name, flow in kept for row in _curve(one, name, flow, points)]
    return rows_of(records, [*rows, *_theories(kept), *_horizons(kept)], note, MOST_PANELS)


def draw_gradient_flow(rows: Rows) -> alt.FacetChart:
    """Return lines by cell over the lag, the quartiles as a band, theory, and where the gradient counts as gone."""
    x = alt.X("lag:Q", title="lag, time steps back", axis=alt.Axis(grid=False))
    y, low = (
        logarithmic("norm, fraction of lag 0", form=".0e", field=field) for field in ("y", "low")
    )
    tips = told(
        ("lag", "lag"),
        ("y", "fraction of lag 0"),
        ("norm", "norm"),
        ("decay", "fitted factor per step"),
    )
    flow, look = part("flow"), Looks(rows, "cell", "dash")
    shares = [
        *told(("lag", "lag"), ("y", "fraction of lag 0")),
        alt.Tooltip("state:N", title="by this state alone"),
    ]
    state = part("state").mark_line(strokeWidth=0.8, strokeDash=[2, 2], opacity=0.8)
    return panels(
        [
            rule_across("gone", y),
            corner(_factors()),
            part("theory")
            .mark_line(strokeWidth=1, strokeDash=[1, 3])
            .encode(x=x, y=y, **look.colour),
            flow.mark_area(opacity=0.15).encode(
                x=x, y=low, y2="high:Q", detail="series:N", **look.colour
            ),
            state.encode(x=x, y=y, tooltip=shares, detail=["series:N", "state:N"], **look.colour),
            flow.mark_line().encode(x=x, y=y, tooltip=tips, **look.line),
        ],
        rows,
        y=y,
        columns=2,
        free=("x",),
    )


def _flows(record: Record) -> Iterator[tuple[str, Flow]]:
    flows = record.curves.get("gradient_flow")
    for name in MOMENTS:
        flow = _flow(flows.get(name)) if isinstance(flows, Mapping) else None
        if flow is not None:
            yield name, flow


def _flow(found: Any) -> Flow | None:
    if not isinstance(found, Mapping):
        return None
    lags, *norms = (series(found.get(name)) for name in SERIES)
    whole = (some if len(some) == len(lags) else [None] * len(lags) for some in norms)
    points = [
        (lag, median, low, high)
        for lag, median, low, high in zip(lags, *whole, strict=True)
        if lag is not None and lag >= 0
    ]
    unit = points[0][1] if points else None
    if unit is None or unit <= 0:
        return None
    return Flow(points, unit, series([found.get("decay")])[0], _states(found.get("states"), lags))


def _states(
    content: Any, lags: Sequence[float | None]
) -> dict[str, list[tuple[float, float | None]]]:
    curves = (
        {str(name): series(norms) for name, norms in content.items()}
        if isinstance(content, Mapping)
        else {}
    )
    return {
        name: [
            (lag, norm)
            for lag, norm in zip(lags, norms, strict=True)
            if lag is not None and lag >= 0
        ]
        for name, norms in curves.items()
        if len(norms) == len(lags) and len(curves) > 1
    }


def _panel(one: Labelled, moment: str) -> Panel:
    return Panel(one.by_task, one.record.trial.length, MOMENTS[moment])


def _curve(one: Labelled, moment: str, flow: Flow, points: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of one curve; the lag-0 value is the unit of all three series."""
    for lag, median, *quartiles in spread(list(_shares(flow)), points):
        low, high = (None if share is None else short(max(share, SMALLEST)) for share in quartiles)
        yield {
            **one.common, "part": "flow", "panel": _panel(one, moment), "lag": lag, "y": short(median),
            "low": low, "high": high, "norm": short(median * flow.unit), "decay": flow.decay,
        }  # fmt: skip
    for name, norms in flow.states.items():
        shares = [
            (lag, share)
            for lag, norm in norms
            if (share := _share(norm, flow.unit) or 0.0) >= SMALLEST
        ]
        for lag, share in spread(shares, points // (2 * len(flow.states))):
            row = {
                **one.common,
                "part": "state",
                "panel": _panel(one, moment),
                "lag": lag,
                "y": short(share),
            }
            yield row | {"state": name}


def _shares(flow: Flow) -> Iterator[tuple[float, float, float | None, float | None]]:
    for lag, *norms in flow.points:
        median, low, high = (_share(norm, flow.unit) for norm in norms)
        if median is not None and median >= SMALLEST:
            yield lag, median, low, high


def _share(norm: float | None, unit: float) -> float | None:
    share = math.nan if norm is None else norm / unit
    return share if math.isfinite(share) else None


def _theories(found: Sequence[tuple[Labelled, str, Flow]]) -> Iterator[dict[str, Any]]:
    """Yield, for each panel of the start, the line of each cell that theory has a factor for."""
    known: set[tuple[Panel, str]] = set()
    for one, moment, flow in found:
        panel, cell, factor = (
            _panel(one, moment),
            one.record.trial.cell,
            decay_at_start(one.record.trial),
        )
        if moment == "initial" and factor is not None and (panel, cell) not in known:
            known.add((panel, cell))
            line = {
                **nobody(one, "theory", panel, "cell"),
                "cell": cell,
                "label": f"{cell} {factor:.3g}",
            }
            last = max((lag for lag, *_ in flow.points if factor**lag >= SMALLEST), default=0)
            yield from ({**line, "lag": lag, "y": factor**lag} for lag in (0, last))


def _factors() -> alt.Chart:
    """Return the factors of theory as the words of each panel; they follow what the page is filtered by."""
    lines = part("theory").transform_filter("datum.lag === 0")
    all_of = alt.AggregatedFieldDef(op="values", field="label", **{"as": "lines"})
    grouped = lines.transform_aggregate([all_of], groupby=["panel"])
    told: alt.Chart = grouped.transform_calculate(
        label="'theory, per step: ' + join(sort(pluck(datum.lines, 'label')), ', ')"
    )
    return told


def _horizons(found: Sequence[tuple[Labelled, str, Flow]]) -> Iterator[dict[str, Any]]:
    """Yield the line below which the gradient counts as gone, once in each panel."""
    for panel, one in {_panel(one, moment): one for one, moment, _ in reversed(found)}.items():
        yield {**nobody(one, "gone", panel, "cell"), "y": HORIZON_FRACTION}
