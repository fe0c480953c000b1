"""The tables of a report as LaTeX, for a document that uses booktabs; all text is escaped.

Columns that make a table wider than a page go to further blocks below, with the labels repeated.
Rows that make it longer than a page go to a further table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from harness.contract.records.record import Record
from harness_results.study.tables.notes import FLAG
from harness_results.study.tables.pivot import CellText, Pivot, Row
from harness_results.study.tables.sections import Report, report
from harness_results.text.format import one_line
from harness_results.text.grid import Grid
from harness_results.text.lines import unrepeated

PAGE_POINTS = 345.0  # the width of the text of an article in one column
CHARACTER_POINTS, GAP_POINTS = 4.6, 8.0  # the mean width of a small letter; between two columns
MOST_LINES = 36  # of one table
MOST_NOTE_LINES, NOTE_CHARACTERS = 8, 80  # lines of notes in a float; characters of such a line
HEAD_LINES = 3  # for the names of a block's columns
MOST_FLOATS = 16  # LaTeX takes no more tables without text between them
HEAD = "% in the preamble: \\usepackage{booktabs}"
MATHS = {
    "✓": r"\surd", "≈": r"\approx", "↓": r"\downarrow", "↑": r"\uparrow", "±": r"\pm",
    "∇": r"\nabla", "·": r"\cdot", "≠": r"\neq", "→": r"\to", "‖": r"\|", "∂": r"\partial",
    "∞": r"\infty", "≤": r"\leq", "≥": r"\geq", "<": "<", ">": ">", "|": r"\vert",
}  # fmt: skip
WORDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}", '"': r"\char34{}",
    "…": r"\ldots{}",
    **{special: f"\\{special}" for special in "{}$&#%_"},
}  # fmt: skip
DOUBLED = "-',"  # LaTeX makes another sign of two of them
MINUS = re.compile(r"(?<!\S)-(?=\d)")
ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0327"  # every LaTeX knows these
Groups = Sequence[tuple[str, Sequence[str]]]  # each with its title and the names of its columns
Rows = Sequence[tuple[Sequence[str], Sequence[str]]]  # labels, and cells as LaTeX
Block = tuple[Sequence[str], Groups, Rows]  # the names of the labels, the columns, the rows


def to_latex(records: Iterable[Record], *, per_seed: bool = False) -> str:
    """Return one table per task, with notes below it."""
    return latex_of(report(list(records), per_seed=per_seed))


def latex_of(content: Report) -> str:
    """Return the tables of a report as LaTeX; empty if there are none."""
    floats = [lines for table in content.tables for lines in _floats(table)]
    if not floats:
        return ""
    parts = [HEAD, ""]
    for number, lines in enumerate(floats, start=1):
        parts += [*lines, *([] if number % MOST_FLOATS else [r"\clearpage"]), ""]
    return "\n".join([*parts, *([escaped(content.reading)] if content.reading else []), ""])


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is: no command, no ligature, no unknown character."""
    return "$-$".join(map(_words, MINUS.split(one_line(text))))


def _words(text: str) -> str:
    words = ""
    for before, character in zip(" " + text, text, strict=False):
        words += "{}" if character == before and character in DOUBLED else ""
        words += _character(character)
    return words


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
    letter, accents = parts[0], parts[1:]
    return letter.isascii() and letter.isalpha() and len(accents) == 1 and accents in ACCENTS


def _floats(table: Pivot | Grid) -> Iterator[list[str]]:
    """Yield the lines of each float of a table: one, or more if its rows fill several pages."""
    title = f"{table.task}: {table.settings}" if isinstance(table, Pivot) else table.title
    pages = list(_pages(_pivot_blocks(table) if isinstance(table, Pivot) else _grid_blocks(table)))
    for number, blocks in enumerate(pages, start=1):
        caption = escaped(f"{title} (continued)" if number > 1 else title)
        # flags are for whoever measures, not for whoever reads a paper
        notes = [note for note in table.notes if not note.startswith(f"{FLAG}: ")]
        yield [*_float(caption, table.axes, blocks, notes if number == len(pages) else ())]


