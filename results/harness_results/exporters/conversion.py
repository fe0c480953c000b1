"""Records as the trials that exporters write: nothing is computed here but names and times."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

import numpy as np

from harness.contract.records.columns import FIGURE_NAMES, names_of
from harness.contract.records.record import Record
from harness.contract.wording import shortened
from harness_results.exporters.contract import Series, Setting, SharedTrial
from harness_results.study.findings import flags, scores
from harness_results.text.format import safe

PART = 32  # characters of each word of a name: the whole fits a file system
LONGEST_NAME = 100  # characters of a series' last word
LARGEST_STEP = 2**63
QUARTILES = ("median", "low", "high")


def shared(record: Record, *, alone: bool) -> SharedTrial:
    """Return the trial of a record; ``alone``: no other environment has it."""
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
        series=tuple(one for one in _all_series(record, _Times(record, started)) if one.steps),
        tags=dict(_tags(record)),
        started=started,
        ended=ended,
    )


def _figures(record: Record) -> Iterator[tuple[str, float]]:
    """Yield every known figure, then the task's further scores."""
    for name in FIGURE_NAMES:
        if (value := _number(record.figures.get(name))) is not None:
            yield name, value
    for name, score in scores(record).items():
        if (value := _number(score)) is not None:
            yield f"scores.{_word(name)}", value


class _Times:
    """When each training step had been done: the start of the launch, and the seconds of the timed blocks up to it."""

    def __init__(self, record: Record, started: float) -> None:
        self.started = started
        blocks = zip(
            *(_numbers(record.curves.get(f"block_{name}")) for name in ("steps", "seconds")),
            strict=False,
        )
        known = [
            (int(steps), seconds)
            for steps, seconds in blocks
            if 0 < steps < LARGEST_STEP and seconds >= 0
        ]
        self._ends = [0, *accumulate(steps for steps, _ in known)]
        self._seconds = [0.0, *accumulate(seconds for _, seconds in known)]
        self._untimed = max(
            0, record.trial.steps - self._ends[-1]
        )  # the first step and the warm-up

    def of(self, steps: Sequence[int]) -> list[float]:
        """Return when each of these steps, in ascending order, had been done."""
        timed = np.asarray(steps, dtype=float) - self._untimed
        return [self.started + float(one) for one in np.interp(timed, self._ends, self._seconds)]


def _all_series(record: Record, times: _Times) -> Iterator[Series]:
    curves = record.curves
    for name in ("loss", "gradient_norm"):
        yield _series(f"curves/{name}", enumerate(_numbers(curves.get(name)), start=1), times)
    yield from _evaluations(curves.get("evaluations"), times)
    flow = _mapping(curves.get("gradient_flow"))
    for moment in ("initial", "final"):
        yield from _flow(f"gradient_flow/{moment}", _mapping(flow.get(moment)), times.started)
    launches = enumerate(_numbers(curves.get("launch_tokens_per_second")), start=1)
    yield _series("launches/tokens_per_second", launches, times.started)


def _evaluations(found: Any, times: _Times) -> Iterator[Series]:
    points: dict[str, list[tuple[Any, float]]] = {}
    for one in map(_mapping, _list(found)):
        for name, value in {**_mapping(one.get("extra")), **one}.items():
            if name not in ("step", "extra"):
                points.setdefault(f"evaluations/{_word(name)}", []).append(
                    (one.get("step"), _number(value, math.nan))
                )
    for name, values in points.items():
        yield _series(name, values, times)


def _flow(name: str, part: Mapping[str, Any], started: float) -> Iterator[Series]:
    lags = _list(part.get("lags"))
    for each in QUARTILES:
        yield _series(f"{name}/{each}", zip(lags, _numbers(part.get(each)), strict=False), started)
    for number, layer in enumerate(_list(part.get("layers"))):
        yield _series(f"{name}/layer_{number}", zip(lags, _numbers(layer), strict=False), started)
    for state, norms in _mapping(part.get("states")).items():
        yield _series(
            f"{name}/state_{_word(state)}", zip(lags, _numbers(norms), strict=False), started
        )


def _series(name: str, points: Any, when: _Times | float) -> Series:
    known = [(step, value) for step, value in points if _is_step(step) and math.isfinite(value)]
    steps = [step for step, _ in known]
    seconds = when.of(steps) if isinstance(when, _Times) else [when] * len(steps)
    return Series(name, steps, [value for _, value in known], seconds)


def _settings(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", shortened(safe(value)) if isinstance(value, str) else value


def _tags(record: Record) -> Iterator[tuple[str, str]]:
    columns = record.columns()
    names = ("trial_id", *names_of("outcome", "origin", "launches"))
    told = {name: columns[name] for name in names} | {"flags": "; ".join(flags(record)) or None}
    for name, value in told.items():
        if value is not None:
            yield name, shortened(safe(value))


def _name(record: Record, *, alone: bool) -> str:
    trial = record.trial
    words = (trial.task, trial.cell, f"T{trial.length}", trial.backend, trial.variant)
    name = "-".join([*(word[:PART] for word in words), trial.trial_id])
    return name if alone else f"{name}-on-{_place(record.environment_id)}"


def _place(environment_id: str | None) -> str:
    known = environment_id or "unknown"
    return (
        known
        if re.fullmatch("[0-9a-z]{1,32}", known)
        else hashlib.sha256(repr(known).encode()).hexdigest()[:12]
    )


def _word(name: str) -> str:
    """Return a name with an escape for each character that not every tool takes."""
    return re.sub(r"[^A-Za-z0-9.-]|_(?=[0-9a-f]+_)", lambda found: _escape(found.group()), name)[
        :LONGEST_NAME
    ]


def _escape(character: str) -> str:
    return character if character == "_" else f"_{ord(character):x}_"


def _seconds(moment: str | None) -> float:
    try:
        return max(0.0, datetime.fromisoformat(moment or "").timestamp())
    except (ValueError, OverflowError, OSError):
        return 0.0


def _number(value: Any, unknown: Any = None) -> Any:
    """Return any finite number as a float; ``unknown`` for all else."""
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


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
