"""The tables of a report for a terminal, as Rich renderables that fit its width. Their content is the pivot's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness.contract.record import Record
from harness_results.notes import READING
from harness_results.pivot import MEASURES, Pivot, Row, Shown, pivots
from harness_results.text import to_ascii

STYLES = {"": "", "good": "green", "warn": "yellow", "bad": "red", "dim": "dim", "best": "bold"}
GAP, DIVIDER = "  ", " │ "


@dataclass(frozen=True)
class ReportTables:
    """Tables that lay themselves out for the console they are printed on: as many lengths side by side as fit."""

    pivots: Sequence[Pivot]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        clean = to_ascii if options.ascii_only else str
        for pivot in self.pivots:
            for line in _lines(pivot, options.max_width):
                yield _cleaned(line, clean)
        if self.pivots:
            yield _cleaned(Text(READING, style="dim"), clean)


def rich_table(records: Iterable[Record]) -> ReportTables:
    """Return the tables of these records, one per task, with what must be known below each."""
    return ReportTables(pivots(records))


def plain_table(records: Iterable[Record], width: int = 100) -> str:
    """Return the tables as text without colours."""
    console = Console(width=width, color_system=None, highlight=False, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        console.print(rich_table(records))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _lines(pivot: Pivot, width: int) -> Iterator[Text]:
    yield Text.assemble((pivot.task, "bold"), (f"   {pivot.settings}", "dim"))
    layout = _Layout.of(pivot)
    for start in range(0, len(pivot.lengths), groups := layout.groups(width)):
        yield from layout.block(pivot, pivot.lengths[start : start + groups])
        yield Text("")
    for note in pivot.notes:
        yield Text(note)
    if pivot.notes:
        yield Text("")


@dataclass(frozen=True)
class _Layout:
    """The widths of the label columns and of the measures, the same in every block of one table."""

    labels: tuple[int, ...]
    measures: tuple[int, ...]
    marked: tuple[bool, ...]  # whether a mark stands in the column: then every cell keeps room for one

    @classmethod
    def of(cls, pivot: Pivot) -> _Layout:
        entries = [entry for row in pivot.rows for entry in row.entries.values()]
        columns = [[entry[index] for entry in entries] for index in range(len(MEASURES))]
        marked = tuple(any(shown.mark for shown in column) for column in columns)
        texts = [
            max(map(cell_len, (name, *(s.text for s in column))))
            for name, column in zip(MEASURES, columns, strict=True)
        ]
        labels = [[name, *(row.labels[index] for row in pivot.rows)] for index, name in enumerate(pivot.axes)]
        widths = tuple(text + 2 * mark for text, mark in zip(texts, marked, strict=True))
        return cls(tuple(max(map(cell_len, column)) for column in labels), widths, marked)

    @property
    def group(self) -> int:
        return sum(self.measures) + len(GAP) * (len(self.measures) - 1)

    def groups(self, width: int) -> int:
        """Return how many lengths fit side by side."""
        room = width - sum(self.labels) - len(GAP) * (len(self.labels) - 1)
        return max(1, room // (self.group + len(DIVIDER)))

    def block(self, pivot: Pivot, lengths: Sequence[int]) -> Iterator[Text]:
        """Yield the lines of the table for some of its lengths."""
        blank = self._labels([""] * len(self.labels))
        titles = [(Text(f"T = {length} ".ljust(self.group, "─"), style="dim")) for length in lengths]
        yield _joined(blank, titles)
        header = Text(GAP).join(self._padded(Shown(name), i, style="bold") for i, name in enumerate(MEASURES))
        yield _joined(self._labels(pivot.axes, style="bold"), [header] * len(lengths))
        before: tuple[str, ...] = ()
        for row in pivot.rows:
            if any(length in row.entries for length in lengths):
                yield _joined(self._row_labels(row, before), [self._group(row, length) for length in lengths])
                before = row.labels

    def _row_labels(self, row: Row, before: Sequence[str]) -> Text:
        """Return the labels, less those that repeat the line above."""
        kept = [
            "" if index < len(row.labels) - 1 and tuple(before[: index + 1]) == row.labels[: index + 1] else label
            for index, label in enumerate(row.labels)
        ]
        return self._labels(kept, style="dim" if row.reference else "")

    def _labels(self, labels: Sequence[str], style: str = "") -> Text:
        padded = [label + " " * (width - cell_len(label)) for label, width in zip(labels, self.labels, strict=True)]
        return Text(GAP.join(padded), style=style)

    def _group(self, row: Row, length: int) -> Text:
        entry = row.entries.get(length, (Shown(""),) * len(MEASURES))
        return Text(GAP).join(self._padded(shown, index, STYLES[shown.tone]) for index, shown in enumerate(entry))

    def _padded(self, shown: Shown, index: int, style: str) -> Text:
        mark = f" {shown.mark or ' '}" if self.marked[index] else ""
        space = " " * (self.measures[index] - cell_len(shown.text) - len(mark))
        return Text.assemble(space, (shown.text + mark, style))


def _joined(labels: Text, groups: Sequence[Text]) -> Text:
    divider = Text(DIVIDER, style="dim")
    line = Text("")
    for part in (labels, *(piece for group in groups for piece in (divider, group))):
        line.append_text(part)
    return line


def _cleaned(line: Text, clean: Callable[[str], str]) -> Text:
    copy = line.copy()
    copy.plain = clean(line.plain)
    return copy
