"""Gradient flow: how much of the loss at the last scored position reaches each earlier state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import altair as alt

from harness.contract.records.record import HORIZON_FRACTION, Record
from harness_results.charts.data import Rows, short, thin_curves
from harness_results.charts.marks import (
    Looks,
    corner,
    logarithmic,
    panels,
    part,
    rule_across,
    tooltips,
)
from harness_results.charts.panels import Panel
from harness_results.charts.series import Labelled, reference_row, rows_of
from harness_results.study.curves import series
from harness_results.study.seeds.statistics import spread
from harness_results.study.seeds.summary import outcomes_of
from harness_results.study.theory import decay_at_start
from harness_results.text.format import as_mapping
from harness_results.text.thinning import evenly_chosen

MOMENTS = {"initial": "at the start", "final": "after training"}
MOST_PANELS = 8
SMALLEST = 1e-12  # of its value at lag 0: nothing below is drawn
SERIES = ("lags", "median", "low", "high")
Point = tuple[float, float | None, float | None, float | None]  # of SERIES


@dataclass(frozen=True)
class Flow:
    """One gradient flow, without points that are not numbers.

    Attributes:
        points: lag, and median and quartiles of the norm over a batch.
        unit: the median at lag 0, above zero.
        decay: the fitted factor per step.
        states: by the name of a state, (lag, median); empty for a cell with one state.
    """

    points: Sequence[Point]
    unit: float
    decay: float | None
    states: Mapping[str, Sequence[tuple[float, float | None]]]


class Curve(NamedTuple):
    """The gradient flow of one record at one moment of its training."""

    entry: Labelled
    moment: str

    def flow(self) -> Flow | None:
        """Return the flow, read from the record anew; None if it has no unit."""
        flows = []
        for seed in outcomes_of(self.entry.record):
            content = as_mapping(_flows(seed).get(self.moment))
            unit = _unit(content)
            flows += [] if unit is None else [_flow(content, unit)]
        return _over_seeds(flows) if len(flows) > 1 else next(iter(flows), None)

    @property
    def panel(self) -> Panel:
        """The panel of its task, length and moment."""
        return Panel(self.entry.by_task, self.entry.record.trial.length, MOMENTS[self.moment])

    @property
    def cell(self) -> str:
        """The cell of its record."""
        return self.entry.record.trial.cell


def gradient_flow(entries: Sequence[Labelled]) -> Rows:
    """Return the norm of dL/ds_t by lag, relative to lag 0, for every record that has one."""
    curves = [Curve(entry, moment) for entry in entries for moment in _moments(entry)]
    chosen, points, note = thin_curves(curves, lambda curve: (curve.panel, curve.cell))
    read = ((curve, curve.flow()) for curve in chosen)
    drawn = [(curve, flow) for curve, flow in read if flow is not None]
    rows = [row for curve, flow in drawn for row in _rows(curve, flow, points)]
    horizons = _horizons([curve for curve, _ in drawn])
    return rows_of(entries, [*rows, *_theories(drawn), *horizons], note, MOST_PANELS)


def draw_gradient_flow(rows: Rows) -> alt.FacetChart:
    """Return lines by cell over the lag, a band of quartiles, theory, and the horizon."""
    look, flow, state = Looks(rows, "cell", "dash"), part("flow"), part("state")
    x = alt.X("lag:Q", title="lag, time steps back", axis=alt.Axis(grid=False))
    y, low = (
        logarithmic("norm, fraction of lag 0", form=".0e", field=field) for field in ("y", "low")
    )
    shares = (("lag", "lag"), ("y", "fraction of lag 0"))
    tips = tooltips(*shares, ("norm", "norm"), ("decay", "fitted factor per step"))
    state_tips = [*tooltips(*shares), alt.Tooltip("state:N", title="by this state alone")]
    theory = part("theory").mark_line(strokeWidth=1, strokeDash=[1, 3])
    band = flow.mark_area(opacity=0.15)
    thin = state.mark_line(strokeWidth=0.8, strokeDash=[2, 2], opacity=0.8)
    by_state = ["series:N", "state:N"]
    layers = [
        rule_across("gone", y),
        corner(_factors()),
        theory.encode(x=x, y=y, **look.colour),
        band.encode(x=x, y=low, y2="high:Q", detail="series:N", **look.colour),
        thin.encode(x=x, y=y, tooltip=state_tips, detail=by_state, **look.colour),
        flow.mark_line().encode(x=x, y=y, tooltip=tips, **look.line),
    ]
    return panels(layers, rows, y=y, columns=2, free=("x",))


def _moments(entry: Labelled) -> list[str]:
    """Return each moment at which a record has a gradient flow.

    Its horizon is measured from the flow, so a trial that ended ok and has one has both moments.
    """
    if entry.record.status == "ok" and entry.has("gradient_flow", "gradient_horizon"):
        return list(MOMENTS)
    flows = _flows(entry.record)
    return [moment for moment in MOMENTS if _unit(flows.get(moment)) is not None]


def _flows(record: Record) -> Mapping[str, Any]:
    return as_mapping(record.curves.get("gradient_flow"))


def _unit(content: Any) -> float | None:
    """Return the median at lag 0, above zero; None if there is none."""
    if not isinstance(content, Mapping):
        return None
    lags, medians = series(content.get("lags")), series(content.get("median"))
    if len(lags) != len(medians):
        return None
    at_or_after_zero = (n for n, lag in enumerate(lags) if lag is not None and lag >= 0)
    first = next(at_or_after_zero, None)
    unit = None if first is None else medians[first]
    return unit if unit is not None and unit > 0 else None


def _flow(content: Mapping[str, Any], unit: float) -> Flow:
    lags, *norms = (series(content.get(name)) for name in SERIES)
    complete = [norm if len(norm) == len(lags) else [None] * len(lags) for norm in norms]
    points = [
        (lag, middle, low, high)
        for lag, middle, low, high in zip(lags, *complete, strict=True)
        if lag is not None and lag >= 0
    ]
    return Flow(
        points, unit, series([content.get("decay")])[0], _states(content.get("states"), lags)
    )


def _over_seeds(flows: Sequence[Flow]) -> Flow:
    """Return the median of the flows of several seeds, and their range or quartiles."""
    unit = median(flow.unit for flow in flows)
    norms = [[(lag, middle) for lag, middle, *_ in flow.points] for flow in flows]
    points: list[Point] = []
    for lag, shares in _shares_by_lag(norms, flows).items():
        low, high = spread(shares)
        points.append((lag, unit * median(shares), unit * low, unit * high))
    states = {}
    for name in flows[0].states:
        shares_by_lag = _shares_by_lag([flow.states.get(name, ()) for flow in flows], flows)
        states[name] = [(lag, unit * median(shares)) for lag, shares in shares_by_lag.items()]
    decays = [flow.decay for flow in flows if flow.decay is not None]
    return Flow(points, unit, median(decays) if decays else None, states)


def _shares_by_lag(
    norms: Sequence[Sequence[tuple[float, float | None]]], flows: Sequence[Flow]
) -> dict[float, list[float]]:
    """Return, for each lag of the first seed, the share of each seed's own norm at lag 0."""
    of_seeds = [dict(points) for points in norms]
    shares: dict[float, list[float]] = {}
    for lag in of_seeds[0]:
        values = [
            _share(points.get(lag), flow.unit) for points, flow in zip(of_seeds, flows, strict=True)
        ]
        finite_shares = [value for value in values if value is not None]
        shares |= {lag: finite_shares} if finite_shares else {}
    return shares


