"""When an engine that compiles has overtaken another one of the same network and length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.contract.records.record import Record


@dataclass(frozen=True)
class BreakEven:
    """The steps after which a compiling engine has overtaken another one.

    Attributes:
        length: T.
        steps: at least 0; ``math.inf``: never, because no engine has a longer median step.
        against: the engine with the next longer median step; None if there is none.
    """

    length: int
    steps: float
    against: str | None


def break_even(compiling: Record, others: Iterable[Record]) -> BreakEven | None:
    """Return when ``compiling`` overtakes the next slower engine; None if it has no rival.

    The start-up of an engine is compiling and the first step, less one steady step. Engines that
    compute another function than the network are left out.
    """
    own = _cost(compiling)
    rivals = [cost for cost in map(_cost, others) if cost is not None]
    if own is None or not rivals:
        return None
    slower = [rival for rival in rivals if rival.step > own.step]
    if not slower:
        return BreakEven(compiling.trial.length, math.inf, None)
    rival = min(slower, key=lambda cost: cost.step)
    steps = (own.start_up - rival.start_up) / (rival.step - own.step)
    return BreakEven(compiling.trial.length, max(0.0, steps), rival.engine)


@dataclass(frozen=True)
class _Cost:
    """Seconds: of one steady step, and before it."""

    engine: str
    step: float
    start_up: float


def _cost(record: Record) -> _Cost | None:
    figures = record.figures
    step, first, compiling = (
        figures.get(n) for n in ("step_seconds_median", "first_step_seconds", "compile_seconds")
    )
    if step is None or first is None or "deviation" in record.details:
        return None
    return _Cost(record.trial.engine, step, (compiling or 0.0) + first - step)
