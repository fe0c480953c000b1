"""The tables of a report as markdown and as HTML, from the pivot. Every outside word is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape

from harness.contract.record import Record
from harness_results.notes import READING
from harness_results.pivot import MEASURES, Pivot, Row, Shown, pivots

_MARKDOWN = re.compile(r"([\\`*_|\[\]<~&])")


def to_markdown(records: Iterable[Record]) -> str:
    """Return one markdown table per task, with what must be known below it."""
    parts = [line for pivot in pivots(records) for line in _markdown(pivot)]
    return "\n".join([*parts, _escaped(READING), ""]) if parts else ""


def to_html(records: Iterable[Record]) -> str:
    """Return the tables as an HTML fragment without scripts or styles of its own."""
    parts = [line for pivot in pivots(records) for line in _html(pivot)]
    return "\n".join(["<div>", *parts, f"<p>{escape(READING)}</p>", "</div>"])


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _markdown(pivot: Pivot) -> Iterator[str]:
    names = [f"T = {n}: {name}" if name == MEASURES[0] else name for n in pivot.lengths for name in MEASURES]
    yield from (f"### {_escaped(pivot.task)}", "", _escaped(pivot.settings), "")
    yield _line(map(_escaped, (*pivot.axes, *names)))
    yield _line(["---"] * len(pivot.axes) + ["---:"] * len(names))
    for row in pivot.rows:
        yield _line([*map(_escaped, row.labels), *_cells(pivot, row, _markdown_cell)])
    yield ""
    yield from (f"- {_escaped(note)}" for note in pivot.notes)
    if pivot.notes:
        yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(pivot: Pivot, row: Row, show: Callable[[Shown], str]) -> list[str]:
    blank = (Shown(""),) * len(MEASURES)
    return [show(shown) for length in pivot.lengths for shown in row.entries.get(length, blank)]


def _markdown_cell(shown: Shown) -> str:
    text = _escaped(f"{shown.text} {shown.mark}".rstrip())
    return f"**{text}**" if shown.tone == "best" else text


def _html(pivot: Pivot) -> Iterator[str]:
    yield f"<h3>{escape(pivot.task)}</h3><p>{escape(pivot.settings)}</p><table><thead>"
    groups = "".join(f'<th colspan="{len(MEASURES)}">T = {length}</th>' for length in pivot.lengths)
    yield f'<tr><th colspan="{len(pivot.axes)}"></th>{groups}</tr>'
    yield _html_row("th", (*map(escape, pivot.axes), *[escape(name) for _ in pivot.lengths for name in MEASURES]))
    yield "</thead><tbody>"
    for row in pivot.rows:
        yield _html_row("td", (*map(escape, row.labels), *_cells(pivot, row, _html_cell)))
    yield "</tbody></table>"
    if pivot.notes:
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in pivot.notes)}</ul>"


def _html_row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _html_cell(shown: Shown) -> str:
    text = escape(f"{shown.text} {shown.mark}".rstrip())
    return f"<strong>{text}</strong>" if shown.tone == "best" else text
