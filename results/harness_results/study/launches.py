"""The launches of a trial as one record: medians, and what the launches disagree on."""

from __future__ import annotations

import json
import math
from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, cast

from harness.contract.records.columns import FIGURES, Column, names_of
from harness.contract.records.record import Figure, Record
from harness.contract.trial import Trial

THROUGHPUT = [column.name for column in FIGURES if column.over_launches == "interval"]
MEASURED = [column for column in FIGURES if column.over_launches == "median"]
REPEATED = [column.name for column in FIGURES if column.over_launches == "equal"]
SPEED = names_of("speed")
ROUNDING = 1e-6  # relative; what float32 keeps
_FIRST, _LAST = ("task", "cell"), ("length", "backend", "variant")
Launches = list[Record]  # of one trial in one run


def combine(records: Iterable[Record]) -> list[Record]:
    """Return one record per trial: that of its only launch, or the medians over its launches.

    The records keep their order. If a trial has several launches, they ran in shuffled order: then
    the trials are sorted by their settings, the length and the engine last.
    """
    return _in_order(_by_trial(records))


def of_each_environment(runs: Iterable[Iterable[Record]]) -> list[Record]:
    """Return one record per trial and environment of a store, from the last of its runs there.

    A run that failed before its environment was known counts as the next run in the environment of
    the run before it. A run in which every launch of a trial was interrupted counts only if the
    trial has no other.
    """
    trials: dict[str, list[Launches]] = {}
    for run in runs:
        for group in _by_trial(run):
            trials.setdefault(group[0].trial.trial_id, []).append(group)
    return _in_order(
        [group for groups in trials.values() for group in _of_each_environment(groups)]
    )


def latest(records: Iterable[Record]) -> list[Record]:
    """Return the record of each trial and environment that started last, by first appearance.

    An interrupted record counts only if the trial has no other.
    """
    candidates = list(records)
    ended = {record.trial.trial_id for record in candidates if record.status != "interrupted"}
    newest: dict[tuple[str, str | None], Record] = {}
    for record in candidates:
        if record.status == "interrupted" and record.trial.trial_id in ended:
            continue
        key = (record.trial.trial_id, record.environment_id)
        if key not in newest or (newest[key].started_at or "") <= (record.started_at or ""):
            newest[key] = record
    return list(newest.values())


def by_settings(trial: Trial) -> list[tuple[bool, bool, Any]]:
    """Return a key that sorts trials by their settings: task, cell, others, length, engine.

    Within one setting None comes first, then numbers, then text (``checkpoint``: 64 before
    ``off``).
    """
    content = {name: getattr(trial, name) for name in Trial.model_fields}
    content["task_options"] = json.dumps(content["task_options"])
    others = [name for name in content if name not in (*_FIRST, *_LAST)]
    values = [content[name] for name in (*_FIRST, *others, *_LAST)]
    return [(value is not None, isinstance(value, str), value) for value in values]


def _by_trial(records: Iterable[Record]) -> list[Launches]:
    trials: dict[str, list[Record]] = {}
    for record in records:
        trials.setdefault(record.trial.trial_id, []).append(record)
    return list(trials.values())


def were_shuffled(records: Iterable[Record]) -> bool:
    """Say whether a trial has several launches in a run: its trials then ran in shuffled order."""
    return any(len(group) > 1 for group in _by_trial(records))


def _in_order(groups: list[Launches]) -> list[Record]:
    shuffled = any(len(group) > 1 for group in groups)
    return in_order([_combined(group) for group in groups], shuffled=shuffled)


def in_order(records: Sequence[Record], *, shuffled: bool) -> list[Record]:
    """Return the records in their order, or sorted by their settings if launches ran shuffled."""
    if not shuffled:
        return list(records)
    return sorted(records, key=lambda record: by_settings(record.trial))


def _of_each_environment(runs: Sequence[Launches]) -> Iterable[Launches]:
    """Return the launches of the last run of a trial in each environment."""
    ended = [run for run in runs if any(record.status != "interrupted" for record in run)]
    ended = ended or list(runs[-1:])
    environments = [
        next((record.environment_id for record in run if record.environment_id), None)
        for run in ended
    ]
    current = next(filter(None, environments), None)
    by_environment: dict[str | None, Launches] = {}
    for run, environment_id in zip(ended, environments, strict=True):
        current = environment_id or current
        by_environment[current] = run
    return by_environment.values()


