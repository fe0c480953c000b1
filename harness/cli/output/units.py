"""What hidden units respond to, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from harness.contract.wording import printable
from harness.probing.units import LEVELS, ClassScore, UnitStudy
from harness_results.text.format import UNKNOWN, number, to_ascii
from harness_results.text.grid import Grid
from harness_results.text.lines import grid_lines

EXCERPT = 600  # characters
_LEAST_GAIN = 0.005  # it is shown as +0.01
FEW, MORE = 3, 10  # units of each class, of one class
_LOW, _MIDDLE, _HIGH = (90, 155, 235), (252, 252, 252), (245, 150, 50)
_INK = Color.from_rgb(16, 16, 16)
_NOTES = (
    "AUC: how well a unit's value predicts the class: 0.5 is chance, 1 is perfect.",
    "character: the AUC of the current character alone. gain: the difference.",
    "Units are chosen on the first half of the text. All figures are of the second.",
    "It has so many characters of the class, in so many unbroken runs.",
)


@dataclass(frozen=True)
class View:
    """What to show of a study.

    Attributes:
        study: all units.
        scores: the classes to show, each with the units to show.
        unit: the unit that colours the text; None if no class has members.
        class_name: the class that chooses the part of the text.
        part: the part of the text.
    """

    study: UnitStudy
    scores: tuple[ClassScore, ...]
    unit: str | None
    class_name: str | None
    part: slice

    @classmethod
    def of(
        cls, study: UnitStudy, class_name: str | None, unit: str | None, length: int = EXCERPT
    ) -> View:
        """Choose the best units, unless a class or a unit is asked for.

        Raises:
            UnknownNameError: there is no such unit.
        """
        classes = study.classes if unit is None else study.scores_of(unit)
        scores = [score for score in classes if class_name in {None, score.name}]
        with_units = [score for score in scores if score.units]
        if with_units:
            best = max(with_units, key=lambda score: score.units[0].gain)
            class_name, unit = best.name, best.units[0].unit
        most = FEW if len(scores) > 1 else MORE
        shown = tuple(score.first(most) for score in scores)
        return cls(study, shown, unit, class_name, study.excerpt(class_name, length))

    def remarks(self) -> list[str]:
        """Return which classes have no figures, and whether the best units have no gain."""
        remarks = [f"{score.name}: {score.missing}." for score in self.scores if score.missing]
        gains = [score.units[0].gain for score in self.scores if score.units]
        if gains and max(gains) < _LEAST_GAIN:
            remarks.append("The best units tell no more than the current character alone.")
        return remarks


def print_units(view: View, console: Console) -> None:
    """Print the table of units, then a part of the text coloured by one unit.

    Without colours, digits below the text show the values.
    """
    for line in [*grid_lines(_grid(view), console.width), *_part(view, console)]:
        if console.options.ascii_only:
            line.plain = to_ascii(line.plain)
        console.print(line)


def as_json(view: View) -> dict[str, Any]:
    """Return what ``print_units`` prints, with the exact values of the part of the text."""
    study, part = view.study, view.part
    content: dict[str, Any] = {
        "trial_id": study.trial.trial_id,
        "source": study.source,
        "characters": len(study.text),
        "skipped": study.skipped,
        "units": len(study.names),
        "classes": [asdict(score) for score in view.scores],
        "excerpt": None,
    }
    if view.unit is not None:
        values = study.values[part, study.number(view.unit)]
        content["excerpt"] = {
            "unit": view.unit,
            "class": view.class_name,
            "start": part.start,
            "text": study.text[part],
            "values": [float(value) for value in values],
        }
    return content


def _grid(view: View) -> Grid:
    study, trial = view.study, view.study.trial
    rows: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    size = f"{len(study.names):,} units over {len(study.text):,} characters of {study.source}."
    notes = [size, *_NOTES, *view.remarks()]
    for score in view.scores:
        rows += _rows(score)
    if study.skipped:
        notes.append(f"{study.skipped:,} characters were left out: the network does not know them.")
    title = f"{trial.task} {trial.cell} T={trial.length} {trial.engine}, trial {trial.trial_id}"
    columns = ("AUC", "character", "gain", "inside", "characters", "runs")
    return Grid(title, ("class", "unit"), columns, tuple(rows), tuple(notes))


def _rows(score: ClassScore) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    counts = (f"{score.positives:,}", f"{score.runs:,}")
    if not score.units:
        yield (score.name, UNKNOWN), (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, *counts)
    for unit in score.units:
        character = f"{score.character_auc:.2f}"
        direction = "high" if unit.high_inside else "low"
        cells = (
            f"{unit.auc:.2f}",
            character,
            f"{round(unit.gain, 2) + 0.0:+.2f}",
            direction,
            *counts,
        )
        yield (score.name, unit.unit), cells


def _part(view: View, console: Console) -> Iterator[Text]:
    if view.unit is None:
        return
    study, part = view.study, view.part
    levels, low, high = study.levels(view.unit)
    end = min(part.stop, len(study.text))
    where = f"characters {part.start + 1:,} to {end:,}"
    where += f", for {view.class_name}" if view.class_name else ""
    yield Text.assemble((f"unit {view.unit}", "bold"), f"   {where}")
    coloured = console.color_system is not None and not console.no_color
    bounds = f"low {number(low)} ", f" high {number(high)}"
    if coloured:
        scale = [(" ", _style(level)) for level in range(LEVELS)]
        yield Text.assemble(bounds[0], *scale, bounds[1])
    else:
        yield Text(f"digits: 0 {bounds[0]}to {LEVELS - 1}{bounds[1]}")
    for row in _wrapped(study.text[part], levels[part].tolist(), console.width):
        if coloured:
            yield Text.assemble(*((glyph, _style(level)) for glyph, level in row))
        else:
            yield Text("".join(glyph for glyph, _ in row))
            yield Text("".join(str(level).ljust(cell_len(glyph)) for glyph, level in row))


def _wrapped(text: str, levels: Sequence[int], width: int) -> Iterator[list[tuple[str, int]]]:
    """Yield the rows of a text: each character as a visible glyph with its level."""
    row: list[tuple[str, int]] = []
    used = 0
    for character, level in zip(text, levels, strict=True):
        glyph = _glyph(character)
        if used + cell_len(glyph) > width:
            yield row
            row, used = [], 0
        row.append((glyph, level))
        used += cell_len(glyph)
        if character == "\n":
            yield row
            row, used = [], 0
    if row:
        yield row


def _glyph(character: str) -> str:
    if character == "\n":
        return "↵"
    if printable(character) != character or character == "\t" or cell_len(character) == 0:
        return "·"
    return character


def _style(level: int) -> Style:
    """Return dark ink on blue for a low value, on white for a middle one, on orange for a high."""
    distance = 2 * level / (LEVELS - 1) - 1
    end = _HIGH if distance > 0 else _LOW
    mixed = (
        round(middle + abs(distance) * (far - middle))
        for middle, far in zip(_MIDDLE, end, strict=True)
    )
    return Style(color=_INK, bgcolor=Color.from_rgb(*mixed))
