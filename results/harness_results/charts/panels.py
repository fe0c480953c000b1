"""Panels: which small picture of a chart a row belongs to, the order of the pictures, and which go first."""

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
        group: what it shares with those of other lengths: task and cell, and the settings in words.
        length: its length, where each has a panel of its own; 0 elsewhere.
        aspect: what of the group it shows, where that takes several.
    """

    group: Group
    length: int = 0
    aspect: str = ""

    @property
    def words(self) -> str:
        """Return its heading: a second line where there are settings."""
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
        records: all of them, for the names of engines and cells.
        values: rows whose ``panel`` is a ``Panel``.
        note: what was left out.
        most: panels to draw.
    """
    known = list(values)
    places = _places(list(dict.fromkeys(row["panel"] for row in known)))
    found = Rows(
        values=tuple({**row, **places[row["panel"]]} for row in known),
        engines=tuple(sorted({record.trial.engine for record in records})),
        cells=tuple(sorted({record.trial.cell for record in records})),
        thinned=note,
        most=most,
    )
    cut = (
        [f"{found.drawn} of {len(found.panels)} panels are drawn"]
        if found.drawn < len(found.panels)
        else []
    )
    return replace(found, note="; ".join([*filter(None, [note]), *cut]) or None)


def _places(panels: Sequence[Panel]) -> dict[Panel, dict[str, Any]]:
    """Return each panel's heading, order (groups and aspects as they appear, lengths ascending) and level."""
    aspects = {
        aspect: place
        for place, aspect in enumerate(dict.fromkeys(panel.aspect for panel in panels))
    }
    lengths: dict[Group, set[int]] = {}
    for panel in panels:
        lengths.setdefault(panel.group, set()).add(panel.length)
    groups = {group: place for place, group in enumerate(lengths)}
    ordered = sorted(panels, key=lambda one: (groups[one.group], one.length, aspects[one.aspect]))
    levels = {
        (group, n): level for group, some in lengths.items() for n, level in _levels(some).items()
    }
    return {
        panel: {"panel": panel.words, "order": order, "level": levels[panel.group, panel.length]}
        for order, panel in enumerate(ordered)
    }


def _levels(lengths: Iterable[int]) -> dict[int, int]:
    """Return 1 for the longest length of a group, 2 for the next."""
    return {length: 1 + place for place, length in enumerate(sorted(lengths, reverse=True))}
