"""A table of verdicts for the console and as Markdown: one row per comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness_results.text.format import to_ascii
from harness_results.text.lines import GAP, left, plain_text


@dataclass(frozen=True)
class VerdictTable:
    """A table for the console: a comparison on one line, or on two if that is too wide.

    Attributes:
        headings: of the columns: the name, figures, the verdict.
        rows: the cells of each comparison.
        styles: of each verdict.
        lines: below the table.
        reading: how to read the columns; of no Markdown table.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str]
    lines: Sequence[str]
    reading: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        clean = to_ascii if options.ascii_only else str
        texts = [tuple(map(clean, cells)) for cells in self.rows]
        widths = [max(map(cell_len, column)) for column in zip(self.headings, *texts, strict=True)]
        is_wide = sum(widths) + len(GAP) * (len(widths) - 1) > options.max_width
        layout = _narrow if is_wide else _wide
        yield from layout(self.headings, widths, ("bold", "bold"))
        for cells, style in zip(texts, self.styles, strict=True):
            yield from layout(cells, widths, ("", style))
        yield Text("")
        yield from (Text(clean(line)) for line in self.lines)
        yield Text(clean(self.reading), style="dim")

    def plain(self, width: int = 120) -> str:
        """Return the table as text without colours."""
        return plain_text(self, width)

    def markdown(self) -> str:
        """Return a Markdown table and the lines below it."""
        table = ""
        for cells in (self.headings, ("---",) * len(self.headings), *self.rows):
            table += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        return f"{table}\n" + "".join(f"- {line}\n" for line in self.lines)


def _wide(cells: Sequence[str], widths: Sequence[int], styles: tuple[str, str]) -> Iterator[Text]:
    """Yield one line: the trial, the figures, the verdict."""
    name, *figures, verdict = cells
    texts = f"{left(name, widths[0])}{GAP}{_figures(figures, widths[1:-1])}"
    yield Text.assemble((texts, styles[0]), GAP, (verdict, styles[1]))


def _narrow(cells: Sequence[str], widths: Sequence[int], styles: tuple[str, str]) -> Iterator[Text]:
    """Yield two lines: the trial with its verdict, and the figures below."""
    name, *figures, verdict = cells
    yield Text.assemble((name, styles[0]), GAP, (verdict, styles[1]))
    yield Text.assemble(GAP, (_figures(figures, widths[1:-1]), styles[0]))


def _figures(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(
        " " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True)
    )
