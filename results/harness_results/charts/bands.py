"""Several seeds as one line with a band: the median, and the range or the quartiles over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import altair as alt

from harness_results.charts.data import Rows, short
from harness_results.study.seeds.statistics import spread

OPACITY = 0.15


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Return the columns ``y``, ``low`` and ``high`` of the values of each seed.

    A seed without a value, such as one that diverged before, counts as the worst: as infinite. The
    band then ends at the largest value. ``y`` is None if half of the seeds have none.
    """
    if len(values) == 1:
        return {"y": values[0]}
    worst = [math.inf if value is None else value for value in values]
    finite = [value for value in worst if math.isfinite(value)]
    middle = median(worst)
    if not math.isfinite(middle):
        return {"y": None}
    low, high = (min(end, max(finite)) for end in spread(worst))
    return {"y": short(middle), "low": short(low), "high": short(high)}


def has_bands(rows: Iterable[Any]) -> bool:
    """Say whether any of these rows stands for several seeds."""
    return any(row.get("seeds") for row in rows)


def bands(rows: Rows, marks: alt.Chart, x: alt.X, low: alt.Y, colour: dict[str, Any]) -> list[Any]:
    """Return the layers of a band over seeds; none of one seed.

    Args:
        rows: the rows of the chart.
        marks: the layer whose rows have ``low`` and ``high``.
        x: the horizontal axis.
        low: the vertical axis of ``low``.
        colour: the encoding of colour.
    """
    if not has_bands(rows):
        return []
    area = marks.transform_filter("isValid(datum.low)").mark_area(opacity=OPACITY)
    return [area.encode(x=x, y=low, y2="high:Q", detail="series:N", **colour)]
