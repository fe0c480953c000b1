"""Whose gradient reaches back, and in how many trials of each cell it vanishes or explodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.page.learns import by_cell
from harness_results.study import findings
from harness_results.text.format import one_line
from harness_results.text.words import listed


def whose_gradient_reaches_back(records: Sequence[Record]) -> str:
    """Return the sentence about the records of one task, without its name and full stop."""
    measured = _measured(records)
    explodes = _counted("explodes", findings.is_exploding, records)  # diverged trials included
    if not measured:
        return explodes or "the gradient's flow was not measured"
    vanishes = _counted("vanishes before T/2", findings.is_vanishing, measured)
    return "; ".join(filter(None, [_at_the_longest(measured), vanishes, explodes]))


def in_short(records: Sequence[Record]) -> Iterator[str]:
    """Yield the clauses of a headline about the records of one task."""
    measured = _measured(records)
    if measured:
        yield _in_few_words(measured)
    explodes = _counted("explodes", findings.is_exploding, records)
    if explodes:
        yield explodes.removeprefix("it ")
    if not measured and not explodes:
        yield "the gradient's flow was not measured"


def basis(records: Sequence[Record]) -> str:
    """Return what the sentences are based on."""
    seeds = len({record.trial.seed for record in records})
    return (
        "By the norm of the gradient of the loss at the last scored step with respect to the whole "
        "state, after training, as the median over sequences. The gradient reaches back as many "
        f"steps as it takes to fall below {findings.HORIZON} of its value at lag 0. All the way: "
        f"it never falls below. It explodes if it grows {findings.EXPLODES}. "
        f"From {counted(seeds, 'seed')}."
    )


def _measured(records: Sequence[Record]) -> list[Record]:
    return [
        record
        for record in records
        if record.status == "ok" and record.figures.get("gradient_horizon") is not None
    ]


def _at_the_longest(records: Sequence[Record]) -> str:
    """Return how far back the gradient reaches at the longest T that most cells have."""
    longest, cells_by_reach, medians = _reaches(records)
    reached = [f"{words} with {listed(cells)}" for words, cells in cells_by_reach.items()]
    return f"at T = {longest} it reaches back {listed(reached)}{medians}"


def _in_few_words(records: Sequence[Record]) -> str:
    """Return the same in fewer words, without saying that the numbers are medians."""
    longest, cells_by_reach, _ = _reaches(records)
    reached = [f"{words} ({', '.join(cells)})" for words, cells in cells_by_reach.items()]
    return f"{', '.join(reached)} at T = {longest}"


def _reaches(records: Sequence[Record]) -> tuple[int, dict[str, list[str]], str]:
    """Return the longest T that most cells have, the cells by reach there, and if it is a median.

    The farthest reach is first.
    """
    lengths: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        lengths[record.trial.length].append(record)
    longest = max(lengths, key=lambda length: (len(by_cell(lengths[length])), length))
    cells = by_cell(lengths[longest])
    return longest, *findings.cells_by_reach(cells)


def _counted(words: str, holds: Callable[[Record], bool], records: Sequence[Record]) -> str:
    """Return in how many trials of each cell something holds; empty if it holds in none."""
    parts = []
    for cell, trials in by_cell(records).items():
        count, total = sum(map(holds, trials)), len(trials)
        if count == total:
            parts.append(f"{'all ' * (total > 1)}{counted(total, 'trial')} of {one_line(cell)}")
        elif count:
            parts.append(f"{count} of {counted(total, 'trial')} of {one_line(cell)}")
    return f"it {words} in {listed(parts)}" if parts else ""
