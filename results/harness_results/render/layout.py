"""Which columns of a pivot a terminal of some width shows, and how wide each is. A row is never broken.

While there is room for them beside the labels and one length, columns are kept in the order of
``COLUMN_PRIORITY``; the first one stays at any width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from harness_results.study.tables.pivot import CellText, Pivot, Row
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

BARS = "bars"  # the columns across lengths
COLUMN_PRIORITY = ("loss", "tokens/s", "horizon", BARS, "∇ norm")
TITLE = "over T "
STYLES = {"": "", "good": "green", "warn": "yellow", "bad": "red", "dim": "dim", "best": "bold"}


@dataclass(frozen=True)
class Layout:
    """The columns that are shown, with their widths, the same in every block of one table."""

    pivot: Pivot
    width: int
    labels: tuple[int, ...]
    measures: dict[int, int]  # those that are shown -> how wide
    bars: tuple[int, ...]  # how wide; none: they are not shown
    marked: frozenset[int]  # measures where a mark stands: then every cell keeps room for one

    @classmethod
    def of(cls, pivot: Pivot, width: int) -> Layout:
        """Return the layout for a terminal of this width."""
        marked, measures = _marked(pivot), _measures(pivot)
        drawn = [
            (name, *(row.trends[i] for row in pivot.rows if row.trends))
            for i, name in enumerate(pivot.trends)
        ]
        bars = tuple(map(_widest, drawn))
        columns = [
            [name, *(row.labels[index] for row in pivot.rows)]
            for index, name in enumerate(pivot.axes)
        ]
        labels = narrowed(list(map(_widest, columns)), width - len(DIVIDER) - measures[0])
        kept = _kept(pivot, measures, bars, width - _across(labels) - len(DIVIDER) + len(GAP))
        shown = {
            index: measures[index] for index, name in enumerate(pivot.measures) if name in kept
        }
        return cls(pivot, width, tuple(labels), shown, bars if BARS in kept else (), marked)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What there is no room for."""
        missing = [
            name for index, name in enumerate(self.pivot.measures) if index not in self.measures
        ]
        return (*missing, *((BARS,) if self.pivot.trends and not self.bars else ()))

    def blocks(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the lengths that stand side by side: below each other what does not fit; beside the bars fewer."""
        start, room = 0, self.width - _across(self.labels)
        beside = room - (len(DIVIDER) + _across(self.bars) if self.bars else 0)
        while start < len(lengths):
            many = max(1, (room if start else beside) // (self._group_width + len(DIVIDER)))
            yield list(lengths[start : start + many])
            start += many

    def block(self, lengths: Sequence[int], rows: Sequence[Row], *, first: bool) -> Iterator[Text]:
        """Yield the lines of the table for some of its lengths; the bars stand in the first block."""
        bars = self.bars if first else ()
        above = [Text(TITLE.ljust(_across(bars), "─"), style="dim")] if bars else []
        titles = [
            Text(f"T = {length} ".ljust(self._group_width, "─"), style="dim") for length in lengths
        ]
        yield self._line(self._labels([""] * len(self.labels)), [*above, *titles])
        header = Text(GAP).join(
            self._padded(CellText(self.pivot.measures[i]), i, "bold") for i in self.measures
        )
        over = [self._bars(self.pivot.trends, "bold")] if bars else []
        yield self._line(self._labels(self.pivot.axes, "bold"), [*over, *[header] * len(lengths)])
        before: tuple[str, ...] = ()
        for row in rows:
            if any(length in row.entries for length in lengths):
                over = [self._bars(row.trends, "cyan")] if bars else []
                groups = [self._group(row, length) for length in lengths]
                names = self._labels(unrepeated(row.labels, before), "dim" if row.reference else "")
                yield self._line(names, [*over, *groups])
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
            self._padded(entry[index], index, STYLES[entry[index].tone]) for index in self.measures
        )

    def _padded(self, shown: CellText, index: int, style: str) -> Text:
        mark = f" {shown.mark or ' '}" if index in self.marked else ""
        space = " " * (self.measures[index] - cell_len(shown.text) - len(mark))
        return Text.assemble(space, (shown.text + mark, style))


def _marked(pivot: Pivot) -> frozenset[int]:
    entries = [entry for row in pivot.rows for entry in row.entries.values()]
    return frozenset(index for entry in entries for index, shown in enumerate(entry) if shown.mark)


def _measures(pivot: Pivot) -> list[int]:
    """Return how wide each measure is, with room for a mark where one occurs."""
    entries = [entry for row in pivot.rows for entry in row.entries.values()]
    texts = [[name, *(entry[i].text for entry in entries)] for i, name in enumerate(pivot.measures)]
    marked = _marked(pivot)
    return [_widest(column) + 2 * (index in marked) for index, column in enumerate(texts)]


def _kept(pivot: Pivot, measures: Sequence[int], bars: Sequence[int], room: int) -> set[str]:
    """Return the columns there is room for, the first of all in any case."""
    costs = {name: width + len(GAP) for name, width in zip(pivot.measures, measures, strict=True)}
    costs |= {BARS: _across(bars) + len(DIVIDER)} if bars else {}
    kept: set[str] = set()
    for name in sorted(
        costs,
        key=lambda name: (
            COLUMN_PRIORITY.index(name) if name in COLUMN_PRIORITY else len(COLUMN_PRIORITY)
        ),
    ):
        if costs[name] <= room or not kept:
            kept.add(name)
            room -= costs[name]
    return kept


def _widest(column: Iterable[str]) -> int:
    return max(map(cell_len, column))


def _across(widths: Iterable[int]) -> int:
    known = list(widths)
    return sum(known) + len(GAP) * (len(known) - 1)
