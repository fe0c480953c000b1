"""Converts records to the trials that exporters write. Computes nothing but names and times."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

import numpy as np

from harness.contract.records.columns import FIGURE_NAMES, names_of
from harness.contract.records.evaluated import evaluated
from harness.contract.records.record import Record
from harness.contract.wording import shortened
from harness_results.exporters.contract import Series, Setting, SharedTrial
from harness_results.study.curves import alike
from harness_results.study.findings import flags, scores
from harness_results.text.format import as_mapping, safe

PART = 32  # characters of each word of a name, so that a file system takes the whole name
LONGEST_NAME = 100  # characters of the last word of a series
LARGEST_STEP = 2**63
QUARTILES = ("median", "low", "high")
TAGS = ("trial_id", *names_of("outcome", "origin", "launches"))  # columns of a record


def shared(record: Record, *, alone: bool) -> SharedTrial:
    """Return the trial of a record; ``alone``: no other environment has this trial."""
    started, ended = _seconds(record.started_at), None
    wall_seconds = _number(record.details.get("wall_seconds"))
    if started and wall_seconds is not None:
        ended = started + wall_seconds
    return SharedTrial(
        name=_name(record, alone=alone),
        task=record.trial.task,
        status=record.status,
        settings=dict(_settings(record.trial.content())),
        figures=dict(_figures(record)),
        series=tuple(each for each in _all_series(record, _Times(record, started)) if each.steps),
        tags=dict(_tags(record)),
        started=started,
        ended=ended,
    )


def _figures(record: Record) -> Iterator[tuple[str, float]]:
    """Yield every known figure, the other scores of the task, then those of further sets."""
    for name in FIGURE_NAMES:
        if (value := _number(record.figures.get(name))) is not None:
            yield name, value
    for name, score in scores(record).items():
        if (value := _number(score)) is not None:
            yield f"scores.{_word(name)}", value
    for each in evaluated(record):
        for name in ("loss", "accuracy", "loss_ratio"):
            if (value := _number(getattr(each, name))) is not None:
                yield f"{_word(each.name)}.{name}", value


class _Times:
    """When each training step ended: the start of the launch plus the timed blocks until then."""

    def __init__(self, record: Record, started: float) -> None:
        self.started = started
        steps, seconds = (
            _numbers(record.curves.get(name)) for name in ("block_steps", "block_seconds")
        )
        blocks = [
            (int(count), duration)
            for count, duration in zip(steps, seconds, strict=False)
            if 0 < count < LARGEST_STEP and duration >= 0
        ]
        self._ends = [0, *accumulate(count for count, _ in blocks)]
        self._seconds = [0.0, *accumulate(duration for _, duration in blocks)]
        # the first step and the warm-up
        self._untimed = max(0, record.trained_steps() - self._ends[-1])

    def of(self, steps: Sequence[int]) -> list[float]:
        """Return when each of these steps, in ascending order, ended."""
        timed = np.asarray(steps, dtype=float) - self._untimed
        return [self.started + float(t) for t in np.interp(timed, self._ends, self._seconds)]


def _all_series(record: Record, times: _Times) -> Iterator[Series]:
    curves = record.curves
    for name in ("loss", "gradient_norm"):
        yield _series(f"curves/{name}", enumerate(_numbers(curves.get(name)), start=1), times)
    yield from _evaluations("evaluations", alike(curves.get("evaluations")), times)
    for name, entries in _by_set(curves.get("evaluation_sets")).items():
        yield from _evaluations(f"evaluations/{_word(name)}", entries, times)
    flow = as_mapping(curves.get("gradient_flow"))
    for moment in ("initial", "final"):
        yield from _flow(f"gradient_flow/{moment}", as_mapping(flow.get(moment)), times.started)
    launches = enumerate(_numbers(curves.get("launch_tokens_per_second")), start=1)
    yield _series("launches/tokens_per_second", launches, times.started)


def _evaluations(
    prefix: str, evaluations: Sequence[Mapping[str, Any]], times: _Times
) -> Iterator[Series]:
    """Yield the figures of evaluations on the same data; those in full at the end are figures."""
    points: dict[str, list[tuple[Any, float]]] = {}
    for evaluation in evaluations:
        step = evaluation.get("step")
        for name, value in {**as_mapping(evaluation.get("extra")), **evaluation}.items():
            if name not in ("step", "extra", "name", "length"):
                points.setdefault(_word(name), []).append((step, _number(value, math.nan)))
    for name, values in points.items():
        yield _series(f"{prefix}/{name}", values, times)


def _by_set(content: Any) -> dict[str, list[Mapping[str, Any]]]:
    """Return the name of each evaluation set -> its evaluations over training."""
    by_set: dict[str, list[Mapping[str, Any]]] = {}
    for entry in map(as_mapping, _list(content)):
        by_set.setdefault(str(entry.get("name")), []).append(entry)
    return by_set


def _flow(name: str, part: Mapping[str, Any], started: float) -> Iterator[Series]:
    norms = [(quartile, part.get(quartile)) for quartile in QUARTILES]
    for number, layer in enumerate(_list(part.get("layers"))):
        norms.append((f"layer_{number}", layer))
    for state, values in as_mapping(part.get("states")).items():
        norms.append((f"state_{_word(state)}", values))
    lags = _list(part.get("lags"))
    for word, values in norms:
        yield _series(f"{name}/{word}", zip(lags, _numbers(values), strict=False), started)


def _series(name: str, points: Iterable[tuple[Any, float]], when: _Times | float) -> Series:
    finite = [(step, value) for step, value in points if _is_step(step) and math.isfinite(value)]
    steps = [step for step, _ in finite]
    seconds = when.of(steps) if isinstance(when, _Times) else [when] * len(steps)
    return Series(name, steps, [value for _, value in finite], seconds)


def _settings(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", shortened(safe(value)) if isinstance(value, str) else value


def _tags(record: Record) -> Iterator[tuple[str, str]]:
    columns = record.columns()
    texts = {name: columns[name] for name in TAGS} | {"flags": "; ".join(flags(record)) or None}
    for name, value in texts.items():
        if value is not None:
            yield name, shortened(safe(value))


def _name(record: Record, *, alone: bool) -> str:
    trial = record.trial
    words = (trial.task, trial.cell, f"T{trial.length}", trial.backend, trial.variant)
    name = "-".join([*(word[:PART] for word in words), trial.trial_id])
    return name if alone else f"{name}-on-{_environment(record.environment_id or 'unknown')}"


def _environment(environment_id: str) -> str:
    """Return the id if a file's name may hold it, otherwise a hash of it."""
    if re.fullmatch("[0-9a-z]{1,32}", environment_id):
        return environment_id
    return hashlib.sha256(repr(environment_id).encode()).hexdigest()[:12]


def _word(name: str) -> str:
    """Return a name with ``_HEX_`` for each character that some tool refuses."""
    pattern = r"[^A-Za-z0-9._-]"
    return re.sub(pattern, lambda match: f"_{ord(match[0]):x}_", name)[:LONGEST_NAME]


def _seconds(moment: str | None) -> float:
    try:
        return max(0.0, datetime.fromisoformat(moment or "").timestamp())
    except (ValueError, OverflowError, OSError):
        return 0.0


def _number(value: Any, unknown: Any = None) -> Any:
    """Return a finite number as a float; ``unknown`` for any other value."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return unknown
    return number if math.isfinite(number) else unknown


def _numbers(values: Any) -> list[float]:
    return [_number(value, math.nan) for value in _list(values)]


def _is_step(step: Any) -> bool:
    return isinstance(step, int) and not isinstance(step, bool) and 0 <= step < LARGEST_STEP


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
