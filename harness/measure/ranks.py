"""The time of each rank of a data-parallel trial for a training step, and their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from harness.contract import Rank


@dataclass
class RankMeter:
    """Adds up the times that the ranks report for the timed steps."""

    _ranks: Sequence[Rank] = ()
    _seconds: list[float] = field(default_factory=list)
    _steps: int = 0

    def add(self, ranks: Sequence[Rank], steps: int) -> None:
        """Add the ranks' reports after a block of timed steps; 0 steps: it does not count."""
        if steps and self._ranks:
            sums = self._seconds or [0.0] * len(ranks)
            self._seconds = [
                total + (now.seconds - before.seconds)
                for total, now, before in zip(sums, ranks, self._ranks, strict=True)
            ]
            self._steps += steps
        self._ranks = tuple(ranks)

    def details(self, devices: int) -> dict[str, Any]:
        """Return the devices, and each rank's device, threads and seconds per step.

        A trial on one device has none of these details.
        """
        if devices == 1:
            return {}
        facts: dict[str, Any] = {"devices": devices}
        if self._ranks:
            facts["rank_devices"] = [rank.device for rank in self._ranks]
            facts["rank_threads"] = [rank.threads for rank in self._ranks]
        if self._steps:
            each = [seconds / self._steps for seconds in self._seconds]
            spread = {"min": min(each), "median": median(each), "max": max(each)}
            facts |= {"rank_step_seconds": each, "rank_step_seconds_spread": spread}
        return facts
