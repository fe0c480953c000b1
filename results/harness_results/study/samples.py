"""Samples of text that records keep: which are worth showing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.text.format import one_line, safe


def worth_showing(records: Iterable[Record]) -> list[Record]:
    """Return the record of lowest validation loss with a text, of each task, engine and cell.

    A task with other options, such as another corpus, counts as another task, because losses on
    two texts do not compare.
    """
    best: dict[tuple[str | None, ...], Record] = {}
    for record in records:
        if record.status == "ok" and texts(record.details):
            trial = record.trial
            task = f"{trial.task} {json.dumps(trial.task_options, sort_keys=True)}"
            key = (task, trial.engine, trial.python, trial.cell)
            if key not in best or findings.rank(record) < findings.rank(best[key]):
                best[key] = record
    return list(best.values())


def texts(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the temperature and the text of each sample among a record's details, safe to show."""
    content = details.get("samples")
    return [
        (one_line(sample.get("temperature")), safe(sample.get("text")).strip("\n"))
        for sample in (content if isinstance(content, list | tuple) else ())
        if isinstance(sample, Mapping)
    ]


def texts_over_training(details: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the training step and the text of each sample taken during training, safe to show.

    The steps ascend. The last sample is that of the trained weights, unless the trial failed.
    Records of text tasks have such samples since version 0.2, at temperature 0.5.
    """
    content = details.get("samples_over_training")
    by_step: dict[int, str] = {}
    for sample in content if isinstance(content, list | tuple) else ():
        step = sample.get("step") if isinstance(sample, Mapping) else None
        if isinstance(step, int) and not isinstance(step, bool):
            by_step[step] = safe(sample.get("text")).strip("\n")
    return sorted(by_step.items())


def moments(record: Record) -> list[tuple[int, str]]:
    """Return the step and the text of samples at the start, a tenth and the end of training.

    A record without samples over training has its middle sample of the end.
    """
    samples = texts_over_training(record.details)
    if not samples:
        of_end = texts(record.details)
        return [(record.trained_steps(), of_end[len(of_end) // 2][1])] if of_end else []
    later = samples[1:] or samples
    tenth = min(later, key=lambda sample: abs(sample[0] - record.trained_steps() / 10))
    return sorted({samples[0], tenth, samples[-1]})
