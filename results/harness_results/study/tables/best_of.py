"""The best value of a setting for each network: chosen on validation, judged on the test split."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from harness.contract.errors import UnknownNameError, UsageError, with_fix
from harness.contract.records.evaluated import Evaluated, on_test
from harness.contract.records.record import Record
from harness.contract.trial import Trial
from harness_results.study.networks import Labels, setting_in_words
from harness_results.study.seeds.statistics import proportion_interval
from harness_results.study.seeds.summary import loss_of, outcomes_of, over_seeds
from harness_results.study.study import Study, studies
from harness_results.text.format import UNKNOWN, number, one_line, ratio
from harness_results.text.grid import Grid

COLUMNS = ("best", "of", "validation", "test", "solved on test")
# Settings that make another task, other validation data, or a repetition.
NO_CHOICE = ("task", "task_options", "length", "seed", "evaluation_seed", "python")
NOTE = (
    "best: the value with the lowest validation loss, the median over seeds · of: how many values "
    "were tried · test: on data by which nothing was chosen, median over seeds (x baseline) · a "
    "seed that did not end well counts as the worst"
)
BIASED = "no test split: the validation loss of the best of several values is too low"


def best_of(records: Sequence[Record], setting: str) -> list[Grid]:
    """Return one table per task: a row per network, with the best value of a setting.

    Args:
        records: one per trial.
        setting: a field of a trial, or an option of a task, with several values.

    Raises:
        UnknownNameError: there is no such setting.
        UsageError: it has one value, or nothing can be chosen by it.
    """
    name = setting.replace("-", "_")
    _check(records, name)
    value = _value(records[0].trial, name)
    return [_grid(study, name, value) for study in studies(over_seeds(records))]


def _check(records: Sequence[Record], name: str) -> None:
    fields = [field for field in Trial.model_fields if field not in NO_CHOICE]
    options = {option for record in records for option in record.trial.task_options}
    if name in NO_CHOICE:
        problem = f"--best-of {name}: another {name} is another task, other data or a repetition"
        raise UsageError(with_fix(problem, "name a setting of the network or the optimizer"))
    if name not in {*fields, *options}:
        raise UnknownNameError("setting of --best-of", name, [*fields, *sorted(options)])
    values = {repr(_value(record.trial, name)) for record in records}
    if len(values) == 1:
        problem = f"--best-of {name}: it has one value here, {values.pop()}"
        raise UsageError(with_fix(problem, "run several, as in --learning-rate 0.001,0.003"))


def _value(trial: Trial, name: str) -> Any:
    if name in Trial.model_fields:
        return getattr(trial, name)
    return trial.task_options.get(name)


def _in_words(record: Record, name: str) -> str:
    return setting_in_words(_value(record.trial, name))


def _with(trial: Trial, name: str, value: Any) -> Trial:
    """Return the trial with another value of a setting, whether or not the two fit."""
    if name in Trial.model_fields:
        return trial.model_copy(update={name: value})
    return trial.model_copy(update={"task_options": {**trial.task_options, name: value}})


def _grid(study: Study, name: str, value: Any) -> Grid:
    """Return the table of one task; networks are told apart with one value of the setting."""
    networks: dict[tuple[str, str | None], list[Record]] = {}
    for record in study.records:
        content = _with(record.trial, name, value).content() | {"seed": None}
        key = json.dumps(content, sort_keys=True), record.environment_id
        networks.setdefault(key, []).append(record)
    tried = [sorted(records, key=loss_of) for records in networks.values()]
    alike = Study([replace(best, trial=_with(best.trial, name, value)) for best, *_ in tried])
    labels = [(*labels, str(record.trial.length)) for labels, record in alike.labelled]
    ranked = dict(zip(labels, tried, strict=True))
    ended = [best for best, *_ in ranked.values() if best.status == "ok"]
    is_biased = bool(ended) and not any(any(_on_test(best)) for best in ended)
    return Grid(
        title=f"{one_line(study.task)}: the best {name} of each network",
        axes=(*alike.networks.axes, "T"),
        columns=COLUMNS,
        rows=tuple((labels, _cells(of, name)) for labels, of in ranked.items()),
        notes=(NOTE, *([BIASED] if is_biased else []), *_tried(ranked, name)),
    )


def _cells(tried: Sequence[Record], name: str) -> tuple[str, ...]:
    best = tried[0]
    on_validation, multiple = (best.figures.get(f"loss_{of}") for of in ("validation", "ratio"))
    tests = _on_test(best)
    losses = [_or_worst(each.loss if each else None) for each in tests]
    ratios = [_or_worst(each.loss_ratio if each else None) for each in tests]
    is_judged = any(tests)
    return (
        _in_words(best, name),
        str(len(tried)),
        best.status.replace("_", " ") if best.status != "ok" else _loss(on_validation, multiple),
        _loss(median(losses), median(ratios)) if is_judged else UNKNOWN,
        _solved(tests) if is_judged and best.figures.get("solved") is not None else UNKNOWN,
    )


def _on_test(record: Record) -> list[Evaluated | None]:
    """Return the figures of each seed on the test split; None for one that did not end well."""
    return [on_test(seed) if seed.status == "ok" else None for seed in outcomes_of(record)]


def _or_worst(value: float | None) -> float:
    return math.inf if value is None else value


def _loss(loss: float | None, multiple: float | None) -> str:
    if multiple is None or not math.isfinite(multiple):
        return number(loss)
    return f"{number(loss)} ({ratio(multiple)})"


def _solved(tests: Sequence[Evaluated | None]) -> str:
    count = sum(each is not None and each.solved for each in tests)
    low, high = proportion_interval(count, len(tests))
    return f"{count}/{len(tests)} ({100 * low:.0f}-{100 * high:.0f}%)"


def _tried(ranked: Mapping[Labels, Sequence[Record]], name: str) -> Iterator[str]:
    """Yield the validation loss of every value that was tried for each network."""
    for labels, tried in ranked.items():
        values = []
        for record in tried:
            loss = number(loss_of(record)) if record.status == "ok" else record.status
            values.append(f"{_in_words(record, name)} {loss}")
        yield f"tried: {' '.join(labels[:-1])} T={labels[-1]}: {', '.join(values)}"
