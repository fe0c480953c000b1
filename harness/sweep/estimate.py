"""How long launches will take, from how long earlier ones of the same network on the same engine took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.contract import Trial
from harness.contract.wording import are, counted
from harness.sweep.tally import span

SEEDS = ("seed", "data_seed", "evaluation_seed", "python")  # what changes no time


@dataclass(frozen=True)
class Estimate:
    """The wall seconds of ``known`` launches together, and how many there are of kinds that were never timed here."""

    seconds: float
    known: int
    unknown: int

    def __str__(self) -> str:
        if not self.known:
            which = (
                "this launch is not"
                if self.unknown == 1
                else f"none of these {self.unknown} launches is"
            )
            return f"no estimate: {which} like one that was measured here"
        told = f"about {span(self.seconds)} for {counted(self.known, 'launch')}"
        more = f"; {self.unknown} more {are(self.unknown)} like none that was measured here"
        return told + more * bool(self.unknown)


def estimate(left: Iterable[Trial], history: Iterable[tuple[Mapping[str, Any], float]]) -> Estimate:
    """Return the estimate for these launches.

    Args:
        left: one entry per launch.
        history: the content of a trial, and the wall seconds of one of its launches.
    """
    times: dict[str, list[float]] = {}
    for content, seconds in history:
        times.setdefault(_kind(content), []).append(seconds)
    medians = {kind: median(found) for kind, found in times.items()}
    kinds = [_kind(trial.content()) for trial in left]
    known = [medians[kind] for kind in kinds if kind in medians]
    return Estimate(sum(known), len(known), len(kinds) - len(known))


def _kind(content: Mapping[str, Any]) -> str:
    return json.dumps(
        {name: value for name, value in content.items() if name not in SEEDS}, sort_keys=True
    )
