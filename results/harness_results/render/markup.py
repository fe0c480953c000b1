"""The tables of a report as markdown and as HTML. Every text that comes from records is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape

from harness.contract.records.record import Record
from harness_results.study.tables.pivot import CellText, Pivot, Row
from harness_results.study.tables.sections import Report, report
from harness_results.text.grid import Grid

_MARKDOWN = re.compile(r"([\\`*_|\[\]<~&])")


def to_markdown(records: Iterable[Record], *, per_seed: bool = False) -> str:
    """Return one markdown table per task, with notes below it."""
    return markdown_of(report(list(records), per_seed=per_seed))


def markdown_of(content: Report) -> str:
    """Return the tables of a report as markdown; empty if there are none."""
    parts = [line for table in content.tables for line in _markdown(table)]
    return "\n".join([*parts, _escaped(content.reading), ""]) if parts else ""


def to_html(records: Iterable[Record]) -> str:
    """Return the tables as an HTML fragment without scripts and styles."""
    return html_of(report(list(records)))


def html_of(content: Report) -> str:
    """Return the tables of a report as an HTML fragment; "no records" if there are none."""
    if not content.tables:
        return "<p>no records</p>"
    parts = [line for table in content.tables for line in _html(table)]
    return "\n".join(["<div>", *parts, f"<p>{escape(content.reading)}</p>", "</div>"])


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _markdown(table: Pivot | Grid) -> Iterator[str]:
    yield from _markdown_pivot(table) if isinstance(table, Pivot) else _markdown_grid(table)
    yield ""
    yield from (f"- {_escaped(note)}" for note in table.notes)
    if table.notes:
        yield ""


def _markdown_grid(grid: Grid) -> Iterator[str]:
    yield from (f"#### {_escaped(grid.title)}", "")
    yield _line(map(_escaped, (*grid.axes, *grid.columns)))
    yield _line(["---"] * len(grid.axes) + ["---:"] * len(grid.columns))
    yield from (_line(map(_escaped, (*labels, *cells))) for labels, cells in grid.rows)


def _markdown_pivot(pivot: Pivot) -> Iterator[str]:
    names: list[str] = []
    for length in pivot.lengths:
        names += [f"T = {length}: {pivot.measures[0]}", *pivot.measures[1:]]
    level = "####" if pivot.minor else "###"
    yield from (f"{level} {_escaped(pivot.task)}", "", _escaped(pivot.settings), "")
    yield _line(map(_escaped, (*pivot.axes, *names)))
    yield _line(["---"] * len(pivot.axes) + ["---:"] * len(names))
    for row in pivot.rows:
        yield _line([*map(_escaped, row.labels), *_cells(pivot, row, _markdown_cell)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(pivot: Pivot, row: Row, write: Callable[[CellText], str]) -> list[str]:
    blank = (CellText(""),) * len(pivot.measures)
    return [write(cell) for length in pivot.lengths for cell in row.entries.get(length, blank)]


def _markdown_cell(cell: CellText) -> str:
    text = _escaped(f"{cell.text} {cell.mark}".rstrip())
    return f"**{text}**" if cell.style == "best" else text


def _html(table: Pivot | Grid) -> Iterator[str]:
    yield from _html_pivot(table) if isinstance(table, Pivot) else _html_grid(table)
    if table.notes:
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in table.notes)}</ul>"


def _html_grid(grid: Grid) -> Iterator[str]:
    yield f"<h4>{escape(grid.title)}</h4><table><thead>"
    yield _html_row("th", map(escape, (*grid.axes, *grid.columns)))
    yield "</thead><tbody>"
    yield from (_html_row("td", map(escape, (*labels, *cells))) for labels, cells in grid.rows)
    yield "</tbody></table>"


def _html_pivot(pivot: Pivot) -> Iterator[str]:
    level = "h4" if pivot.minor else "h3"
    yield f"<{level}>{escape(pivot.task)}</{level}><p>{escape(pivot.settings)}</p><table><thead>"
    span = len(pivot.measures)
    groups = "".join(f'<th colspan="{span}">T = {length}</th>' for length in pivot.lengths)
    yield f'<tr><th colspan="{len(pivot.axes)}"></th>{groups}</tr>'
    yield _html_row("th", map(escape, (*pivot.axes, *pivot.measures * len(pivot.lengths))))
    yield "</thead><tbody>"
    for row in pivot.rows:
        yield _html_row("td", (*map(escape, row.labels), *_cells(pivot, row, _html_cell)))
    yield "</tbody></table>"


def _html_row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _html_cell(cell: CellText) -> str:
    text = escape(f"{cell.text} {cell.mark}".rstrip())
    return f"<strong>{text}</strong>" if cell.style == "best" else text