def _states(
    content: Any, lags: Sequence[float | None]
) -> dict[str, list[tuple[float, float | None]]]:
    if not isinstance(content, Mapping) or len(content) < 2:  # noqa: PLR2004
        return {}
    states = {}
    for name, values in content.items():
        norms = series(values)
        if len(norms) == len(lags):
            pairs = zip(lags, norms, strict=True)
            states[str(name)] = [(lag, norm) for lag, norm in pairs if lag is not None and lag >= 0]
    return states


def _rows(curve: Curve, flow: Flow, points: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of one curve; the median at lag 0 is the unit of all its series."""
    common = {**curve.entry.common, "panel": curve.panel}
    for lag, middle, *quartiles in evenly_chosen(list(_shares(flow)), points):
        low, high = (None if share is None else short(max(share, SMALLEST)) for share in quartiles)
        row = {**common, "part": "flow", "lag": lag, "y": short(middle), "low": low, "high": high}
        yield row | {"norm": short(middle * flow.unit), "decay": flow.decay}
    for name, norms in flow.states.items():
        shares = ((lag, _share(norm, flow.unit) or 0.0) for lag, norm in norms)
        visible = [(lag, share) for lag, share in shares if share >= SMALLEST]
        for lag, share in evenly_chosen(visible, points // (2 * len(flow.states))):
            yield {**common, "part": "state", "lag": lag, "y": short(share), "state": name}


def _shares(flow: Flow) -> Iterator[tuple[float, float, float | None, float | None]]:
    for lag, *norms in flow.points:
        middle, low, high = (_share(norm, flow.unit) for norm in norms)
        if middle is not None and middle >= SMALLEST:
            yield lag, middle, low, high


def _share(norm: float | None, unit: float) -> float | None:
    share = math.nan if norm is None else norm / unit
    return share if math.isfinite(share) else None


def _theories(curves: Sequence[tuple[Curve, Flow]]) -> Iterator[dict[str, Any]]:
    """Yield, for each panel of the start, the line of each cell for which theory has a factor."""
    done: set[tuple[Panel, str]] = set()
    for curve, flow in curves:
        factor = decay_at_start(curve.entry.record.trial)
        key = (curve.panel, curve.cell)
        if curve.moment == "initial" and factor is not None and key not in done:
            done.add(key)
            row = reference_row(curve.entry, "theory", curve.panel, "cell")
            row |= {"cell": curve.cell, "label": f"{curve.cell} {factor:.3g}"}
            visible = (lag for lag, *_ in flow.points if factor**lag >= SMALLEST)
            for lag in (0, max(visible, default=0)):
                yield row | {"lag": lag, "y": factor**lag}


def _factors() -> alt.Chart:
    """Return the factors of theory as the words of each panel; the page's filters apply to them."""
    lines = part("theory").transform_filter("datum.lag === 0")
    labels = alt.AggregatedFieldDef(op="values", field="label", **{"as": "lines"})
    grouped = lines.transform_aggregate([labels], groupby=["panel"])
    words: alt.Chart = grouped.transform_calculate(
        label="'theory, per step: ' + join(sort(pluck(datum.lines, 'label')), ', ')"
    )
    return words


def _horizons(curves: Sequence[Curve]) -> Iterator[dict[str, Any]]:
    """Yield, once per panel, the line below which the gradient counts as gone."""
    for panel, entry in {curve.panel: curve.entry for curve in reversed(curves)}.items():
        yield {**reference_row(entry, "gone", panel, "cell"), "y": HORIZON_FRACTION}
