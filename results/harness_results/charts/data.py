"""What a chart draws: rows of JSON values, thinned to a limit, and a note of what was left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

from harness_results.study.findings import UNNAMED
from harness_results.text.thinning import evenly_chosen

Row = Mapping[str, Any]
T = TypeVar("T")

# Rows of lines and curves in one chart, so that a page stays small. Limits, fits and other
# references come on top.
MOST_ROWS = 1500
MOST_PANELS = 12
MOST_POINTS, FEWEST_POINTS = 100, 12  # of one curve


@dataclass(frozen=True)
class Rows:
    """The rows of one chart.

    Attributes:
        values: the rows; each has ``part``, ``task``, ``cell``, ``backend``, ``engine``, ``length``
            (or None), ``network``, ``series`` (the number of its line), ``scale`` (rows of equal
            ``scale`` share the range of their vertical axis: those of a task, but trials that did
            not end well have their own), ``panel``, ``order`` (of the panel), and ``level``: 1 for
            the panels to draw first. A row of several seeds has their number, ``seeds``. A
            reference, such as a baseline, has no engine, and may have no cell: None.
        engines: every engine of the records, drawn or not. An engine looks the same in every chart.
        cells: every cell, likewise.
        note: what was left out; None if nothing was.
        thinned: the part of the note about lines and curves, without that about panels.
        most: the largest number of panels to draw.
        baseline: the name of the only baseline that is drawn; ``baseline`` if there are several.
    """

    values: tuple[Row, ...] = ()
    engines: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    note: str | None = None
    thinned: str | None = None
    most: int = MOST_PANELS
    baseline: str = UNNAMED

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.values)

    @cached_property
    def panels(self) -> dict[str, int]:
        """The level of each panel."""
        return {str(row["panel"]): int(row["level"]) for row in self.values}

    @cached_property
    def levels(self) -> int:
        """The number of levels whose panels all fit, at least one."""
        panels_by_level = sorted(Counter(self.panels.values()).items())
        totals = accumulate(count for _, count in panels_by_level)
        fitting = [
            level
            for (level, _), total in zip(panels_by_level, totals, strict=True)
            if total <= self.most
        ]
        return max(fitting, default=1)

    @cached_property
    def drawn(self) -> int:
        """The number of panels that are drawn."""
        levels = self.levels
        return min(self.most, sum(level <= levels for level in self.panels.values()))


def thin_curves(
    curves: Sequence[T], group: Callable[[T], Hashable]
) -> tuple[list[T], int, str | None]:
    """Return the curves to draw, the number of points for each, and a note if some are left out.

    Every group gets its first curve before any group gets its second. If not all groups fit, groups
    are chosen evenly.
    """
    points = min(MOST_POINTS, max(FEWEST_POINTS, MOST_ROWS // max(1, len(curves))))
    most, seen = MOST_ROWS // points, Counter[Hashable]()
    rounds: list[list[int]] = []  # the indices of the first curve of each group, the second, ...
    for index, curve in enumerate(curves):
        turn = seen[group(curve)]
        seen[group(curve)] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    drawn: list[int] = []
    for indices in rounds:
        drawn += evenly_chosen(indices, most - len(drawn)) if len(drawn) < most else []
    note = f"{len(drawn)} of {len(curves)} curves are drawn" if len(drawn) < len(curves) else None
    return [curves[index] for index in sorted(drawn)], points, note


def thin_lines(lines: Sequence[Sequence[T]], noun: str) -> tuple[list[Sequence[T]], str | None]:
    """Return the lines to draw, each whole and evenly chosen, and a note if some are left out.

    Args:
        lines: the items of each line, one for each row of the chart.
        noun: what the note calls the lines.
    """
    total = sum(map(len, lines))
    if total <= MOST_ROWS:
        return list(lines), None
    most = max(1, MOST_ROWS * len(lines) // total)
    while sum(map(len, evenly_chosen(lines, most))) > MOST_ROWS and most > 1:
        most = most * 9 // 10
    return evenly_chosen(lines, most), f"{most} of {len(lines)} {noun} are drawn"


def buckets(
    series: Sequence[float | None], most: int, reduce: Callable[[Sequence[float]], float]
) -> list[float | None]:
    """Return the series reduced to at most ``most`` values.

    Args:
        series: one value per step; None for an unknown value.
        most: the largest number of buckets; each has about equally many neighbours.
        reduce: makes one value of the finite values of a bucket. A bucket without any gives None.
    """
    count = min(most, len(series))
    reduced: list[float | None] = []
    for n in range(count):
        bucket = series[n * len(series) // count : (n + 1) * len(series) // count]
        values = [value for value in bucket if value is not None and math.isfinite(value)]
        reduced.append(short(reduce(values)) if values else None)
    return reduced


def short(value: float) -> float:
    """Return a value rounded to six digits, more than a picture shows."""
    return float(f"{value:.6g}")


def ends(count: int, most: int) -> list[int]:
    """Return the position (from 1) of the last value in each bucket of ``buckets``."""
    parts = min(most, count)
    return [(n + 1) * count // parts for n in range(parts)]