def _float(
    caption: str, axes: Sequence[str], blocks: Sequence[Block], notes: Sequence[str]
) -> Iterator[str]:
    widest = max((sum(len(names) for _, names in groups) for _, groups, _ in blocks), default=0)
    yield from (
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
    )
    yield rf"\begin{{tabular}}{{{'l' * len(axes)}{'r' * widest}}}"
    for number, block in enumerate(blocks):
        yield r"\midrule" if number else r"\toprule"
        yield from _block(*block)
    yield from (r"\bottomrule", r"\end{tabular}")
    lines = [rf"\par\raggedright\footnotesize {escaped(note)}" for note in notes]
    if sum(1 + len(note) // NOTE_CHARACTERS for note in notes) <= MOST_NOTE_LINES:
        yield from (*lines, r"\end{table}")
    else:  # unlike text, a float cannot continue on the next page
        yield from (r"\end{table}", r"{", *lines, r"\par}")


def _pages(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Yield the blocks of each page; a block that is longer than a page is divided."""
    page: list[Block] = []
    lines = 0
    for axes, groups, rows in blocks:
        for start in range(0, max(1, len(rows)), MOST_LINES):
            part = rows[start : start + MOST_LINES]
            if page and lines + len(part) > MOST_LINES:
                yield page
                page, lines = [], 0
            page.append((axes, groups, part))
            lines += len(part) + HEAD_LINES
    yield page


def _block(axes: Sequence[str], groups: Groups, rows: Rows) -> Iterator[str]:
    if any(title for title, _ in groups):
        titles, rules, start = [""] * len(axes), "", len(axes)
        for title, names in groups:
            titles.append(rf"\multicolumn{{{len(names)}}}{{c}}{{{escaped(title)}}}")
            rules += rf"\cmidrule(lr){{{start + 1}-{start + len(names)}}}"
            start += len(names)
        yield _line(titles)
        yield rules
    yield _line(map(escaped, (*axes, *(name for _, names in groups for name in names))))
    yield r"\midrule"
    before: Sequence[str] = ()
    for labels, cells in rows:
        yield _line([*map(escaped, unrepeated(labels, before)), *cells])
        before = tuple(labels)


def _line(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _pivot_blocks(pivot: Pivot) -> Iterator[Block]:
    labels = [row.labels for row in pivot.rows]
    texts = [
        [_widest(pivot, length, column) for column in range(len(pivot.measures))]
        for length in pivot.lengths
    ]
    for columns in _side_by_side(pivot.axes, labels, texts):
        lengths = pivot.lengths[columns]
        groups = [(f"T = {length}", pivot.measures) for length in lengths]
        rows = [
            (row.labels, _cells(pivot, row, lengths))
            for row in pivot.rows
            if set(lengths) & set(row.entries)
        ]
        yield pivot.axes, groups, rows


def _widest(pivot: Pivot, length: int, column: int) -> str:
    """Return the longest text of a column at one length."""
    cells = (row.entries[length][column] for row in pivot.rows if length in row.entries)
    texts = (f"{cell.text} {cell.mark}".rstrip() for cell in cells)
    return max((pivot.measures[column], *texts), key=len)


def _side_by_side(
    axes: Sequence[str], labels: Sequence[Sequence[str]], groups: Sequence[Sequence[str]]
) -> Iterator[slice]:
    """Yield the groups of columns that fit next to the labels.

    Args:
        axes: the names of the label columns.
        labels: the labels of each row.
        groups: the longest text of each column, by group.
    """
    room = PAGE_POINTS - _points(
        [max(column, key=len) for column in zip(axes, *labels, strict=True)]
    )
    start, used = 0, 0.0
    for index, texts in enumerate(groups):
        if index > start and used + _points(texts) > room:
            yield slice(start, index)
            start, used = index, 0.0
        used += _points(texts)
    yield slice(start, len(groups))


def _points(texts: Iterable[str]) -> float:
    return sum(GAP_POINTS + CHARACTER_POINTS * len(text) for text in texts)


def _cells(pivot: Pivot, row: Row, lengths: Sequence[int]) -> list[str]:
    blank = (CellText(""),) * len(pivot.measures)
    return [_cell(cell) for length in lengths for cell in row.entries.get(length, blank)]


def _cell(cell: CellText) -> str:
    text = escaped(f"{cell.text} {cell.mark}".rstrip())
    return rf"\textbf{{{text}}}" if cell.style == "best" else text


def _grid_blocks(grid: Grid) -> Iterator[Block]:
    texts = [
        [max(column, key=len)]
        for column in zip(grid.columns, *(cells for _, cells in grid.rows), strict=True)
    ]
    for columns in _side_by_side(grid.axes, [labels for labels, _ in grid.rows], texts):
        rows = [(labels, list(map(escaped, cells[columns]))) for labels, cells in grid.rows]
        yield grid.axes, [("", grid.columns[columns])], rows
