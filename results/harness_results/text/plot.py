"""Curves as lines of text: braille dots, or ASCII. It knows no record and no colour."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness_results.text.format import count, number

DOTS = (
    (0x01, 0x08),
    (0x02, 0x10),
    (0x04, 0x20),
    (0x40, 0x80),
)  # of a braille character, by row and column
BLANK = 0x2800
LABEL = 9  # cells for a number at the axis
MOST_EXPONENT = sys.float_info.max_10_exp  # 10 to it is a number, above it is none
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """One curve, and marks beside it.

    Attributes:
        title: what is drawn, the vertical axis with its unit.
        across: the horizontal axis with its unit.
        curve: (x, y), drawn as a line, each column the mean of what falls into it.
        marks: (x, y), drawn as ``o``.
        logarithmic: whether the vertical axis is; then only y above 0 is drawn.
    """

    title: str
    across: str
    curve: Points
    marks: Points = ()
    logarithmic: bool = False

    def lines(self, width: int, height: int = 10, *, ascii_only: bool = False) -> Iterator[str]:
        """Yield the lines of the drawing; none where there are not two points to be seen."""
        curve, marks = self._seen(self.curve), self._seen(self.marks)
        xs, ys = [x for x, _ in (*curve, *marks)], [y for _, y in (*curve, *marks)]
        if len(set(xs)) < 2:  # noqa: PLR2004
            return
        columns, (wide, high) = max(10, width - LABEL - 2), (1, 1) if ascii_only else (2, 4)
        box = _Box(min(xs), max(xs), min(ys), max(ys), columns * wide, height * high)
        cells = [[" "] * columns for _ in range(height)]
        for column, row in _dots(curve, box):
            old = cells[row // high][column // wide]
            cells[row // high][column // wide] = (
                "*" if ascii_only else _with_dot(old, row % high, column % wide)
            )
        for x, y in marks:
            cells[box.row(y) // high][box.column(x) // wide] = "o"
        yield self.title + " (log)" * self.logarithmic
        values = {
            row: box.value(1 - row / (height - 1)) for row in (0, (height - 1) // 2, height - 1)
        }
        for row, line in enumerate(cells):
            tick = number(self._told(values[row])) if row in values else ""
            yield f"{tick:>{LABEL}} {'┤' if tick else '│'}{''.join(line)}".rstrip()
        yield " " * (LABEL + 1) + "└" + "─" * columns
        low, end = count(round(box.left)), count(round(box.right))
        yield " " * (LABEL + 2) + low + self.across.center(columns - len(low) - len(end)) + end

    def _told(self, value: float) -> float:
        """Return what stands at an axis: of a logarithm its number, or the largest power of ten."""
        return 10.0 ** min(value, MOST_EXPONENT) if self.logarithmic else value

    def _seen(self, points: Points) -> list[tuple[float, float]]:
        known = [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not self.logarithmic)]
        return [(x, math.log10(y)) for x, y in known] if self.logarithmic else known


@dataclass(frozen=True)
class _Box:
    """From values to dots: columns from the left, rows from the top."""

    left: float
    right: float
    bottom: float
    top: float
    columns: int
    rows: int

    def column(self, x: float) -> int:
        return round((x - self.left) / (self.right - self.left) * (self.columns - 1))

    def row(self, y: float) -> int:
        half = (
            self.top / 2 - self.bottom / 2
        )  # of the range, which itself may be beyond what a float holds
        part = (y / 2 - self.bottom / 2) / half if half else 0.5
        return round((1 - part) * (self.rows - 1))

    def value(self, part: float) -> float:
        return self.bottom * (1 - part) + self.top * part


def _dots(curve: Points, box: _Box) -> Iterator[tuple[int, int]]:
    """Yield the dots of a line through the means of the columns."""
    columns: dict[int, list[float]] = {}
    for x, y in curve:
        columns.setdefault(box.column(x), []).append(y)
    means = [
        (column, box.row(sum(y / len(ys) for y in ys))) for column, ys in sorted(columns.items())
    ]
    yield from means[:1]
    for (left, start), (right, end) in itertools.pairwise(means):
        steps = max(right - left, abs(end - start))
        yield from (
            (left + (right - left) * n // steps, start + round((end - start) * n / steps))
            for n in range(1, steps + 1)
        )


def _with_dot(cell: str, row: int, column: int) -> str:
    return chr((BLANK if cell == " " else ord(cell)) | DOTS[row][column])
