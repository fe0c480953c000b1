"""Over the lag: what a network could learn from, what it keeps, and what it computes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import altair as alt

from harness.contract.probes import Curve
from harness.contract.records.probed import Probed, probed
from harness_results.charts.bands import bands, over_seeds
from harness_results.charts.data import Rows, short, thin_curves
from harness_results.charts.flow import Curve as FlowCurve
from harness_results.charts.marks import DASHED, DOTTED, EXTENT, panels, part, tooltips
from harness_results.charts.panels import Panel
from harness_results.charts.series import Labelled, ended, reference_row, rows_of
from harness_results.charts.theme import OKABE_ITO
from harness_results.study.seeds.summary import outcomes_of
from harness_results.text.thinning import evenly_chosen

LEARNS = "could learn from (gradient, of its largest)"
KEEPS = "keeps (past inputs, decoded)"
COMPUTES = "computes (what the task needs, decoded)"
MEMORIES = (LEARNS, KEEPS, COMPUTES)
SCORES = ("accuracy", "r2")  # of the latent probe; one of them exists
Point = tuple[float, Mapping[str, Any]]  # a lag, and the columns of its value


def memories(entries: Sequence[Labelled]) -> Rows:
    """Return the three memories of each network that a probe has measured, with chance."""
    measured = [entry for entry in ended(entries) if _has_memory(entry)]
    drawn, most, note = thin_curves(measured, _panel)
    rows = [row for entry in drawn for row in _rows(entry, most // len(MEMORIES))]
    return rows_of(entries, rows, note)


def draw_memories(rows: Rows) -> alt.FacetChart:
    """Return a panel per network with a line per memory; chance dashed, theory dotted."""
    x = alt.X("lag:Q", title="lag, time steps back", axis=alt.Axis(grid=False, tickMinStep=1))
    y, low = (_axis(field) for field in ("y", "low"))
    scale = alt.Scale(domain=list(MEMORIES), range=list(OKABE_ITO[: len(MEMORIES)]))
    symbol: dict[str, Any] = {"symbolType": "stroke", "symbolSize": 400, "symbolOpacity": 1}
    legend = alt.Legend(title=None, labelLimit=0, columns=2, **symbol)
    colour = {"color": alt.Color("memory:N", scale=scale, legend=legend)}
    look = {**colour, "detail": "series:N"}
    tips = [alt.Tooltip("memory:N", title="memory"), *tooltips(("lag", "lag"), ("y", "score"))]
    measured = part("measured")
    thin: dict[str, Any] = {"strokeWidth": 1.5, "opacity": 0.8}
    layers = [
        part("chance").mark_line(strokeDash=DASHED, **thin).encode(x=x, y=y, **look),
        part("theory").mark_line(strokeDash=DOTTED, **thin).encode(x=x, y=y, **look),
        *bands(rows, measured, x, low, colour),
        measured.mark_line(strokeWidth=2.5).encode(x=x, y=y, tooltip=tips, **look),
    ]
    return panels(layers, rows, y=y, free=("x",))


def _axis(field: str) -> alt.Y:
    axis = alt.Axis(tickCount=5, minExtent=EXTENT, maxExtent=EXTENT)
    scale = alt.Scale(domain=[0, 1])
    return alt.Y(f"{field}:Q", title="score", axis=axis, scale=scale)


def _has_memory(entry: Labelled) -> bool:
    return any(_results(entry, name) for name in ("memory", "latent"))


def _results(entry: Labelled, probe: str) -> list[Probed]:
    """Return what a probe measured of each seed for which it did not fail."""
    results = [probed(seed.details).get(probe) for seed in outcomes_of(entry.record)]
    return [result for result in results if result is not None and result.figures]


def _panel(entry: Labelled) -> Panel:
    return Panel(entry.by_network, entry.record.trial.length)


def _rows(entry: Labelled, most: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a network: at most ``most`` points of each line."""
    learns, (keeps, chances) = _learns(entry), _keeps(entry)
    longest = max((lag for lag, _ in (*learns, *keeps)), default=1.0)
    computes, chance = _computes(entry, longest)
    panel = _panel(entry)
    lines = {
        ("measured", LEARNS): learns,
        ("measured", KEEPS): keeps,
        ("measured", COMPUTES): computes,
        ("theory", LEARNS): _theory(entry, longest),
        ("chance", KEEPS): chances,
        ("chance", COMPUTES): chance,
    }
    for (name, memory), points in lines.items():
        common = entry.common if name == "measured" else reference_row(entry, name, panel, "engine")
        for lag, values in evenly_chosen(points, most):
            if values["y"] is not None:
                row = {**common, "part": name, "panel": panel, "memory": memory}
                yield {**row, "series": entry.series, "lag": lag, **values}


def _learns(entry: Labelled) -> list[Point]:
    """Return the gradient flow after training as a fraction of its largest value."""
    flow = FlowCurve(entry, "final").flow()
    points = [] if flow is None else [point for point in flow.points if point[1] is not None]
    largest = max((middle for _, middle, *_ in points if middle is not None), default=0.0)
    if largest <= 0:
        return []
    return [(lag, {"y": short((middle or 0.0) / largest)}) for lag, middle, *_ in points]


def _keeps(entry: Labelled) -> tuple[list[Point], list[Point]]:
    """Return how well past inputs are decoded at each lag, and chance.

    It is the accuracy for symbols. For real inputs it is the share that is kept, without chance.
    """
    curves = [result.curves for result in _results(entry, "memory")]
    name = "accuracy" if any("accuracy" in each for each in curves) else "kept"
    return _by_lag(curves, name), _medians(_by_lag(curves, f"chance_{name}"))


def _computes(entry: Labelled, longest: float) -> tuple[list[Point], list[Point]]:
    """Return how well the latent of the task is decoded, and chance, as level lines."""
    results = [result.figures for result in _results(entry, "latent")]
    for name in SCORES:
        values = [figures.get(name) for figures in results]
        if any(value is not None for value in values):
            chances = over_seeds([figures.get(f"chance_{name}") for figures in results])
            ends = (0.0, longest)
            levels: list[Point] = [(lag, over_seeds(values)) for lag in ends]
            return levels, _medians([(lag, chances) for lag in ends])
    return [], []


def _theory(entry: Labelled, longest: float) -> list[Point]:
    """Return exp(lambda_1 lag), with the Lyapunov exponent, as far as it is at most 1."""
    results = _results(entry, "lyapunov")
    exponents = [result.figures.get("exponent_per_step") for result in results]
    finite = [exponent for exponent in exponents if exponent is not None]
    if not finite or median(finite) > 0:
        return []
    lags = range(int(longest) + 1)
    return [(float(lag), {"y": short(math.exp(median(finite) * lag))}) for lag in lags]


def _by_lag(curves: Sequence[Mapping[str, Curve]], name: str) -> list[Point]:
    """Return a curve over the lag; with several seeds the median and a band."""
    of_seeds = [
        dict(zip(each[name].at, each[name].values, strict=True)) for each in curves if name in each
    ]
    lags = sorted({lag for points in of_seeds for lag in points})
    return [(lag, over_seeds([points.get(lag) for points in of_seeds])) for lag in lags]


def _medians(points: Sequence[Point]) -> list[Point]:
    return [(lag, {"y": values["y"]}) for lag, values in points]
