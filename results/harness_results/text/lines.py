"""Lines of a table for a terminal: parts that all tables share, and the lines of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.text import Text

from harness_results.text.grid import Grid

GAP, DIVIDER = "  ", " │ "
LEAST_LABEL = 5


def joined(labels: Text, groups: Sequence[Text]) -> Text:
    """Return one line: the labels, then each group after a divider."""
    line = Text("").append_text(labels)
    for group in groups:
        line.append(DIVIDER, style="dim").append_text(group)
    return line


def unrepeated(labels: Sequence[str], before: Sequence[str]) -> list[str]:
    """Return the labels with "" for those that repeat the line above; the last is always kept."""
    same = 0
    while same < min(len(labels) - 1, len(before)) and labels[same] == before[same]:
        same += 1
    return [*[""] * same, *labels[same:]]


def left(text: str, width: int) -> str:
    """Return the text padded on the right to ``width`` terminal cells."""
    return text + " " * (width - cell_len(text))


def shortened(text: str, width: int) -> str:
    """Return the text, cut with an ellipsis if it takes more than ``width`` terminal cells."""
    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}…"


def narrowed(labels: list[int], room: int) -> list[int]:
    """Return the widths of label columns that fit into ``room`` terminal cells.

    The widest is made narrower first, and none below ``LEAST_LABEL``.
    """
    widths = list(labels)
    while sum(widths) + len(GAP) * (len(widths) - 1) > room and max(widths) > LEAST_LABEL:
        widths[widths.index(max(widths))] -= 1
    return widths


def fitted(line: Text, width: int) -> Text:
    """Return the line, cut with an ellipsis at the width of the terminal: a row never wraps."""
    line.truncate(width, overflow="ellipsis")
    return line


def note_lines(notes: Sequence[str]) -> Iterator[Text]:
    """Yield the notes below a table, and an empty line after them."""
    yield from map(Text, notes)
    if notes:
        yield Text("")


def plain_text(renderable: RenderableType, width: int) -> str:
    """Return what Rich prints, without colours and without spaces at the ends of lines."""
    console = Console(
        width=width, color_system=None, highlight=False, force_terminal=False, force_jupyter=False
    )
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def grid_lines(grid: Grid, width: int) -> Iterator[Text]:
    """Yield the lines of a grid, in several blocks if its columns do not fit side by side."""
    labels = _widths([grid.axes, *(row for row, _ in grid.rows)])
    widths = _widths([grid.columns, *(cells for _, cells in grid.rows)])
    labels = narrowed(labels, width - len(DIVIDER) - max(widths))
    room = width - sum(labels) - len(GAP) * (len(labels) - 1) - len(DIVIDER)
    yield Text(grid.title, style="bold")
    for block in _blocks(widths, room):
        yield fitted(_line(grid.axes, grid.columns, (labels, widths), block, "bold"), width)
        before: tuple[str, ...] = ()
        for row, cells in grid.rows:
            yield fitted(_line(unrepeated(row, before), cells, (labels, widths), block, ""), width)
            before = row
        yield Text("")
    yield from note_lines(grid.notes)


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the indices of the columns in blocks, each with as many as fit into the room."""
    blocks: list[list[int]] = []
    left_over = 0
    for index, width in enumerate(widths):
        if not blocks or left_over < width + len(GAP):
            blocks.append([])
            left_over = room + len(GAP)
        blocks[-1].append(index)
        left_over -= width + len(GAP)
    return blocks


def _line(
    labels: Sequence[str],
    cells: Sequence[str],
    widths: tuple[list[int], list[int]],
    block: list[int],
    style: str,
) -> Text:
    names = GAP.join(
        left(shortened(label, width), width) for label, width in zip(labels, widths[0], strict=True)
    )
    values = GAP.join(
        " " * (widths[1][index] - cell_len(cells[index])) + cells[index] for index in block
    )
    return joined(Text(names, style=style), [Text(values, style=style)])
