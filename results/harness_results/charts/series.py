"""Records as lines: what the rows of every chart say about the network of a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.contract.records.record import Record, finite
from harness_results.charts.data import MOST_PANELS, Rows, thin_curves, thin_lines
from harness_results.charts.panels import Group, Panel, panel_columns
from harness_results.study.curves import has_values
from harness_results.study.networks import SAME
from harness_results.study.seeds.summary import members_of, outcomes_of
from harness_results.study.study import Study, studies
from harness_results.text.format import one_line

# These axes distinguish lines within a panel; they do not make panels.
REPEATS = ("seed", "data seed", "evaluation seed", SAME)


@dataclass(frozen=True)
class Labelled:
    """A record, and what distinguishes its network from the others of its task.

    Attributes:
        record: the record.
        settings: what varies except cell, engine, length and seeds, in words.
        network: the cell and everything that varies, in words.
        series: the number of its line in its task: the same at every length.
        study: of its task.
    """

    record: Record
    settings: tuple[str, ...]
    network: str
    series: int
    study: Study

    @property
    def common(self) -> dict[str, Any]:
        """What every row of this record holds, for filters and tooltips."""
        trial = self.record.trial
        seeds = len(members_of(self.record))
        return {
            "task": trial.task,
            "cell": trial.cell,
            "backend": trial.backend,
            "engine": trial.engine,
            "length": trial.length,
            "network": self.network,
            "series": self.series,
            "scale": trial.task if self.record.status == "ok" else f"{trial.task} {self.series}",
            **({"seeds": seeds} if seeds > 1 else {}),
        }

    @property
    def by_task(self) -> Group:
        """The group of panels of a chart whose colours are cells."""
        return (self.record.trial.task,), self.settings

    @property
    def by_network(self) -> Group:
        """The group of panels of a chart whose colours are engines."""
        return (self.record.trial.task, self.record.trial.cell), self.settings

    @property
    def panel_of_length(self) -> Panel:
        """The panel of a chart that has one for each task and length."""
        return Panel(self.by_task, self.record.trial.length)

    def figure(self, name: str) -> float | None:
        """Return a figure as a Python number; None if it is unknown or not finite."""
        value = finite(self.record.figures.get(name))
        return None if value is None else float(value)

    def of_seeds(self, name: str) -> list[float | None]:
        """Return a figure of each seed; None if it is unknown, or the trial did not end ok."""
        values = [
            finite(seed.figures.get(name)) if seed.status == "ok" else None
            for seed in outcomes_of(self.record)
        ]
        return [None if value is None else float(value) for value in values]

    def has(self, curve: str, figure: str) -> bool:
        """Say whether the record has this curve, by its name and by a figure that comes from it."""
        return curve in self.record.curves and self.record.figures.get(figure) is not None


def labelled(records: Sequence[Record]) -> list[Labelled]:
    """Return every record with its labels, by task."""
    return labelled_of(studies(records))


def labelled_of(tasks: Iterable[Study]) -> list[Labelled]:
    """Return every record of these tasks with its labels."""
    return [entry for study in tasks for entry in _of_task(study)]


def ended(entries: Iterable[Labelled]) -> list[Labelled]:
    """Return the records of the trials that ended ok."""
    return [entry for entry in entries if entry.record.status == "ok"]


def measured(entry: Labelled, name: str, aspect: str = "") -> dict[str, Any]:
    """Return the row of a record whose ``y`` is this figure, in the panel of its network."""
    panel = Panel(entry.by_network, aspect=aspect)
    return {**entry.common, "part": "measured", "panel": panel, "y": entry.figure(name)}


def reference_row(entry: Labelled, name: str, panel: Panel, colours: str) -> dict[str, Any]:
    """Return the columns of a reference, such as a baseline, that belongs to no engine.

    Args:
        entry: a record with the same task and length.
        name: of the reference.
        panel: where it is drawn.
        colours: what the colours of the chart are; with ``cell`` it belongs to no cell either.
    """
    row = {**entry.common, "backend": None, "engine": None, "scale": entry.record.trial.task}
    row.pop("seeds", None)
    if colours == "cell":
        row["cell"] = None
    return {**row, "network": name, "series": -1, "part": name, "panel": panel}


def drawn_lines(entries: Iterable[Labelled]) -> tuple[list[Labelled], str | None]:
    """Return the records of the lines that fit, and a note if some lines do not."""
    lines, note = thin_lines(lines_of(entries), "lines")
    return [entry for line in lines for entry in line], note


def drawn_curves(
    entries: Iterable[Labelled], name: str, figure: str
) -> tuple[list[Labelled], int, str | None]:
    """Return the records whose curves fit, the number of points of each, and a note if some do not.

    The second engine of a network comes after the first engine of all other networks.

    Args:
        entries: of all records.
        name: of the curve.
        figure: known of a record only if it has this curve: reading thousands of curves is slow.
    """
    drawn, points, note = thin_curves(
        [entry for entry in entries if entry.has(name, figure) or _has_values(entry, name)],
        lambda entry: (entry.panel_of_length, entry.record.trial.cell),
    )
    return [entry for entry in drawn if _has_values(entry, name)], points, note


def _has_values(entry: Labelled, name: str) -> bool:
    return has_values(entry.record.curves.get(name))


def lines_of(entries: Iterable[Labelled]) -> list[list[Labelled]]:
    """Return the members of each line by ascending length."""
    lines: dict[tuple[str, int], list[Labelled]] = {}
    for entry in entries:
        lines.setdefault((entry.record.trial.task, entry.series), []).append(entry)
    return [sorted(line, key=lambda entry: entry.record.trial.length) for line in lines.values()]


def rows_of(
    entries: Sequence[Labelled],
    values: Iterable[Mapping[str, Any]],
    note: str | None = None,
    most: int = MOST_PANELS,
) -> Rows:
    """Return the rows of a chart.

    Args:
        entries: all records, for the names of engines and cells.
        values: rows whose ``panel`` is a ``Panel``.
        note: what was left out.
        most: the largest number of panels to draw.
    """
    values = list(values)
    columns = panel_columns(list(dict.fromkeys(row["panel"] for row in values)))
    rows = Rows(
        values=tuple({**row, **columns[row["panel"]]} for row in values),
        engines=tuple(sorted({entry.record.trial.engine for entry in entries})),
        cells=tuple(sorted({entry.record.trial.cell for entry in entries})),
        thinned=note,
        most=most,
    )
    notes = [note] if note else []
    if rows.drawn < len(rows.panels):
        notes.append(f"{rows.drawn} of {len(rows.panels)} panels are drawn")
    return replace(rows, note="; ".join(notes) or None)


def _of_task(study: Study) -> list[Labelled]:
    axes = [one_line(axis) for axis in study.networks.axes[1:-1]]
    series: dict[tuple[str, ...], int] = {}
    entries = []
    for labels, record in study.labelled:
        words = {axis: f"{axis} {value}" for axis, value in zip(axes, labels[1:-1], strict=True)}
        settings = tuple(text for axis, text in words.items() if axis not in REPEATS)
        network = " · ".join((record.trial.cell, *words.values()))
        number = series.setdefault(labels, len(series))
        entries.append(Labelled(record, settings, network, number, study))
    return entries
