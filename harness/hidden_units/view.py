"""What to show of the units of a network: the best of each class, and a part of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from harness.contract import Array, Trial

LEVELS = 10
INK = (16, 16, 16)
_LOW, _MIDDLE, _HIGH = (90, 155, 235), (252, 252, 252), (245, 150, 50)
_LEAST_GAIN = 0.005  # it is shown as +0.01
HEADER = ("class", "unit", "AUC", "character", "gain", "inside", "characters", "runs")
UNKNOWN = "-"
NOTES = (
    "AUC: how well a unit's value predicts the class: 0.5 is chance, 1 is perfect.",
    "character: the AUC of the current character alone. gain: the difference.",
    "Units are chosen on the first half of the text. All figures are of the second.",
    "characters: how many are in the class. runs: how many unbroken runs they form.",
)


@dataclass(frozen=True)
class UnitScore:
    """How well one unit predicts one class.

    Attributes:
        unit: its name, such as ``c0.17``: state c, layer 0, unit 17.
        auc: the area under the ROC curve on the second half of the text, in the direction that the
            first half shows; 0.5 is chance, below it the direction did not hold.
        gain: ``auc`` minus that of the current character alone.
        high_inside: True: the value is higher inside the class than outside, in the first half.
    """

    unit: str
    auc: float
    gain: float
    high_inside: bool


@dataclass(frozen=True)
class ClassScore:
    """The units that predict one class of characters.

    Attributes:
        name: the class.
        positives: characters of the second half inside the class.
        negatives: characters of the second half outside.
        runs: unbroken runs of positives; the characters of one run are not independent.
        character_auc: the area of the best predictor from the current character alone, fitted on
            the first half and scored on the second; None if ``missing``.
        units: the best first, in the order of the first half.
        missing: why the class has no figures; empty if it has.
    """

    name: str
    positives: int
    negatives: int
    runs: int
    character_auc: float | None
    units: tuple[UnitScore, ...]
    missing: str = ""

    def first(self, most: int) -> ClassScore:
        """Return the class with its first units only."""
        return replace(self, units=self.units[:most])

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of texts for each unit, in the order of ``HEADER``; at least one row."""
        counts = (f"{self.positives:,}", f"{self.runs:,}")
        rows: list[tuple[str, ...]] = [
            (
                *(self.name, unit.unit, f"{unit.auc:.2f}", f"{self.character_auc:.2f}"),
                *(f"{round(unit.gain, 2) + 0.0:+.2f}", "high" if unit.high_inside else "low"),
                *counts,
            )
            for unit in self.units
        ]
        return rows or [(self.name, *[UNKNOWN] * 5, *counts)]


@dataclass(frozen=True, eq=False)
class View:
    """The units to show, and a part of the text coloured by one of them.

    Attributes:
        trial: the trial that trained the network.
        size: the numbers of units and characters, as a sentence.
        scores: the classes to show, each with the units to show.
        unit: the unit that colours the text; None if no class has members.
        class_name: the class that chose the part of the text.
        start: the index of the part in the text.
        text: the part, m characters.
        values: (m,) the unit's values.
        levels: the values as m levels from 0 to ``LEVELS`` - 1.
        low: the bound of the lowest level.
        high: the bound of the highest level.
    """

    trial: Trial
    size: str
    scores: tuple[ClassScore, ...]
    unit: str | None
    class_name: str | None
    start: int
    text: str
    values: Array
    levels: Sequence[int]
    low: float
    high: float

    @property
    def title(self) -> str:
        """The network."""
        trial = self.trial
        return f"{trial.task} {trial.cell} T={trial.length} {trial.engine}, trial {trial.trial_id}"

    def remarks(self) -> list[str]:
        """Return which classes have no figures, and whether the best units have no gain."""
        remarks = [f"{score.name}: {score.missing}." for score in self.scores if score.missing]
        gains = [score.units[0].gain for score in self.scores if score.units]
        if gains and max(gains) < _LEAST_GAIN:
            remarks.append("The best units tell no more than the current character alone.")
        return remarks

    def spans(self) -> list[tuple[int, str]]:
        """Return the text in pieces of one level, each with its level."""
        changes = [i for i, (a, b) in enumerate(pairwise(self.levels), start=1) if a != b]
        ends = pairwise([0, *changes, len(self.levels)])
        return [(self.levels[start], self.text[start:end]) for start, end in ends if end > start]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in HEADER)
        rows = [row for score in self.scores for row in score.rows()]
        cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        notes = " ".join([self.size, *NOTES, *self.remarks()])
        html = f"<p><b>{escape(self.title)}</b></p><table><tr>{head}</tr>{body}</table>"
        html += f"<p>{escape(notes)}</p>"
        if self.unit is None:
            return html
        scale = "".join(_span(level, "&nbsp;") for level in range(LEVELS))
        text = "".join(_span(level, escape(piece)) for level, piece in self.spans())
        return (
            f"{html}<p>unit {self.unit}, for {self.class_name}: low {self.low:.3g} {scale} high "
            f'{self.high:.3g}</p><pre style="white-space: pre-wrap">{text}</pre>'
        )


def colour(level: int) -> tuple[int, int, int]:
    """Return blue for the lowest level, white for the middle, orange for the highest, as RGB."""
    distance = 2 * level / (LEVELS - 1) - 1
    end = _HIGH if distance > 0 else _LOW
    red, green, blue = (
        round(middle + abs(distance) * (far - middle))
        for middle, far in zip(_MIDDLE, end, strict=True)
    )
    return red, green, blue


def _span(level: int, content: str) -> str:
    style = f"background: rgb{colour(level)}; color: rgb{INK}"
    return f'<span style="{style}">{content}</span>'
