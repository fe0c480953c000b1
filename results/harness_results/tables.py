"""The tables of a report for a terminal, as Rich renderables that fit its width. Their content is the pivot's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness.contract.record import Record
from harness_results.lines import DIVIDER, GAP, grid_lines, joined, left, note_lines, unrepeated
from harness_results.pivot import Pivot, Row, Shown
from harness_results.sections import Report, report
from harness_results.text import to_ascii

STYLES = {"": "", "good": "green", "warn": "yellow", "bad": "red", "dim": "dim", "best": "bold"}


@dataclass(frozen=True)
class ReportTables:
    """Tables that lay themselves out for the console they are printed on: as much side by side as fits."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        for line in self._lines(width):
            shown = _in_ascii(line) if options.ascii_only else line
            yield from shown.render(console, end="\n") if shown.cell_len <= width else (shown,)  # else it is wrapped

    def _lines(self, width: int) -> Iterator[Text]:
        for table in self.report.tables:
            yield from _pivot_lines(table, width) if isinstance(table, Pivot) else grid_lines(table, width)
        if self.report.tables and self.report.reading:
            yield Text(self.report.reading, style="dim")


def rich_table(records: Iterable[Record]) -> ReportTables:
    """Return the tables of these records, by task, with what must be known below each."""
    return ReportTables(report(list(records)))


def plain_table(records: Iterable[Record], width: int = 100) -> str:
    """Return the tables as text without colours."""
    return plain_text(rich_table(records), width)


def plain_text(tables: ReportTables, width: int = 100) -> str:
    """Return tables as text without colours."""
    console = Console(width=width, color_system=None, highlight=False, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        console.print(tables)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _pivot_lines(pivot: Pivot, width: int) -> Iterator[Text]:
    yield Text.assemble((pivot.task, "bold"), (f"   {pivot.settings}", "dim"))
    layout = _Layout.of(pivot)
    for start in range(0, len(pivot.lengths), groups := layout.groups(width)):
        yield from layout.block(pivot, pivot.lengths[start : start + groups])
        yield Text("")
    yield from note_lines(pivot.notes)


@dataclass(frozen=True)
class _Layout:
    """The widths of the label columns and of the measures, the same in every block of one table."""

    names: tuple[str, ...]
    labels: tuple[int, ...]
    measures: tuple[int, ...]
    marked: tuple[bool, ...]  # whether a mark stands in the column: then every cell keeps room for one

    @classmethod
    def of(cls, pivot: Pivot) -> _Layout:
        entries = [entry for row in pivot.rows for entry in row.entries.values()]
        columns = [[entry[index] for entry in entries] for index in range(len(pivot.measures))]
        marked = tuple(any(shown.mark for shown in column) for column in columns)
        texts = [
            max(map(cell_len, (name, *(s.text for s in column))))
            for name, column in zip(pivot.measures, columns, strict=True)
        ]
        labels = [[name, *(row.labels[index] for row in pivot.rows)] for index, name in enumerate(pivot.axes)]
        widths = tuple(text + 2 * mark for text, mark in zip(texts, marked, strict=True))
        return cls(pivot.measures, tuple(max(map(cell_len, column)) for column in labels), widths, marked)

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
        yield joined(blank, titles)
        header = Text(GAP).join(self._padded(Shown(name), i, style="bold") for i, name in enumerate(self.names))
        yield joined(self._labels(pivot.axes, style="bold"), [header] * len(lengths))
        before: tuple[str, ...] = ()
        for row in pivot.rows:
            if any(length in row.entries for length in lengths):
                yield joined(self._row_labels(row, before), [self._group(row, length) for length in lengths])
                before = row.labels

    def _row_labels(self, row: Row, before: Sequence[str]) -> Text:
        """Return the labels, less those that repeat the line above."""
        kept = unrepeated(row.labels, before)
        return self._labels(kept, style="dim" if row.reference else "")

    def _labels(self, labels: Sequence[str], style: str = "") -> Text:
        return Text(GAP.join(map(left, labels, self.labels)), style=style)

    def _group(self, row: Row, length: int) -> Text:
        entry = row.entries.get(length, (Shown(""),) * len(self.names))
        return Text(GAP).join(self._padded(shown, index, STYLES[shown.tone]) for index, shown in enumerate(entry))

    def _padded(self, shown: Shown, index: int, style: str) -> Text:
        mark = f" {shown.mark or ' '}" if self.marked[index] else ""
        space = " " * (self.measures[index] - cell_len(shown.text) - len(mark))
        return Text.assemble(space, (shown.text + mark, style))


def _in_ascii(line: Text) -> Text:
    copy = line.copy()
    copy.plain = to_ascii(line.plain)
    return copy