def _combined(group: Sequence[Record]) -> Record:
    """Return one record; interrupted launches are only noted."""
    ended = [record for record in group if record.status != "interrupted"]
    if ended and len(ended) < len(group):
        record = _combined(ended)
        note = f"{len(group) - len(ended)} of {len(group)} launches: interrupted, not counted"
        notes = [*(record.details.get("notes") or ()), note]
        return replace(record, details={**record.details, "notes": notes})
    if len(group) == 1:
        return group[0]
    failed = [record for record in group if record.status != "ok"]
    return _failure(group, failed) if failed else _success(group)


def _success(group: Sequence[Record]) -> Record:
    """Return the medians; what does not depend on the clock comes from the first launch."""
    first = group[0]
    throughput, kind = throughput_of(group)
    medians = {column.name: _median(column, group) for column in MEASURED}
    speeds = [record.figures.get("tokens_per_second") for record in group]
    curves = _with_curve(first.curves, "launch_tokens_per_second", speeds) if first.curves else {}
    record = replace(first, figures={**first.figures, **medians, **throughput}, curves=curves)
    return _with_launches(record, group, interval=kind, flags=_disagreements(group))


def _with_curve(curves: Mapping[str, Any], name: str, values: Any) -> Mapping[str, Any]:
    """Return the curves and one more; the others are not read."""
    return ChainMap({name: values}, cast("MutableMapping[str, Any]", curves))


def _failure(group: Sequence[Record], failed: Sequence[Record]) -> Record:
    """Return the first failure without a speed: the launches that survived are a biased sample."""
    first = failed[0]
    figures = {name: value for name, value in first.figures.items() if name not in SPEED}
    why = first.reason or first.status.replace("_", " ")
    reason = f"{len(failed)} of {len(group)} launches failed: {why}"
    return _with_launches(replace(first, figures=figures, reason=reason), group)


def _with_launches(
    record: Record,
    group: Sequence[Record],
    interval: str | None = None,
    flags: Sequence[str] = (),
) -> Record:
    """Return the record with the figures, flags and notes of all launches in its details."""
    details = dict(record.details) | {"interval": interval, "launches": len(group)}
    details["launch_figures"] = [launch_figures(launch) for launch in group]
    for name, further in (("flags", flags), ("notes", ())):
        texts = [*further, *merged(name, group)]
        details |= {name: texts} if texts or name in details else {}
    return replace(record, details=details)


def launch_figures(launch: Record) -> dict[str, Any]:
    """Return what the record of several launches keeps of each."""
    wall = launch.details.get("wall_seconds")
    timing = {} if wall is None else {"wall_seconds": wall}
    origin = {"status": launch.status, "started_at": launch.started_at}
    return {**origin, **timing, **launch.figures}


def throughput_of(group: Sequence[Record]) -> tuple[dict[str, Figure], str | None]:
    """Return the throughput with its interval over launches, and the kind of that interval."""
    from harness_results.study.verdicts.statistics import median_of_launches

    values = _values("tokens_per_second", group)
    if not values:
        return dict.fromkeys(THROUGHPUT), None
    middle, interval = median_of_launches(values)
    low, high = (interval.low, interval.high) if interval else (None, None)
    kind = f"launches-{interval.kind}" if interval else None
    return dict(zip(THROUGHPUT, (middle, low, high), strict=True)), kind


def _median(column: Column, group: Sequence[Record]) -> float | None:
    values = _values(column.name, group)
    if not values:
        return None
    middle = median(values)
    return round(middle) if column.unit == "bytes" else middle


def _values(name: str, group: Sequence[Record]) -> list[float]:
    values = (record.figures.get(name) for record in group)
    return [value for value in values if value is not None and math.isfinite(value)]


def _disagreements(group: Sequence[Record]) -> list[str]:
    names = [
        name for name in REPEATED if not _agree([record.figures.get(name) for record in group])
    ]
    if not names:
        return []
    return [f"launches disagree on {', '.join(names)}: the engine is not deterministic"]


def _agree(values: Sequence[Figure]) -> bool:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < len(values):
        return not finite
    return all(math.isclose(value, finite[0], rel_tol=ROUNDING, abs_tol=1e-12) for value in finite)


def merged(name: str, group: Sequence[Record], noun: str = "launches") -> list[str]:
    """Return every flag once; if not all records have it, with the number that do."""
    counts: Counter[str] = Counter()
    for record in group:
        flags = record.details.get(name)
        if isinstance(flags, list | tuple):
            counts.update(dict.fromkeys(map(str, flags), 1))
    total = len(group)
    return [
        flag if count == total else f"{count} of {total} {noun}: {flag}"
        for flag, count in counts.items()
    ]
