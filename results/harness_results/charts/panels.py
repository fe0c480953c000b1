"""Panels: which small picture of a chart a row belongs to, and in which order they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.contract.records.record import Record
from harness_results.charts.data import MOST_PANELS, Rows

Group = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Panel:
    """One small picture.

    Attributes:
        group: what the panels of all lengths share: task and cell, and the settings in words.
        length: T, if each length has its own panel; else 0.
        aspect: what it shows of its group, if the group needs several panels.
    """

    group: Group
    length: int = 0
    aspect: str = ""

    @property
    def heading(self) -> str:
        """The heading; settings, if there are any, are on a second line."""
        names, settings = self.group
        length = f"T={self.length}" if self.length else ""
        first = " · ".join(filter(None, (*names, length, self.aspect)))
        return "\n".join(filter(None, (first, " · ".join(settings))))


def rows_of(
    records: Sequence[Record],
    values: Iterable[Mapping[str, Any]],
    note: str | None = None,
    most: int = MOST_PANELS,
) -> Rows:
    """Return the rows of a chart.

    Args:
        records: all records, for the names of engines and cells.
        values: rows whose ``panel`` is a ``Panel``.
        note: what was left out.
        most: the largest number of panels to draw.
    """
    values = list(values)
    columns = _panel_columns(list(dict.fromkeys(row["panel"] for row in values)))
    rows = Rows(
        values=tuple({**row, **columns[row["panel"]]} for row in values),
        engines=tuple(sorted({record.trial.engine for record in records})),
        cells=tuple(sorted({record.trial.cell for record in records})),
        thinned=note,
        most=most,
    )
    notes = [note] if note else []
    if rows.drawn < len(rows.panels):
        notes.append(f"{rows.drawn} of {len(rows.panels)} panels are drawn")
    return replace(rows, note="; ".join(notes) or None)


def _panel_columns(panels: Sequence[Panel]) -> dict[Panel, dict[str, Any]]:
    """Return each panel's heading, order and level.

    Groups and aspects are ordered as they appear, lengths ascend. The longest length of a group has
    level 1, the next one 2.
    """
    aspects = list(dict.fromkeys(panel.aspect for panel in panels))
    lengths: dict[Group, set[int]] = {}
    for panel in panels:
        lengths.setdefault(panel.group, set()).add(panel.length)
    groups = {group: index for index, group in enumerate(lengths)}
    ordered = sorted(
        panels,
        key=lambda panel: (groups[panel.group], panel.length, aspects.index(panel.aspect)),
    )
    columns: dict[Panel, dict[str, Any]] = {}
    for order, panel in enumerate(ordered):
        level = 1 + sum(length > panel.length for length in lengths[panel.group])
        columns[panel] = {"panel": panel.heading, "order": order, "level": level}
    return columns
