"""Who learns: of each task, which cells solve it at which lengths, and which stay at the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract.records.record import Record
from harness.contract.wording import are, counted
from harness_results.page.words import at_lengths, listed
from harness_results.study import findings
from harness_results.text.format import number, one_line

MOST_CELLS = 6
CLOSE = 0.01  # relative; another seed moves a validation loss by more


def who_learns(records: Sequence[Record]) -> str:
    """Return the sentence of the records of one task, without its name and full stop."""
    ended = [record for record in records if record.status == "ok" and _loss(record) is not None]
    if not ended:
        return "no trial ended well"
    if any(findings.ngram_losses(record) for record in ended):
        return _text(ended)
    told: dict[str, list[str]] = {}
    for cell, some in by_cell(ended).items():
        told.setdefault(_solved(some), []).append(one_line(cell))
    return "; ".join(f"{words} by {listed(cells)}" for words, cells in told.items())


def basis(records: Sequence[Record]) -> str:
    """Return what the sentences rest on."""
    seeds = len({record.trial.seed for record in records})
    told = "one seed: another one may end otherwise" if seeds == 1 else counted(seeds, "seed")
    failed = sum(record.status != "ok" for record in records)
    left = f" {counted(failed, 'trial')} that did not end well {are(failed)} left out." * bool(
        failed
    )
    return (
        f"By the loss on validation batches after training, from {told}. At the baseline: within "
        f"{findings.AT_BASELINE:.0%} of the loss of the best predictor that learns nothing, on the same batches.{left}"
    )


def by_cell(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each cell, in order of appearance."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.trial.cell, []).append(record)
    return found


def _loss(record: Record) -> float | None:
    loss = record.figures.get("loss_validation")
    return None if loss is None else float(loss)


def _solved(records: Sequence[Record]) -> str:
    """Return where a cell solves the task: in all trials of a length, in some; and whether it learns at all."""
    solved: dict[int, list[bool]] = {}
    for record in sorted(records, key=lambda record: record.trial.length):
        solved.setdefault(record.trial.length, []).append(bool(record.figures.get("solved")))
    whole = [length for length, found in solved.items() if all(found)]
    told = [at_lengths(whole, list(solved))] if whole else []
    told += [
        f"in {sum(found)} of {counted(len(found), 'trial')} at T = {length}"
        for length, found in solved.items()
        if any(found) and not all(found)
    ]
    words = f"solved {listed(told)}" if told else "not solved"
    stuck = [record for record in records if findings.at_baseline(record)]
    return f"{words} (at the baseline {_of_all(stuck, records, list(solved))})" if stuck else words


def _of_all(some: Sequence[Record], records: Sequence[Record], lengths: Sequence[int]) -> str:
    if len(some) == len(records):
        return at_lengths(lengths, lengths)
    return f"in {len(some)} of {counted(len(records), 'trial')}"


def _text(records: Sequence[Record]) -> str:
    """Return the lowest loss of each cell on a text, the best first, and how many trials beat the n-gram models."""
    best = sorted((min(some, key=_in_order) for some in by_cell(records).values()), key=_in_order)
    first = best[0]
    close = [record for record in best if _in_order(record) <= (1 + CLOSE) * _in_order(first)]
    others = [record for record in best[:MOST_CELLS] if record not in close]
    beside = f", beside {listed(map(_cell_and_loss, others))}" if others else ""
    if len(close) > 1:
        lowest = f"no clear winner: {listed(map(_cell_and_loss, close))} are within {CLOSE:.0%}"
    else:
        lowest = f"the lowest validation loss is {_cell_and_loss(first)}"
    return f"{lowest} ({_where(first)}){beside}; {_beaten(records)}"


def _cell_and_loss(record: Record) -> str:
    return f"{one_line(record.trial.cell)}'s {number(_loss(record))}"


def _where(record: Record) -> str:
    bits = number(findings.bits_per_character(record))
    return f"{bits} bits per character, at T = {record.trial.length} on {one_line(record.trial.engine)}"


def _in_order(record: Record) -> float:
    return _loss(record) or 0.0


def _beaten(records: Sequence[Record]) -> str:
    ratios = [record.figures.get("loss_ratio") for record in records]
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return "no baseline is known"
    below = sum(ratio < 1 for ratio in known)
    return (
        f"{below or 'none'} of {counted(len(known), 'trial')} {are(below)} below the n-gram models"
    )
