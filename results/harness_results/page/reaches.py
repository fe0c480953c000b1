"""Whose gradient reaches back: of each cell, in how many trials it vanishes, explodes or reaches the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from harness.contract.record import Record
from harness_results import findings
from harness_results.page.learns import MOST_CELLS, by_cell
from harness_results.page.words import counted, listed
from harness_results.text import number, one_line


def whose_gradient_reaches_back(records: Sequence[Record]) -> str:
    """Return the sentence of the records of one task, without its name and full stop."""
    known = [r for r in records if r.status == "ok" and r.figures.get("gradient_horizon") is not None]
    if not known:
        return "the gradient's flow was not measured"
    found = by_cell(known)
    told = [f"{one_line(cell)}'s {_reaches(some)}" for cell, some in list(found.items())[:MOST_CELLS]]
    more = f"; and {counted(len(found) - MOST_CELLS, 'more cell')}" if len(found) > MOST_CELLS else ""
    return f"{'; '.join(told)}{more}"


def basis(records: Sequence[Record]) -> str:
    """Return what the sentences rest on."""
    return (
        "By the norm of dL/dh over the lag from the last scored step, after training, median over sequences. Horizon: "
        "the lag at which it falls below 1 % of its value at lag 0. Reaches all the way: it never does; vanishes: "
        f"it does before T/2; explodes: it grows by over {findings.EXPLODING_DECAY - 1:.0%} per step back."
    )


def _reaches(records: Sequence[Record]) -> str:
    kinds: tuple[tuple[str, Callable[[Record], bool]], ...] = (
        ("reaches all the way", findings.is_censored),
        ("vanishes", findings.is_vanishing),
        ("explodes", findings.is_exploding),
    )
    found = [(words, sum(map(holds, records))) for words, holds in kinds]
    between = sum(not any(holds(record) for _, holds in kinds) for record in records)
    found.append(("ends between T/2 and T", between))
    told = [f"{words} in {_of_all(count, len(records))}" for words, count in found if count]
    return f"{listed(told)}{_horizon(records)}"


def _of_all(count: int, total: int) -> str:
    if count < total:
        return f"{count} of {counted(total, 'trial')}"
    return "its one trial" if total == 1 else f"all {total} trials"


def _horizon(records: Sequence[Record]) -> str:
    """Return the median horizon at the longest T, where any trial has one there that is no bound."""
    longest = max(record.trial.length for record in records)
    there = [record for record in records if record.trial.length == longest and not findings.is_censored(record)]
    if not there:
        return ""
    steps = f"{median(float(record.figures.get('gradient_horizon') or 0) for record in there):g}"
    several = "median horizon" if len(there) > 1 else "horizon"
    return f" ({several} {steps} at T = {longest})"
