"""The records as lines: what every row of every chart says about the network that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.records.record import Record, finite
from harness_results.charts.data import in_turns, whole_lines
from harness_results.charts.panels import Group, Panel
from harness_results.study.networks import SAME, networks
from harness_results.study.tables.pivot import by_task
from harness_results.text.format import one_line

REPEATS = ("seed", "data seed", "evaluation seed", SAME)  # tell lines apart, and no panels


@dataclass(frozen=True)
class Labelled:
    """A record, and what tells its network from the others of its task.

    Attributes:
        record: the record.
        settings: what varies besides cell, engine, length and seeds, in words.
        network: the cell and everything that varies, in words.
        series: the number of its line in its task: the same at every length.
    """

    record: Record
    settings: tuple[str, ...]
    network: str
    series: int

    @property
    def common(self) -> dict[str, Any]:
        """What every row of this record holds, for filters and tooltips."""
        trial = self.record.trial
        return {
            "task": trial.task, "cell": trial.cell, "backend": trial.backend, "engine": trial.engine,
            "length": trial.length, "network": self.network, "series": self.series,
        }  # fmt: skip

    @property
    def by_task(self) -> Group:
        """The group of panels of a chart whose colours are cells."""
        return (self.record.trial.task,), self.settings

    @property
    def by_network(self) -> Group:
        """The group of panels of a chart whose colours are engines."""
        return (self.record.trial.task, self.record.trial.cell), self.settings


def labelled(records: Sequence[Record]) -> list[Labelled]:
    """Return every record with its labels, by task."""
    return [found for task in by_task(records) for found in _of_task(task)]


def known(record: Record, name: str) -> float | None:
    """Return a figure as a number of Python; None where it is not known, or not finite."""
    value = finite(record.figures.get(name))
    return None if value is None else float(value)


def figure(record: Record, name: str) -> float | None:
    """Return a figure that is not zero: a logarithmic axis has no place for that."""
    return known(record, name) or None


def measured(one: Labelled, name: str, aspect: str = "") -> dict[str, Any]:
    """Return the row of a record whose ``y`` is this figure, in the panel of its network."""
    panel = Panel(one.by_network, aspect=aspect)
    return {**one.common, "part": "measured", "panel": panel, "y": known(one.record, name)}


def nobody(one: Labelled, name: str, panel: Panel, differing: str) -> dict[str, Any]:
    """Return what a row holds that is of no engine (``differing``: of no cell either), but of one's task and length."""
    unset = {"backend": None, "engine": None} | ({"cell": None} if differing == "cell" else {})
    return {**one.common, **unset, "network": name, "series": -1, "part": name, "panel": panel}


def kept_lines(found: Iterable[Labelled]) -> tuple[list[Labelled], str | None]:
    """Return the records of as many whole lines as there is room for, and a note where that is not all."""
    lines, note = whole_lines(lines_of(found), "lines")
    return [one for line in lines for one in line], note


def kept_curves(found: Iterable[Labelled]) -> tuple[list[Labelled], int, str | None]:
    """Return the records of as many curves as there is room for, the points of each, and a note where not all.

    A second engine of a network comes after the first ones of all the others.
    """
    return in_turns(
        list(found), lambda one: (one.by_task, one.record.trial.cell, one.record.trial.length)
    )


def lines_of(found: Iterable[Labelled]) -> list[list[Labelled]]:
    """Return the members of each line by length."""
    lines: dict[tuple[str, int], list[Labelled]] = {}
    for one in found:
        lines.setdefault((one.record.trial.task, one.series), []).append(one)
    return [sorted(line, key=lambda one: one.record.trial.length) for line in lines.values()]


def _of_task(records: Sequence[Record]) -> list[Labelled]:
    found = networks(records)
    axes = [one_line(axis) for axis in found.axes[1:-1]]
    series: dict[tuple[str, ...], int] = {}
    made = []
    for record, labels in zip(records, found.labels, strict=True):
        told = {axis: f"{axis} {value}" for axis, value in zip(axes, labels[1:-1], strict=True)}
        settings = tuple(words for axis, words in told.items() if axis not in REPEATS)
        number = series.setdefault(labels, len(series))
        made.append(
            Labelled(record, settings, " · ".join((record.trial.cell, *told.values())), number)
        )
    return made
