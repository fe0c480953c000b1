"""Settings that vary among the networks of a task, listed once: each combination has a letter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from harness_results.charts.series import REPEATS
from harness_results.study.study import Study

FEWEST_AXES = 3  # with fewer, each setting has a column of its own
AXIS = "settings"


@dataclass(frozen=True)
class Letters:
    """The letters of one task.

    Attributes:
        axes: the settings that vary, except seeds.
        by_values: the letter of each combination of their values.
    """

    axes: tuple[str, ...]
    by_values: Mapping[tuple[str, ...], str]

    @classmethod
    def of(cls, study: Study) -> Letters | None:
        """Return the letters; None if few settings vary, or there are too many combinations."""
        networks = study.networks
        axes = tuple(axis for axis in networks.axes[1:-1] if axis not in REPEATS)
        columns = [networks.axes.index(axis) for axis in axes]
        values = dict.fromkeys(tuple(labels[n] for n in columns) for labels in study.rows)
        if len(axes) < FEWEST_AXES or len(values) > len(ascii_uppercase):
            return None
        return cls(axes, dict(zip(values, ascii_uppercase, strict=False)))

    @property
    def listed(self) -> list[tuple[str, str]]:
        """Each letter with its settings in words."""
        return [(letter, self._words(values)) for values, letter in self.by_values.items()]

    def replaced(self, axes: Sequence[str], labels: Sequence[str]) -> list[str]:
        """Return the labels of a row, with its letter in place of the settings.

        ``axes`` themselves become ``AXIS``. If a table lacks a setting, its labels stay.
        """
        if not set(self.axes) <= set(axes):
            return list(labels)
        columns = [list(axes).index(axis) for axis in self.axes]
        values = tuple(labels[n] for n in columns)
        letter = AXIS if values == self.axes else self.by_values.get(values, "")
        kept = [label for n, label in enumerate(labels) if n not in columns]
        return [*kept[: columns[0]], letter, *kept[columns[0] :]]

    def heading(self, text: str) -> str:
        """Return the heading of a panel, with a letter in place of its second line."""
        first, _, settings = text.partition("\n")
        letters = {words: letter for letter, words in self.listed}
        if settings not in letters:
            return text
        task, *others = first.split(" · ")
        return " · ".join([f"{task} {letters[settings]}", *others])

    def note(self, text: str) -> str:
        """Return a note about rows, with a letter in place of their settings."""
        for values, letter in self.by_values.items():
            pairs = (f"{axis}={value}" for axis, value in zip(self.axes, values, strict=True))
            text = re.sub(rf"(?<= ){re.escape(' '.join(pairs))}(?=[ ;:,]|$)", letter, text)
        return text

    def _words(self, values: Sequence[str]) -> str:
        return " · ".join(f"{axis} {value}" for axis, value in zip(self.axes, values, strict=True))


def letters_by_task(tasks: Sequence[Study]) -> dict[str, Letters]:
    """Return the letters of each task that has some."""
    letters = {study.task: Letters.of(study) for study in tasks}
    return {task: of_task for task, of_task in letters.items() if of_task is not None}
