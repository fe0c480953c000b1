"""What an exporter gets and must do. It sees trials as a report shows them, and no store; all numbers are finite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FIX = 'pip install "rnn-harness[share]"'
Setting = str | int | float | bool


@dataclass(frozen=True)
class Series:
    """A curve of a trial.

    Attributes:
        name: ``curves/loss``, ``gradient_flow/final/median``: ASCII letters, digits, ``.``, ``_``,
            ``-`` and ``/``.
        steps: (n,) training steps, or lags, or launches.
        values: (n,) finite; what was not finite, or not known, has no step here.
        seconds: (n,) since the Unix epoch: when each step had been done, as far as that is known.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    seconds: Sequence[float]


@dataclass(frozen=True)
class SharedTrial:
    """A trial in one environment, as a report shows it.

    Attributes:
        name: of one folder or run, unlike any other's; ASCII letters, digits, ``.``, ``_`` and
            ``-``.
        task: its task's name.
        status: of its record.
        settings: what was asked for, by name (``task_options.symbols``); what is unset is not in
            it.
        figures: the known figures by their columns; yes is 1.
        series: its curves.
        tags: text by name (``status``, ``reason``, ``environment_id``, ...), safe to show, of at
            most 2000 characters.
        started: seconds since the Unix epoch; 0 where it is not known.
        ended: likewise; None where it is not known.
    """

    name: str
    task: str
    status: str
    settings: Mapping[str, Setting]
    figures: Mapping[str, float]
    series: Sequence[Series]
    tags: Mapping[str, str]
    started: float = 0.0
    ended: float | None = None


class TrialExporter(ABC):
    """Writes trials in the form of one tool. The constructor raises ``UnavailableError`` where its library lacks."""

    @abstractmethod
    def write(self, trials: Iterable[SharedTrial], folder: Path, home: Path) -> None:
        """Write all trials into ``folder``, empty now, whose content will be that of ``home``."""

    @abstractmethod
    def how_to_look(self, home: Path) -> str:
        """Return the command that shows what was written."""
