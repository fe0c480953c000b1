"""Which columns of a pivot fit a terminal, and how wide each is. A row is never broken.

Several lengths are side by side if all columns fit. Otherwise each row of the pivot has a line for
each length. Columns are added in the order of ``COLUMN_PRIORITY`` while they fit next to the
labels. The first column is shown at any width.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from harness_results.render.shapes import ID, STACKED, id_lines, shapes
from harness_results.study.tables.pivot import SHARE, SPREAD, CellText, Pivot, Row
from harness_results.text.lines import (
    DIVIDER,
    GAP,
    fitted,
    joined,
    left,
    narrowed,
    shortened,
    unrepeated,
)

BARS = "bars"  # the columns of bars over the lengths
COLUMN_PRIORITY = ("loss", SHARE, SPREAD, "tokens/s", ID, "horizon", BARS, "∇ norm")
TITLE = "over T "
STYLES = {"": "", "good": "green", "warn": "yellow", "bad": "red", "dim": "dim", "best": "bold"}


@dataclass(frozen=True)
class Layout:
    """The visible columns with their widths in characters, the same in every block of one table.

    Attributes:
        pivot: the table.
        width: of the terminal.
        labels: the width of each label column.
        measures: the width of each visible measure, by index.
        bars: the width of each column of bars; empty if bars are left out.
        marked: the measures with a mark in some row; every cell of them has room for one.
    """

    pivot: Pivot
    width: int
    labels: tuple[int, ...]
    measures: dict[int, int]
    bars: tuple[int, ...]
    marked: frozenset[int]

    @classmethod
    def of(cls, pivot: Pivot, width: int, *, side_by_side: bool = True) -> Layout:
        """Return the layout for a terminal of this width.

        Args:
            pivot: the table.
            width: of the terminal.
            side_by_side: whether several lengths may be side by side.
        """
        layouts = (cls._of(shape, width) for shape in shapes(pivot, side_by_side=side_by_side))
        for layout in layouts:
            if layout.is_whole:
                break
        return layout

    @classmethod
    def _of(cls, pivot: Pivot, width: int) -> Layout:
        marked = _marked(pivot)
        measures = _measures(pivot, marked)
        bars = []
        for index, name in enumerate(pivot.trends):
            bars.append(_widest([name, *(row.trends[index] for row in pivot.rows if row.trends)]))
        widths = _label_widths(pivot)
        labels = narrowed(widths, width - len(DIVIDER) - measures[0])
        names = _visible(pivot, measures, bars, width - _across(labels) - len(DIVIDER) + len(GAP))
        visible = {i: measures[i] for i, name in enumerate(pivot.measures) if name in names}
        return cls(
            pivot, width, tuple(labels), visible, tuple(bars) if BARS in names else (), marked
        )

    @property
    def is_whole(self) -> bool:
        """Whether all labels and columns fit, at every length side by side."""
        groups = len(self.pivot.lengths) * (self._group_width + len(DIVIDER))
        bars = len(DIVIDER) + _across(self.bars) if self.bars else 0
        return (
            not set(self.left_out) - {BARS}
            and list(self.labels) == _label_widths(self.pivot)
            and _across(self.labels) + bars + groups <= self.width
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """The columns that do not fit."""
        names = [name for i, name in enumerate(self.pivot.measures) if i not in self.measures]
        return (*names, *((BARS,) if self.pivot.trends and not self.bars else ()))

    @property
    def id_lines(self) -> list[str]:
        """The ids of the trials, if there is no column for them."""
        return list(id_lines(self.pivot))

    def lines(self) -> Iterator[Text]:
        """Yield the lines of the table."""
        lengths, bars = self.pivot.lengths, self.bars
        titles = [Text(TITLE.ljust(_across(bars), "─"), style="dim")] if bars else []
        titles += [
            Text(f"T = {length} ".ljust(self._group_width, "─"), style="dim") for length in lengths
        ]
        if lengths != (STACKED,):
            yield self._line(self._labels([""] * len(self.labels)), titles)
        names = [CellText(name) for name in self.pivot.measures]
        header = Text(GAP).join(self._padded(names[i], i, "bold") for i in self.measures)
        over = [self._bars(self.pivot.trends, "bold")] if bars else []
        yield self._line(self._labels(self.pivot.axes, "bold"), [*over, *[header] * len(lengths)])
        before: tuple[str, ...] = ()
        for row in self.pivot.rows:
            over = [self._bars(row.trends, "cyan")] if bars else []
            groups = [self._group(row, length) for length in lengths]
            labels = unrepeated(row.labels, before)
            style = "dim" if row.reference else ""
            yield self._line(self._labels(labels, style), [*over, *groups])
            before = row.labels

    @property
    def _group_width(self) -> int:
        return _across(self.measures.values())

    def _line(self, labels: Text, groups: Sequence[Text]) -> Text:
        return fitted(joined(labels, groups), self.width)

    def _labels(self, labels: Sequence[str], style: str = "") -> Text:
        texts = (
            left(shortened(label, width), width)
            for label, width in zip(labels, self.labels, strict=True)
        )
        return Text(GAP.join(texts), style=style)

    def _bars(self, texts: Sequence[str], style: str) -> Text:
        padded = texts or ("",) * len(self.bars)
        return Text(GAP.join(map(left, padded, self.bars)), style=style)

    def _group(self, row: Row, length: int) -> Text:
        entry = row.entries.get(length, (CellText(""),) * len(self.pivot.measures))
        return Text(GAP).join(
            self._padded(entry[index], index, STYLES[entry[index].style]) for index in self.measures
        )

    def _padded(self, cell: CellText, index: int, style: str) -> Text:
        mark = f" {cell.mark or ' '}" if index in self.marked else ""
        space = " " * (self.measures[index] - cell_len(cell.text) - len(mark))
        return Text.assemble(space, (cell.text + mark, style))


def _marked(pivot: Pivot) -> frozenset[int]:
    entries = [entry for row in pivot.rows for entry in row.entries.values()]
    return frozenset(index for entry in entries for index, cell in enumerate(entry) if cell.mark)


def _label_widths(pivot: Pivot) -> list[int]:
    columns = zip(pivot.axes, *(row.labels for row in pivot.rows), strict=True)
    return [_widest(column) for column in columns]


def _measures(pivot: Pivot, marked: Container[int]) -> list[int]:
    """Return the width of each measure, with room for a mark if it is marked."""
    entries = [entry for row in pivot.rows for entry in row.entries.values()]
    widths = []
    for index, name in enumerate(pivot.measures):
        widest = _widest([name, *(entry[index].text for entry in entries)])
        widths.append(widest + 2 * (index in marked))
    return widths


def _visible(pivot: Pivot, measures: Sequence[int], bars: Sequence[int], room: int) -> set[str]:
    """Return the columns that fit, at least the first of all."""
    costs = {name: width + len(GAP) for name, width in zip(pivot.measures, measures, strict=True)}
    if bars:
        costs[BARS] = _across(bars) + len(DIVIDER)
    by_priority = [name for name in COLUMN_PRIORITY if name in costs]
    others = [name for name in costs if name not in COLUMN_PRIORITY]
    visible: set[str] = set()
    for name in (*by_priority, *others):
        if costs[name] <= room or not visible:
            visible.add(name)
            room -= costs[name]
    return visible


def _widest(column: Iterable[str]) -> int:
    return max(map(cell_len, column))


def _across(widths: Iterable[int]) -> int:
    """Return the width of columns side by side."""
    columns = list(widths)
    return sum(columns) + len(GAP) * (len(columns) - 1)
