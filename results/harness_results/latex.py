r"""The tables of a report as LaTeX, for a document that uses booktabs; needs no other package. All words are escaped.

Columns that would make a table wider than a page stand in blocks below each other, the labels repeated.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from harness.contract.record import Record
from harness_results.grid import Grid
from harness_results.lines import unrepeated
from harness_results.pivot import Pivot, Row, Shown
from harness_results.sections import Report, report
from harness_results.text import one_line

MOST_COLUMNS = 8  # beside the labels
HEAD = "% in the preamble: \\usepackage{booktabs}"
MATHS = {
    "✓": r"\surd", "≈": r"\approx", "↓": r"\downarrow", "↑": r"\uparrow", "±": r"\pm", "∇": r"\nabla", "·": r"\cdot",
    "≠": r"\neq", "→": r"\to", "‖": r"\|", "∂": r"\partial", "∞": r"\infty", "≤": r"\leq", "≥": r"\geq",
    "<": "<", ">": ">", "|": r"\vert",
}  # fmt: skip
WORDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}", '"': r"\char34{}", "…": r"\ldots{}",
    **{special: f"\\{special}" for special in "{}$&#%_"},
}  # fmt: skip
DOUBLED = "-',"  # two of them make another sign
MINUS = re.compile(r"(?<!\S)-(?=\d)")
ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0327"  # those that every LaTeX sets
Groups = Sequence[tuple[str, Sequence[str]]]  # each with its title and the names of its columns
Rows = Sequence[tuple[Sequence[str], Sequence[str]]]  # labels, and cells as LaTeX


def to_latex(records: Iterable[Record]) -> str:
    """Return one table per task, with what must be known below it."""
    return latex_of(report(list(records)))


def latex_of(found: Report) -> str:
    """Return the tables of a report as LaTeX; nothing of none."""
    parts = [line for table in found.tables for line in _table(table)]
    reading = [escaped(found.reading)] if found.reading else []
    return "\n".join([HEAD, "", *parts, *reading, ""]) if parts else ""


def escaped(text: str) -> str:
    """Return text that LaTeX sets as it stands: no command, no ligature, no character that it does not have."""
    return "$-$".join(map(_words, MINUS.split(one_line(text))))


def _words(text: str) -> str:
    pairs = zip(" " + text, text, strict=False)
    return "".join(("{}" if one == before and one in DOUBLED else "") + _character(one) for before, one in pairs)


def _character(character: str) -> str:
    if character in WORDS:
        return WORDS[character]
    if character in MATHS:
        return f"${MATHS[character]}$"
    return character if _is_plain(character) else f"{{[}}U+{ord(character):04X}{{]}}"


def _is_plain(character: str) -> bool:
    if " " <= character <= "~":
        return True
    parts = unicodedata.normalize("NFD", character)
    return len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in ACCENTS  # noqa: PLR2004


def _table(table: Pivot | Grid) -> Iterator[str]:
    title = f"{table.task}: {table.settings}" if isinstance(table, Pivot) else table.title
    blocks = list(_pivot_blocks(table) if isinstance(table, Pivot) else _grid_blocks(table))
    widest = max(sum(len(names) for _, names in groups) for _, groups, _ in blocks)
    yield from (r"\begin{table}", r"\centering\small", rf"\caption{{{escaped(title)}}}")
    yield rf"\begin{{tabular}}{{{'l' * len(table.axes)}{'r' * widest}}}"
    for number, block in enumerate(blocks):
        yield r"\midrule" if number else r"\toprule"
        yield from _block(*block)
    yield from (r"\bottomrule", r"\end{tabular}")
    yield from (rf"\par\raggedright\footnotesize {escaped(note)}" for note in table.notes)
    yield from (r"\end{table}", "")


def _block(axes: Sequence[str], groups: Groups, rows: Rows) -> Iterator[str]:
    if any(title for title, _ in groups):
        spans = [rf"\multicolumn{{{len(names)}}}{{c}}{{{escaped(title)}}}" for title, names in groups]
        yield _line([""] * len(axes) + spans)
        yield "".join(_rules(len(axes), [len(names) for _, names in groups]))
    yield _line(map(escaped, (*axes, *(name for _, names in groups for name in names))))
    yield r"\midrule"
    before: Sequence[str] = ()
    for labels, cells in rows:
        yield _line([*map(escaped, unrepeated(labels, before)), *cells])
        before = tuple(labels)


def _rules(start: int, widths: Iterable[int]) -> Iterator[str]:
    for width in widths:
        yield rf"\cmidrule(lr){{{start + 1}-{start + width}}}"
        start += width


def _line(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _pivot_blocks(pivot: Pivot) -> Iterator[tuple[Sequence[str], Groups, Rows]]:
    many = max(1, MOST_COLUMNS // len(pivot.measures))
    for start in range(0, len(pivot.lengths), many):
        lengths = pivot.lengths[start : start + many]
        groups = [(f"T = {length}", pivot.measures) for length in lengths]
        rows = [(row.labels, _cells(pivot, row, lengths)) for row in pivot.rows if set(lengths) & set(row.entries)]
        yield pivot.axes, groups, rows


def _cells(pivot: Pivot, row: Row, lengths: Sequence[int]) -> list[str]:
    blank = (Shown(""),) * len(pivot.measures)
    return [_cell(shown) for length in lengths for shown in row.entries.get(length, blank)]


def _cell(shown: Shown) -> str:
    text = escaped(f"{shown.text} {shown.mark}".rstrip())
    return rf"\textbf{{{text}}}" if shown.tone == "best" else text


def _grid_blocks(grid: Grid) -> Iterator[tuple[Sequence[str], Groups, Rows]]:
    for start in range(0, len(grid.columns), MOST_COLUMNS):
        some = slice(start, start + MOST_COLUMNS)
        rows = [(labels, list(map(escaped, cells[some]))) for labels, cells in grid.rows]
        yield grid.axes, [("", grid.columns[some])], rows
