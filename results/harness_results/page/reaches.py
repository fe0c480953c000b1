"""Whose gradient reaches back: of each cell, in how many trials it vanishes, explodes or reaches the first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median_low

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.page.learns import by_cell
from harness_results.page.words import listed
from harness_results.study import findings
from harness_results.text.format import one_line


def whose_gradient_reaches_back(records: Sequence[Record]) -> str:
    """Return the sentence of the records of one task, without its name and full stop."""
    known = [
        r for r in records if r.status == "ok" and r.figures.get("gradient_horizon") is not None
    ]
    explodes = _counted("explodes", findings.is_exploding, records)  # diverged trials included
    if not known:
        return explodes or "the gradient's flow was not measured"
    vanishes = _counted("vanishes before T/2", findings.is_vanishing, known)
    return "; ".join(filter(None, [_at_the_longest(known), vanishes, explodes]))


def basis(records: Sequence[Record]) -> str:
    """Return what the sentences rest on."""
    seeds = len({record.trial.seed for record in records})
    return (
        "By the norm of the loss's gradient by the whole state over the lag from the last scored step, after training, "
        f"median over sequences: how many steps until it falls below {findings.HORIZON} of its value at lag 0. All the "
        f"way: it never does. It explodes if it grows {findings.EXPLODES}. "
        f"From {counted(seeds, 'seed')}."
    )


def _at_the_longest(records: Sequence[Record]) -> str:
    """Return how far back the gradient reaches at the longest T that most cells have: medians, the farthest first."""
    lengths: dict[int, list[Record]] = {}
    for record in records:
        lengths.setdefault(record.trial.length, []).append(record)
    longest = max(lengths, key=lambda length: (len(by_cell(lengths[length])), length))
    cells = by_cell(lengths[longest])
    steps = {cell: median_low(map(_steps, some)) for cell, some in cells.items()}
    told: dict[str, list[str]] = {}
    for cell in sorted(steps, key=lambda cell: -steps[cell]):
        words = "all the way" if math.isinf(steps[cell]) else counted(round(steps[cell]), "step")
        told.setdefault(words, []).append(one_line(cell))
    several = " (medians)" if any(len(some) > 1 for some in cells.values()) else ""
    reached = [f"{words} with {listed(names)}" for words, names in told.items()]
    return f"at T = {longest} it reaches back {listed(reached)}{several}"


def _steps(record: Record) -> float:
    return (
        math.inf
        if findings.is_censored(record)
        else float(record.figures.get("gradient_horizon") or 0.0)
    )


def _counted(words: str, holds: Callable[[Record], bool], records: Sequence[Record]) -> str:
    """Return in how many trials of each cell something holds; empty where it holds in none."""
    found = {cell: (sum(map(holds, some)), len(some)) for cell, some in by_cell(records).items()}
    told = [
        f"{_of_all(*numbers)} of {one_line(cell)}" for cell, numbers in found.items() if numbers[0]
    ]
    return f"it {words} in {listed(told)}" if told else ""


def _of_all(count: int, total: int) -> str:
    return (
        f"{count} of {counted(total, 'trial')}"
        if count < total
        else f"{'all ' * (total > 1)}{counted(total, 'trial')}"
    )
