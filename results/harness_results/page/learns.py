"""Who learns: which cells solve a task at which lengths, and which stay at the baseline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.contract.records.record import Record
from harness.contract.wording import are, counted
from harness_results.study import findings
from harness_results.study.tables.summary import where_solved
from harness_results.text.format import number, one_line
from harness_results.text.words import at_lengths, listed

MOST_CELLS = 6
CLOSE = 0.01  # relative; another seed moves a validation loss by more


def who_learns(records: Sequence[Record]) -> str:
    """Return the sentence about the records of one task, without its name and full stop."""
    ended = [record for record in records if record.status == "ok" and _loss(record) is not None]
    if not ended:
        return "no trial ended well"
    if any(findings.ngram_losses(record) for record in ended):
        return _text(ended)
    cells_by_outcome: dict[str, list[str]] = defaultdict(list)
    for cell, trials in by_cell(ended).items():
        cells_by_outcome[_outcome(trials, _lengths(records))].append(one_line(cell))
    return "; ".join(f"{words} by {listed(cells)}" for words, cells in cells_by_outcome.items())


def in_short(records: Sequence[Record]) -> Iterator[str]:
    """Yield the clauses of a headline about the records of one task."""
    ended = [record for record in records if record.status == "ok" and _loss(record) is not None]
    if not ended:
        yield "no trial ended well"
    elif any(findings.ngram_losses(record) for record in ended):
        yield _against_ngrams(ended)
    else:
        solved: dict[str, list[str]] = defaultdict(list)
        for cell, trials in by_cell(ended).items():
            solved[_solved(trials, _lengths(records))].append(one_line(cell))
        for words in sorted(solved, key=lambda words: not words.startswith("solved")):
            cells = solved[words]
            yield words if len(solved) == 1 and len(cells) > 1 else f"{words} by {listed(cells)}"


def basis(records: Sequence[Record]) -> str:
    """Return what the sentences are based on."""
    count = len({record.trial.seed for record in records})
    seeds = (
        "one seed; another seed may give another result" if count == 1 else counted(count, "seed")
    )
    failed = sum(record.status != "ok" for record in records)
    left_out = ""
    if failed:
        left_out = f" {counted(failed, 'trial')} that did not end well {are(failed)} left out."
    return (
        f"By the loss on validation batches after training, from {seeds}. At the baseline: within "
        f"{findings.AT_BASELINE:.0%} of the loss of the best predictor that learns nothing, on the "
        f"same batches.{left_out}"
    )


def by_cell(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each cell, in order of appearance."""
    cells: dict[str, list[Record]] = {}
    for record in records:
        cells.setdefault(record.trial.cell, []).append(record)
    return cells


def _loss(record: Record) -> float | None:
    loss = record.figures.get("loss_validation")
    return None if loss is None else float(loss)


def _lengths(records: Sequence[Record]) -> list[int]:
    return sorted({record.trial.length for record in records})


def _solved(records: Sequence[Record], lengths: Sequence[int]) -> str:
    """Return at which of the lengths that were asked for a cell solves the task."""
    where = where_solved(records, lengths)
    return f"solved {listed(where)}" if where else "not solved"


def _outcome(records: Sequence[Record], lengths: Sequence[int]) -> str:
    """Return at which lengths a cell solves the task, and if trials stay at the baseline."""
    words = _solved(records, lengths)
    stuck = sum(map(findings.at_baseline, records))
    if not stuck:
        return words
    where = f"in {stuck} of {counted(len(records), 'trial')}"
    if stuck == len(records):
        where = at_lengths(_lengths(records), lengths)
    return f"{words} (at the baseline {where})"


def _text(records: Sequence[Record]) -> str:
    """Return the lowest loss of each cell on a text, and how many trials beat the n-gram models.

    Losses on several texts are multiples of the loss of each text's own n-gram model.
    """
    if len({str(findings.ngram_losses(record)) for record in records}) > 1:
        return f"on several texts, {_against_ngrams(records)}; {_beaten(records)}"
    best = sorted((min(trials, key=_order) for trials in by_cell(records).values()), key=_order)
    first = best[0]
    close = [record for record in best if _order(record) <= (1 + CLOSE) * _order(first)]
    others = [record for record in best[:MOST_CELLS] if record not in close]
    then = f", then {listed(map(_cell_and_loss, others))}" if others else ""
    lowest = f"the lowest validation loss is {_cell_and_loss(first)}"
    if len(close) > 1:
        lowest = f"no clear winner: {listed(map(_cell_and_loss, close))} are within {CLOSE:.0%}"
    return f"{lowest} ({_where(first)}){then}; {_beaten(records)}"


def _against_ngrams(records: Sequence[Record]) -> str:
    """Return the lowest loss of each cell as a multiple of the loss of the best n-gram model."""
    name = findings.shared_baseline_name(records)
    model = "best n-gram" if name == findings.UNNAMED else name
    best = sorted((min(trials, key=_ratio) for trials in by_cell(records).values()), key=_ratio)
    ratios = [
        f"{number(record.figures['loss_ratio'])} ({one_line(record.trial.cell)})"
        for record in best[:MOST_CELLS]
        if record.figures.get("loss_ratio") is not None
    ]
    if not ratios:
        return f"lowest loss: {listed(map(_cell_and_loss, best[:MOST_CELLS]))}"
    return f"{listed(ratios)} times the {model} model's loss"


def _cell_and_loss(record: Record) -> str:
    return f"{one_line(record.trial.cell)}'s {number(_loss(record))}"


def _where(record: Record) -> str:
    bits = number(findings.bits_per_symbol(record))
    engine = one_line(record.trial.engine)
    return f"{bits} bits per {findings.symbol(record)}, at T = {record.trial.length} on {engine}"


def _order(record: Record) -> float:
    return _loss(record) or 0.0


def _ratio(record: Record) -> tuple[float, float]:
    return findings.rank(record, "loss_ratio"), _order(record)


def _beaten(records: Sequence[Record]) -> str:
    values = (record.figures.get("loss_ratio") for record in records)
    ratios = [ratio for ratio in values if ratio is not None]
    if not ratios:
        return "no baseline is known"
    below, total = sum(ratio < 1 for ratio in ratios), counted(len(ratios), "trial")
    return f"{below or 'none'} of {total} {are(below)} below the n-gram models"
