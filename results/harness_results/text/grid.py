"""A plain table of text that any renderer can draw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table of labels and cells. A narrow renderer may split its columns into several blocks.

    Attributes:
        title: the heading.
        axes: the names of the label columns.
        columns: the names of the other columns.
        rows: the labels and the cells of each row.
        notes: lines below the table.
        across: whether it is about several tasks.
    """

    title: str
    axes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()
    across: bool = False
