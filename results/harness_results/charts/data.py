"""What a chart draws: tidy rows of JSON values, their lines thinned, with a note that says what was left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

Row = Mapping[str, Any]
T = TypeVar("T")

MOST_ROWS = 1500  # of lines and curves in one chart, so that a page stays small; limits, fits and such come on top
MOST_PANELS = 12
MOST_POINTS, FEWEST_POINTS = 100, 12  # of one curve


@dataclass(frozen=True)
class Rows:
    """The rows of one chart.

    Attributes:
        values: the rows; each has ``part``, ``task``, ``cell``, ``backend``, ``engine``, ``length``
            (None where it has none), ``network``, ``series`` (a line's number), ``panel``, its
            ``order``, and ``level``, 1 for panels to draw first. References, such as a baseline,
            belong to no engine, or to no cell: None.
        engines: every engine of the records, drawn or not, so that each looks the same in every
            chart.
        cells: every cell, likewise.
        note: what was left out; None where nothing was.
        thinned: the part of the note that is about lines and curves, and not about panels.
        most: so many panels are drawn, of the rows that there are.
    """

    values: tuple[Row, ...] = ()
    engines: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    note: str | None = None
    thinned: str | None = None
    most: int = MOST_PANELS

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
        """How many levels of panels there is room for, at least one."""
        found = sorted(Counter(self.panels.values()).items())
        upto = accumulate(count for _, count in found)
        return max(
            (level for (level, _), count in zip(found, upto, strict=True) if count <= self.most),
            default=1,
        )

    @cached_property
    def drawn(self) -> int:
        """How many panels are drawn."""
        levels = self.levels
        return min(self.most, sum(level <= levels for level in self.panels.values()))


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return ``items``, or ``most`` of them evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / max(1, most - 1))] for index in range(most)]


def in_turns(
    curves: Sequence[T], group: Callable[[T], Hashable]
) -> tuple[list[T], int, str | None]:
    """Return as many curves as there is room for, the points of each, and a note where that is not all.

    Every group gets its first curve before any gets its second; where there is no room for that,
    groups are chosen evenly.
    """
    points = min(MOST_POINTS, max(FEWEST_POINTS, MOST_ROWS // max(1, len(curves))))
    most, seen = MOST_ROWS // points, Counter[Hashable]()
    turns: list[list[int]] = []
    for place, curve in enumerate(curves):
        turn = seen[group(curve)]
        seen[group(curve)] += 1
        turns.extend([] for _ in range(turn + 1 - len(turns)))
        turns[turn].append(place)
    kept: list[int] = []
    for places in turns:
        kept += spread(places, most - len(kept)) if len(kept) < most else []
    note = f"{len(kept)} of {len(curves)} curves are drawn" if len(kept) < len(curves) else None
    return [curves[place] for place in sorted(kept)], points, note


def whole_lines(lines: Sequence[Sequence[T]], what: str) -> tuple[list[Sequence[T]], str | None]:
    """Return as many whole lines, evenly chosen, as there is room for; and a note where that is not all.

    Args:
        lines: each one's rows, or what stands for them.
        what: the name of such lines in the note.
    """
    total = sum(map(len, lines))
    if total <= MOST_ROWS:
        return list(lines), None
    most = max(1, MOST_ROWS * len(lines) // total)
    while sum(map(len, spread(lines, most))) > MOST_ROWS and most > 1:
        most = most * 9 // 10
    return spread(lines, most), f"{most} of {len(lines)} {what} are drawn"


def buckets(
    series: Sequence[float | None], most: int, of: Callable[[Sequence[float]], float]
) -> list[float | None]:
    """Return at most so many values, each ``of`` a bucket of equally many neighbours; None where none is known."""
    parts = min(most, len(series))
    cut = (series[n * len(series) // parts : (n + 1) * len(series) // parts] for n in range(parts))
    known = (
        [value for value in part if value is not None and math.isfinite(value)] for part in cut
    )
    return [short(of(part)) if part else None for part in known]


def short(value: float) -> float:
    """Return a point of a curve with six digits, which is more than a picture shows."""
    return float(f"{value:.6g}")


def ends(count: int, most: int) -> list[int]:
    """Return the position (from 1) of the last value in each bucket of ``buckets``."""
    parts = min(most, count)
    return [(n + 1) * count // parts for n in range(parts)]
