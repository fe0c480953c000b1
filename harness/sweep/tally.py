"""Counts what a sweep has done, what failed, runs and is left, and estimates its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from harness.contract import Record, Trial
from harness.plan.naming import line

_NO_FAILURE = ("ok", "unsupported")


@dataclass
class Tally:
    """Counts the launches of a sweep.

    Attributes:
        total: launches of the plan.
        reused: launches that the store had.
        elsewhere: launches that another process runs.
        statuses: status -> launches of this process that ended with it.
        running: the trials that run now.
        names: the settings that tell the plan's trials apart.
        failure: the last launch that failed, in words.
        clock: a monotonic clock, in seconds.
    """

    total: int
    reused: int = 0
    elsewhere: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    running: list[Trial] = field(default_factory=list)
    names: Sequence[str] = ()
    failure: str | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began = self.clock()

    def start(self, trial: Trial) -> None:
        """Count a launch of ``trial`` as running."""
        self.running.append(trial)

    def end(self, record: Record) -> None:
        """Count a launch as ended."""
        if record.trial in self.running:
            self.running.remove(record.trial)
        self.statuses[record.status] += 1
        if record.status not in _NO_FAILURE:
            reason = " ".join((record.reason or "").split())
            status = record.status.replace("_", " ")
            self.failure = f"{line(record.trial, self.names)}: {status}: {reason}"

    @property
    def ended(self) -> int:
        """Launches that this process has ended."""
        return self.statuses.total()

    @property
    def left(self) -> int:
        """Launches that no process has begun."""
        return max(0, self.total - self.reused - self.elsewhere - self.ended - len(self.running))

    @property
    def elapsed_seconds(self) -> float:
        """Since this process began."""
        return self.clock() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Until the end, at the rate so far; None before a launch has ended."""
        unfinished = self.left + len(self.running)
        return self.elapsed_seconds / self.ended * unfinished if self.ended else None

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "total": self.total,
            "taken": self.reused,  # a stored name, kept
            "elsewhere": self.elsewhere,
            "ended": dict(self.statuses),
            "running": [line(trial, self.names) for trial in self.running],
            "left": self.left,
            "failure": self.failure,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
        }


def summary(tally: Tally) -> str:
    """Return the state, the rate, the expected end and the last failure of a sweep in a line."""
    parts = [f"{len(tally.running)} running", troubles(tally.statuses), f"{tally.left} left"]
    if tally.elsewhere:
        parts.append(f"{tally.elsewhere} by another process")
    if tally.seconds_left is not None:
        end = datetime.now().astimezone() + timedelta(seconds=tally.seconds_left)
        parts.append(f"{3600 * tally.ended / max(tally.elapsed_seconds, 1e-9):,.0f} an hour")
        parts.append(f"{span(tally.seconds_left)} to go, to {end:%H:%M}")
    if tally.failure:
        parts.append(f"last failure: {tally.failure}")
    return ", ".join(parts)


def troubles(statuses: Mapping[str, int]) -> str:
    """Return how many launches failed, and how many an engine does not run (no failure)."""
    failed = sum(count for status, count in statuses.items() if status not in _NO_FAILURE)
    unsupported = statuses.get("unsupported", 0)
    return f"{failed} failed" + (f", {unsupported} unsupported" if unsupported else "")


def span(seconds: float) -> str:
    """Return a duration in words: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    minutes = round(seconds / 60)
    if minutes < 2:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if minutes < 120:  # noqa: PLR2004
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
