"""The contract of exporters. They get trials as a report shows them, with finite numbers only."""

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
        values: (n,) finite; steps whose value is unknown or not finite are left out.
        seconds: (n,) since the Unix epoch: when each step ended, as far as that is known.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    seconds: Sequence[float]


@dataclass(frozen=True)
class SharedTrial:
    """A trial in one environment, as a report shows it.

    Attributes:
        name: a unique name of a folder or run: ASCII letters, digits, ``.``, ``_`` and ``-``.
        task: the name of its task.
        status: of its record.
        settings: the values of its settings by name (``task_options.symbols``), without unset ones.
        figures: the known figures by the names of their columns; 1 for yes.
        series: its curves.
        tags: text by name (``status``, ``reason``, ``environment_id``, ...), safe to show, of at
            most 2000 characters.
        started: seconds since the Unix epoch; 0: unknown.
        ended: likewise; None: unknown.
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
    """Writes trials in the format of one tool.

    Raises:
        UnavailableError: the library is not installed.
    """

    @abstractmethod
    def write(self, trials: Iterable[SharedTrial], folder: Path, home: Path) -> None:
        """Write all trials into the empty ``folder``, whose content is then moved to ``home``."""

    @abstractmethod
    def how_to_look(self, home: Path) -> str:
        """Return the command that shows the exported trials."""
