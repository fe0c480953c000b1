"""A plain table before any renderer: labels, columns of text, notes. Its content is made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table whose columns may stand in several blocks below each other, the labels repeated.

    Attributes:
        title: what it is about.
        axes: the names of the labels.
        columns: the names of the other columns.
        rows: the labels of each row and its cells.
        notes: lines for below the table.
    """

    title: str
    axes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()
