"""Curves as lines of text: braille dots, or ASCII. Knows no record and no colour."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness_results.text.format import count, number

# The bits of a braille character's dots, by row and column.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
BLANK = 0x2800
LABEL = 9  # cells for a number at the axis
MOST_EXPONENT = sys.float_info.max_10_exp  # of the largest power of ten that a float holds
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """One curve and single marks.

    Attributes:
        title: the name of the vertical axis with its unit.
        across: the name of the horizontal axis with its unit.
        curve: (n, 2), pairs (x, y), drawn as a line through the mean of each column.
        marks: (n, 2), pairs (x, y), drawn as ``o``.
        logarithmic: whether the vertical axis is logarithmic; then only y above 0 is drawn.
    """

    title: str
    across: str
    curve: Points
    marks: Points = ()
    logarithmic: bool = False

    def lines(self, width: int, height: int = 10, *, ascii_only: bool = False) -> Iterator[str]:
        """Yield the lines of the drawing; none if fewer than two different x can be drawn."""
        curve, marks = self._drawable(self.curve), self._drawable(self.marks)
        xs, ys = [x for x, _ in (*curve, *marks)], [y for _, y in (*curve, *marks)]
        if len(set(xs)) < 2:  # noqa: PLR2004
            return
        columns, (wide, high) = max(10, width - LABEL - 2), (1, 1) if ascii_only else (2, 4)
        box = _Box(min(xs), max(xs), min(ys), max(ys), columns * wide, height * high)
        cells = [[" "] * columns for _ in range(height)]
        for column, row in _dots(curve, box):
            line, index = cells[row // high], column // wide
            line[index] = "*" if ascii_only else _with_dot(line[index], row % high, column % wide)
        for x, y in marks:
            cells[box.row(y) // high][box.column(x) // wide] = "o"
        yield self.title + " (log)" * self.logarithmic
        ticks = {0, (height - 1) // 2, height - 1}
        for row, line in enumerate(cells):
            value = box.value(1 - row / (height - 1))
            tick = number(self._original(value)) if row in ticks else ""
            yield f"{tick:>{LABEL}} {'┤' if tick else '│'}{''.join(line)}".rstrip()
        yield " " * (LABEL + 1) + "└" + "─" * columns
        low, end = count(round(box.left)), count(round(box.right))
        yield " " * (LABEL + 2) + low + self.across.center(columns - len(low) - len(end)) + end

    def _original(self, value: float) -> float:
        """Return the y of a drawn value; of a logarithm at most the largest power of ten."""
        return 10.0 ** min(value, MOST_EXPONENT) if self.logarithmic else value

    def _drawable(self, points: Points) -> list[tuple[float, float]]:
        finite = [(x, y) for x, y in points if math.isfinite(y)]
        return [(x, math.log10(y)) for x, y in finite if y > 0] if self.logarithmic else finite


@dataclass(frozen=True)
class _Box:
    """Maps values to dots: columns from the left, rows from the top."""

    left: float
    right: float
    bottom: float
    top: float
    columns: int
    rows: int

    def column(self, x: float) -> int:
        return round((x - self.left) / (self.right - self.left) * (self.columns - 1))

    def row(self, y: float) -> int:
        half = self.top / 2 - self.bottom / 2  # the whole range may overflow
        part = (y / 2 - self.bottom / 2) / half if half else 0.5
        return round((1 - part) * (self.rows - 1))

    def value(self, part: float) -> float:
        return self.bottom * (1 - part) + self.top * part


def _dots(curve: Points, box: _Box) -> Iterator[tuple[int, int]]:
    """Yield the dots (column, row) of a line through the means of the columns."""
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
