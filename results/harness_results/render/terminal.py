"""The tables of a report for a terminal, as Rich renderables that fit its width."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness.contract.records.record import Record
from harness_results.render.layout import BARS, Layout
from harness_results.render.markup import html_of
from harness_results.render.shortening import shortened
from harness_results.study.tables.pivot import MEASURES, SPREAD, Pivot
from harness_results.study.tables.sections import Report, report, run_report
from harness_results.study.tables.trends import NOTE
from harness_results.text.format import to_ascii
from harness_results.text.lines import grid_lines, note_lines, plain_text

WIDTH = 100  # of tables as plain text


@dataclass(frozen=True, repr=False)
class ReportTables:
    """Tables that fit the width of the console that prints them.

    On a terminal long tables are cut and say so; in a file or a pipe they are complete.
    """

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        content = shortened(self.report) if console.is_terminal else self.report
        for line in _lines(content, width):
            text = _in_ascii(line) if options.ascii_only else line
            if text.cell_len <= width:
                yield from text.render(console, end="\n")
            else:
                yield text  # Rich wraps it

    def __repr__(self) -> str:
        return plain_text(self, WIDTH).rstrip("\n") if self.report.tables else "no records"

    def _repr_html_(self) -> str:
        return html_of(self.report)


def rich_table(records: Iterable[Record], *, per_seed: bool = False) -> ReportTables:
    """Return the tables of these records, by task, with notes below each."""
    return ReportTables(report(list(records), per_seed=per_seed))


def run_table(
    records: Iterable[Record], further: Collection[str], *, per_seed: bool = False
) -> ReportTables:
    """Return the tables that a run prints; see ``run_report``."""
    return ReportTables(run_report(list(records), further, per_seed=per_seed))


def plain_table(records: Iterable[Record], width: int = WIDTH) -> str:
    """Return the tables as text without colours."""
    return plain_text(rich_table(records), width)


def _lines(content: Report, width: int) -> Iterator[Text]:
    visible: set[str] = set()  # columns
    side_by_side = all(
        Layout.of(table, width).pivot.lengths == table.lengths
        for table in content.tables
        if isinstance(table, Pivot) and not table.minor
    )
    for table in content.tables:
        if isinstance(table, Pivot):
            layout = Layout.of(table, width, side_by_side=side_by_side or table.minor)
            visible |= set(table.measures) - set(layout.left_out)
            visible |= {BARS} if layout.bars else set()
            yield from _pivot_lines(layout)
        else:
            yield from grid_lines(table, width)
    if content.tables and content.reading:
        parts = list(_of_columns(content.reading, visible))
        yield Text(" · ".join([*parts, *([NOTE] if BARS in visible else [])]), style="dim")


def _of_columns(reading: str, visible: Container[str]) -> Iterator[str]:
    """Yield the explanations of the columns that are visible."""
    for explanation in reading.split(" · "):
        name = explanation.partition(":")[0]
        if name not in (*MEASURES, SPREAD) or name in visible:
            yield explanation


def _pivot_lines(layout: Layout) -> Iterator[Text]:
    pivot = layout.pivot
    yield Text.assemble((pivot.task, "bold"), (f"   {pivot.settings}", "dim"))
    yield from layout.lines()
    yield Text("")
    left_out = ", ".join(layout.left_out)
    full = "harness report -f markdown has every figure"
    room = [f"no room at this width for {left_out}; {full}"] if left_out else []
    visible = set(pivot.measures) - set(layout.left_out)
    notes = [" · ".join(_of_columns(note, visible)) for note in pivot.notes]
    yield from note_lines([*layout.id_lines, *room, *notes])


def _in_ascii(line: Text) -> Text:
    copy = line.copy()
    copy.plain = to_ascii(line.plain)
    return copy
