"""Panels: which small picture of a chart a row belongs to, and in which order they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def panel_columns(panels: Sequence[Panel]) -> dict[Panel, dict[str, Any]]:
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
