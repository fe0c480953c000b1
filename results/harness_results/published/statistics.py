"""The figures of a record as publications take them: a loss at a step, the first step below, ..."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from harness.contract.errors import UsageError
from harness.contract.records.evaluated import at_lengths
from harness.contract.records.record import Record
from harness_results.published.entry import Figure
from harness_results.study.curves import evaluations, series
from harness_results.text.plot import Points

SMOOTHING = 0.999  # of min-char-rnn.py
NEVER = math.inf  # a step that did not come; the loss of a network that diverged


def values_of(figure: Figure, records: Iterable[Record]) -> dict[int, float]:
    """Return seed -> the figure, for those seeds whose records have it.

    With ``minus`` it is a difference between two trials of a seed; two that never reach a loss do
    not differ. A network that diverged is evidence against a band only: its value is left out if
    it lies in the band, and so is the difference from one that diverged.

    Raises:
        UsageError: several trials of a seed match the figure.
    """
    records = list(records)
    values = _by_seed(figure, records, figure.of)
    if figure.minus:
        ok = [record for record in records if record.status == "ok"]
        others = _by_seed(figure, ok, figure.minus)
        values = {
            seed: 0.0 if value == others[seed] else value - others[seed]
            for seed, value in values.items()
            if seed in others
        }
    (low, high), diverged = figure.band, _diverged(figure, records)
    return {
        seed: value
        for seed, value in values.items()
        if seed not in diverged or not low <= value <= high
    }


def _by_seed(
    figure: Figure, records: Iterable[Record], fields: Mapping[str, Any]
) -> dict[int, float]:
    values = {}
    for record in records:
        if _matches(record, fields) and (value := statistic(figure, record)) is not None:
            seed = record.trial.seed
            if seed in values:
                raise UsageError(
                    f"the figure {figure.name!r} matches several trials of seed {seed}: "
                    "narrow it by of = { ... }"
                )
            values[seed] = figure.scale * value
    return values


def _diverged(figure: Figure, records: Iterable[Record]) -> set[int]:
    return {
        record.trial.seed
        for record in records
        if record.status == "diverged" and _matches(record, figure.of)
    }


def _matches(record: Record, fields: Mapping[str, Any]) -> bool:
    trial = record.trial
    settings = {**trial.task_options, **trial.model_dump()}
    return all(settings.get(name) == value for name, value in fields.items())


def statistic(figure: Figure, record: Record) -> float | None:
    """Return the figure of one record, in the record's unit; None: it has none.

    ``loss``: the mean validation loss of the last evaluations up to a step, one of which is at that
    step; ``best_loss``: the least; ``first_below``: the first step at which it is below a limit,
    infinite if it never is; ``smoothed_loss``: of the training loss, s <- 0.999 s + 0.001 loss,
    from the first loss; ``accuracy`` and ``solved`` (0 or 1): of the trained network. A network
    that diverged has an infinite loss and an accuracy of 0.
    """
    if record.status not in {"ok", "diverged"}:
        return None
    if record.status == "diverged" and figure.statistic != "first_below":
        return 0.0 if figure.statistic in {"accuracy", "solved"} else NEVER
    if figure.statistic in {"accuracy", "solved"}:
        return _at_the_end(figure, record)
    step = figure.step or record.trained_steps()
    if figure.statistic == "smoothed_loss":
        return _smoothed(record, step)
    return _of_evaluations(figure, evaluations(record.curves.get("evaluations")), step)


def _of_evaluations(figure: Figure, points: Points, step: int) -> float | None:
    if figure.statistic == "first_below":
        never = NEVER if points else None
        return next((at for at, loss in points if loss < (figure.below or 0.0)), never)
    if figure.statistic == "best_loss":
        return min((loss for _, loss in points), default=None)
    until = [(at, loss) for at, loss in points if 0 < at <= step]
    is_complete = len(until) >= figure.evaluations and until[-1][0] == step
    return fmean(loss for _, loss in until[-figure.evaluations :]) if is_complete else None


def _at_the_end(figure: Figure, record: Record) -> float | None:
    is_solved, accuracy = record.figures.get("solved"), record.figures.get("accuracy")
    if figure.length is not None and figure.length != record.trial.length:
        others = {each.length: each for each in at_lengths(record)}
        if figure.length not in others:
            return None
        is_solved, accuracy = others[figure.length].solved, others[figure.length].accuracy
    value = accuracy if figure.statistic == "accuracy" else is_solved
    return None if value is None else float(value)


def _smoothed(record: Record, step: int) -> float | None:
    losses = series(record.curves.get("loss"))[:step]
    if len(losses) < step:
        return None
    smoothed = losses[0]
    for loss in losses:
        if smoothed is None or loss is None:
            return NEVER
        smoothed = SMOOTHING * smoothed + (1 - SMOOTHING) * loss
    return smoothed
