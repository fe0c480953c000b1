"""The section of the page on hidden units. The caller computes it from trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.contract.trial import Trial

COLUMNS = ("class", "unit", "AUC", "character", "gain", "inside", "characters", "runs")


@dataclass(frozen=True)
class NetworkUnits:
    """What the units of one network respond to.

    Attributes:
        trial: the trial that trained the network.
        text: what the network read, in words.
        rows: the best unit of each class, as texts in the order of ``COLUMNS``.
        notes: classes that the text lacks, and other remarks.
        unit: the unit that colours the text; empty if no class has members.
        class_name: the class that chose it.
        low: the bound of the lowest level.
        high: the bound of the highest.
        spans: a part of the text in pieces, each with the level of its values, 0 to 9.
    """

    trial: Trial
    text: str
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    unit: str = ""
    class_name: str = ""
    low: str = ""
    high: str = ""
    spans: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Units:
    """The networks of the section, and which networks were left out and why."""

    networks: Sequence[NetworkUnits] = ()
    left_out: Sequence[str] = ()
