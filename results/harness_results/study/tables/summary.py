"""What a run shows, in a sentence or two: who learns, and how far back the gradient reaches.

The sentences state what was measured. They claim nothing about other seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from harness.contract.records.record import Record
from harness.contract.wording import are, counted
from harness_results.study import findings
from harness_results.study.study import Study
from harness_results.text.format import number, one_line
from harness_results.text.words import at_lengths, listed

MOST_ABOVE = 3.0  # times the loss; what is more is no percentage
CLOSE = 0.01  # of the loss; losses that differ by less are called equal
SEES = {"unigram": "no", "bigram": "the last", "trigram": "the last two"}
Cells = Mapping[str, Sequence[Record]]


def summary(study: Study) -> str:
    """Return the sentences about one task; empty if no trial ended well."""
    cells: dict[str, list[Record]] = {}
    for record in study.trials:
        if record.status == "ok" and "deviation" not in record.details:
            cells.setdefault(one_line(record.trial.cell), []).append(record)
    if not cells:
        return ""
    sentences = [_learning(study, cells), _reach(cells)]
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        return ""
    if failed := sum(record.status != "ok" for record in study.trials):
        sentences.append(
            f"{counted(failed, 'trial')} that did not end well {are(failed)} left out."
        )
    if len({record.trial.seed for record in study.trials}) == 1:
        sentences.append("One seed: another may give other numbers.")
    return " ".join(sentences)


def _learning(study: Study, cells: Cells) -> str:
    if any(findings.ngram_losses(record) for record in study.trials):
        return _against_model(cells)
    cells_by_outcome: dict[str, list[str]] = {}
    for cell, records in cells.items():
        if outcome := _solved(records, study.lengths):
            cells_by_outcome.setdefault(outcome, []).append(cell)
    words = [f"{listed(names)}: {outcome}" for outcome, names in cells_by_outcome.items()]
    return f"{'; '.join(words)}." if words else ""


def _against_model(cells: Cells) -> str:
    """Return how far the loss of each cell is from the n-gram model, the lowest first."""
    ratios: dict[str, list[float]] = {}
    for cell, records in cells.items():
        values = [record.figures.get("loss_ratio") for record in records]
        numbers = [value for value in values if value is not None]
        if numbers:
            ratios[cell] = numbers
    if not ratios:
        return ""
    records = list(itertools.chain.from_iterable(cells.values()))
    name = findings.shared_baseline_name(records)
    model = f"the {name} model" if name != findings.UNNAMED else "the best n-gram model of its text"
    symbols = f"{findings.symbol(records[0])}{'s' * (name == 'trigram')}"
    sees = f", which sees {SEES[name]} {symbols}" if name in SEES else ""
    order = sorted(ratios, key=lambda cell: min(ratios[cell]))
    texts = [f"{cell} {_distance(ratios[cell])}" for cell in order]
    return f"Loss against {model}{sees}: {', '.join(texts)}."


def _distance(ratios: Sequence[float]) -> str:
    """Return ``21 to 27 % below``, ``3 % above`` or ``12 % below to 3 % above``."""
    low, high = min(ratios), max(ratios)
    if max(abs(1 - low), abs(1 - high)) < CLOSE:
        return "equal to it"
    ends = (high, low) if high <= 1 else (low, high)
    numbers: dict[str, list[str]] = {}  # by their unit and side
    for ratio in ends:
        text, side = _from_model(ratio)
        numbers.setdefault(side, []).append(text)
    parts = (f"{' to '.join(dict.fromkeys(texts))} {side}" for side, texts in numbers.items())
    return " to ".join(parts)


def _from_model(ratio: float) -> tuple[str, str]:
    """Return a number and what it counts; a percentage says little of a loss many times another."""
    if ratio > MOST_ABOVE:
        return number(ratio, 2), "times it"
    percent = f"{100 * abs(1 - ratio):.0f}"
    if ratio > 1:
        return percent, "% above"
    return ("more than 99" if percent == "100" else percent), "% below"


def _solved(records: Sequence[Record], lengths: Sequence[int]) -> str:
    """Return at which lengths a cell solves the task; empty if the task has no criterion.

    Args:
        records: of the cell, those that ended well.
        lengths: all that were asked for, ascending.
    """
    by_length = _by_length(records)
    if not by_length:
        return ""
    never = [length for length, trials in by_length.items() if not any(trials)]
    parts = [f"solved {where}" for where in where_solved(records, lengths)]
    moved = {record.trial.length for record in records if not findings.at_baseline(record)}
    stuck = [length for length in by_length if length not in moved]
    learning = [length for length in never if length in moved]
    if learning and never == list(by_length):
        parts.append("not solved")
    elif learning:
        parts.append(f"not {at_lengths(learning, lengths)}")
    if stuck:
        parts.append("nothing learnt")
        if moved:
            parts[-1] += f" {at_lengths(stuck, lengths)}"
    learnt = {record.trial.length for record in records if not _is_above(record)}
    if above := [length for length in by_length if length not in learnt]:
        name = findings.shared_baseline_name(records)
        parts.append(f"loss above {name} {at_lengths(above, lengths)}")
    return ", ".join(parts)


def _is_above(record: Record) -> bool:
    """Say whether the loss is above that of the baseline, by more than chance."""
    ratio = record.figures.get("loss_ratio")
    return ratio is not None and ratio > 1 + findings.AT_BASELINE


def where_solved(records: Sequence[Record], lengths: Sequence[int]) -> list[str]:
    """Return at which lengths a cell solves the task, then where only some of its trials do.

    Args:
        records: of the cell, those that ended well.
        lengths: all that were asked for, ascending.
    """
    by_length = _by_length(records)
    always = [length for length, trials in by_length.items() if all(trials)]
    where = [at_lengths(always, lengths)] if always else []
    for length, trials in by_length.items():
        if any(trials) and not all(trials):
            where.append(f"in {sum(trials)} of {counted(len(trials), 'trial')} at T = {length}")
    return where


def _by_length(records: Sequence[Record]) -> dict[int, list[bool]]:
    """Return whether each trial of a task with a criterion solved it, by length."""
    by_length: dict[int, list[bool]] = {}
    for record in sorted(records, key=lambda record: record.trial.length):
        solved = record.figures.get("solved")
        if solved is not None:
            by_length.setdefault(record.trial.length, []).append(bool(solved))
    return by_length


def _reach(cells: Cells) -> str:
    """Return how far the gradient reaches back at the longest length that all cells have."""
    common = set.intersection(*({_length(r) for r in records} for records in cells.values()))
    lengths = sorted(common - {None}, key=lambda length: length or 0)
    if not lengths:
        return ""
    at_longest = {
        cell: [record for record in records if _length(record) == lengths[-1]]
        for cell, records in cells.items()
    }
    cells_by_reach, medians = findings.cells_by_reach(at_longest)
    texts = [f"{words} in {listed(names)}" for words, names in cells_by_reach.items()]
    return f"At T = {lengths[-1]} the gradient reaches back {listed(texts)}{medians}."


def _length(record: Record) -> int | None:
    is_measured = record.figures.get("gradient_horizon") is not None
    return record.trial.length if is_measured else None
