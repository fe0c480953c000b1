"""How long each rank of a data-parallel trial takes over a training step, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from harness.contract import Rank


@dataclass
class RankMeter:
    """Adds up what the ranks tell of the steps that are timed."""

    _told: Sequence[Rank] = ()
    _seconds: list[float] = field(default_factory=list)
    _steps: int = 0

    def add(self, ranks: Sequence[Rank], steps: int) -> None:
        """Take in what the ranks tell after a block of so many timed steps; 0: the block does not count."""
        if steps and self._told:
            spent = [
                now.seconds - before.seconds for now, before in zip(ranks, self._told, strict=True)
            ]
            self._seconds = [
                a + b for a, b in zip(self._seconds or [0.0] * len(spent), spent, strict=True)
            ]
            self._steps += steps
        self._told = tuple(ranks)

    def details(self, devices: int) -> dict[str, Any]:
        """Return how many devices trained and, of each rank, device, threads and seconds per step; {} of one device."""
        if devices == 1:
            return {}
        facts: dict[str, Any] = {"devices": devices}
        if self._told:
            facts["rank_devices"] = [rank.device for rank in self._told]
            facts["rank_threads"] = [rank.threads for rank in self._told]
        if self._steps:
            each = [seconds / self._steps for seconds in self._seconds]
            spread = {"min": min(each), "median": median(each), "max": max(each)}
            facts |= {"rank_step_seconds": each, "rank_step_seconds_spread": spread}
        return facts
