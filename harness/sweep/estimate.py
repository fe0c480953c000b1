"""Estimates how long launches take, from earlier launches of the same network and engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.contract import Trial
from harness.contract.wording import are, counted
from harness.plan.resolve import SEEDS
from harness.sweep.tally import span

NOT_TIMED = (*SEEDS, "python")  # fields that change no time


@dataclass(frozen=True)
class Estimate:
    """How long launches will take.

    Attributes:
        seconds: wall time of the ``timed`` launches together.
        timed: launches of kinds that were timed on this machine.
        unknown: launches of other kinds.
    """

    seconds: float
    timed: int
    unknown: int

    def __str__(self) -> str:
        if not self.timed:
            which = f"none of these {self.unknown} launches is"
            if self.unknown == 1:
                which = "this launch is not"
            return f"no estimate: {which} like one that was measured here"
        text = f"about {span(self.seconds)} for {counted(self.timed, 'launch')}"
        if self.unknown:
            text += f"; {self.unknown} more {are(self.unknown)} like none that was measured here"
        return text


def estimate(left: Iterable[Trial], history: Iterable[tuple[Mapping[str, Any], float]]) -> Estimate:
    """Return the estimate for these launches.

    Args:
        left: one entry per launch.
        history: the content of a trial, and the wall seconds of one of its launches.
    """
    times: dict[str, list[float]] = {}
    for content, seconds in history:
        times.setdefault(_kind(content), []).append(seconds)
    kinds = [_kind(trial.content()) for trial in left]
    medians = [median(times[kind]) for kind in kinds if kind in times]
    return Estimate(sum(medians), len(medians), len(kinds) - len(medians))


def _kind(content: Mapping[str, Any]) -> str:
    timed = {name: value for name, value in content.items() if name not in NOT_TIMED}
    return json.dumps(timed, sort_keys=True)
