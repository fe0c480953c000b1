"""The launches of a trial as one record: medians, and what the launches disagree on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from harness.contract.records.columns import FIGURES, Column, names_of
from harness.contract.records.record import Figure, Record
from harness.contract.trial import Trial

THROUGHPUT = [column.name for column in FIGURES if column.over_launches == "interval"]
MEASURED = [column for column in FIGURES if column.over_launches == "median"]
REPEATED = [column.name for column in FIGURES if column.over_launches == "equal"]
SPEED = names_of("speed")
ROUNDING = 1e-6  # relative; what float32 keeps
_LAST = ("length", "backend", "variant")
Launches = list[Record]  # of one trial in one run


def combine(records: Iterable[Record]) -> list[Record]:
    """Return one record per trial: that of its only launch, or the medians over its launches.

    The order is that of the records. Where a trial has several launches they ran shuffled, and the
    trials are sorted by their settings instead, the length and the engine last.
    """
    return _in_order(_by_trial(records))


def of_each_place(runs: Iterable[Iterable[Record]]) -> list[Record]:
    """Return one record per trial and environment of a store, from the last of its runs there.

    A run that failed before its environment was known takes the place of the one before it. One
    that was interrupted in every launch of a trial takes none: it stands only where the trial has
    no other.
    """
    trials: dict[str, list[Launches]] = {}
    for run in runs:
        for group in _by_trial(run):
            trials.setdefault(group[0].trial.trial_id, []).append(group)
    return _in_order([group for groups in trials.values() for group in _of_each_place(groups)])


def latest(records: Iterable[Record]) -> list[Record]:
    """Return the record of each trial and environment that started last, by first appearance.

    An interrupted record counts only where the trial has no other.
    """
    candidates = list(records)
    ended = {record.trial.trial_id for record in candidates if record.status != "interrupted"}
    newest: dict[tuple[str, str | None], Record] = {}
    for record in (
        record
        for record in candidates
        if record.status != "interrupted" or record.trial.trial_id not in ended
    ):
        key = (record.trial.trial_id, record.environment_id)
        if key not in newest or (newest[key].started_at or "") <= (record.started_at or ""):
            newest[key] = record
    return list(newest.values())


def by_settings(trial: Trial) -> list[tuple[bool, bool, Any]]:
    """Return the settings, comparable one by one: task and cell first, length and engine last.

    Of one setting the unset come first, then numbers, then words (``checkpoint``: 64 before
    ``off``).
    """
    content = {name: getattr(trial, name) for name in Trial.model_fields}
    content["task_options"] = json.dumps(content["task_options"])
    names = [
        "task",
        "cell",
        *(name for name in content if name not in ("task", "cell", *_LAST)),
        *_LAST,
    ]
    return [
        (content[name] is not None, isinstance(content[name], str), content[name]) for name in names
    ]


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
    """Return records as they are, or sorted by their settings if launches ran shuffled."""
    return (
        sorted(records, key=lambda record: by_settings(record.trial)) if shuffled else list(records)
    )


def _of_each_place(runs: Sequence[Launches]) -> Iterable[Launches]:
    """Return the launches of the last run of a trial in each environment."""
    ended = [run for run in runs if any(record.status != "interrupted" for record in run)] or runs[
        -1:
    ]
    environments = [
        next((record.environment_id for record in run if record.environment_id), None)
        for run in ended
    ]
    current = next(filter(None, environments), None)
    by_place: dict[str | None, Launches] = {}
    for run, environment in zip(ended, environments, strict=True):
        current = environment or current
        by_place[current] = run
    return by_place.values()


def _combined(group: Sequence[Record]) -> Record:
    """Return one record; interrupted launches are only noted."""
    ended = [record for record in group if record.status != "interrupted"]
    if ended and len(ended) < len(group):
        return _noted(
            _combined(ended),
            f"{len(group) - len(ended)} of {len(group)} launches: interrupted, not counted",
        )
    if len(group) == 1:
        return group[0]
    failed = [record for record in group if record.status != "ok"]
    return _failure(group, failed) if failed else _success(group)


def _noted(record: Record, note: str) -> Record:
    return replace(
        record, details={**record.details, "notes": [*(record.details.get("notes") or ()), note]}
    )


def _success(group: Sequence[Record]) -> Record:
    """Return the medians; what does not depend on the clock comes from the first launch."""
    first = group[0]
    throughput, kind = _throughput(group)
    figures = (
        dict(first.figures)
        | {column.name: _median(column, group) for column in MEASURED}
        | throughput
    )
    speeds = [record.figures.get("tokens_per_second") for record in group]
    curves = {**first.curves, "launch_tokens_per_second": speeds} if first.curves else {}
    return _like(
        first, group, figures=figures, curves=curves, interval=kind, extra=_disagreements(group)
    )


def _failure(group: Sequence[Record], failed: Sequence[Record]) -> Record:
    """Return the first failure without a speed: the launches that survived are no fair sample."""
    first = failed[0]
    figures = {name: value for name, value in first.figures.items() if name not in SPEED}
    reason = f"{len(failed)} of {len(group)} launches failed: {first.reason or first.status.replace('_', ' ')}"
    return _like(
        first, group, figures=figures, curves=first.curves, interval=None, extra=(), reason=reason
    )


def _like(
    first: Record, group: Sequence[Record], *, figures: dict[str, Figure], curves: Any, interval: str | None,
    extra: Sequence[str], reason: str | None = None,
) -> Record:  # fmt: skip
    """Return a record with what all launches share, and the figures of each in its details."""
    details = dict(first.details) | {"interval": interval, "launches": len(group)}
    details["launch_figures"] = [
        {
            "status": record.status,
            "started_at": record.started_at,
            **_timing(record),
            **record.figures,
        }
        for record in group
    ]
    for name, further in (("flags", extra), ("notes", ())):
        merged = [*further, *_merged(name, group)]
        details |= {name: merged} if merged or name in details else {}
    origin = {
        name: getattr(first, name)
        for name in ("environment", "environment_id", "started_at", "harness_version")
    }
    return Record(first.trial, first.status, reason, figures, curves, details, **origin)


def _timing(record: Record) -> dict[str, Any]:
    wall = record.details.get("wall_seconds")
    return {} if wall is None else {"wall_seconds": wall}


def _throughput(group: Sequence[Record]) -> tuple[dict[str, Figure], str | None]:
    """Return the throughput with its interval over launches, and the kind of that interval."""
    from harness_results.study.verdicts.statistics import median_of_launches

    values = _values("tokens_per_second", group)
    if not values:
        return dict.fromkeys(THROUGHPUT), None
    middle, interval = median_of_launches(values)
    if interval is None:
        return dict(zip(THROUGHPUT, (middle, None, None), strict=True)), None
    return dict(
        zip(THROUGHPUT, (middle, interval.low, interval.high), strict=True)
    ), f"launches-{interval.kind}"


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
    return (
        [f"launches disagree on {', '.join(names)}: the engine is not deterministic"]
        if names
        else []
    )


def _agree(values: Sequence[Figure]) -> bool:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < len(values):
        return not finite
    return all(math.isclose(value, finite[0], rel_tol=ROUNDING, abs_tol=1e-12) for value in finite)


def _merged(name: str, group: Sequence[Record]) -> list[str]:
    """Return every flag once, with how many launches have it where not all do."""
    lists = (record.details.get(name) for record in group)
    counts = Counter(
        flag
        for some in lists
        if isinstance(some, list | tuple)
        for flag in dict.fromkeys(map(str, some))
    )
    total = len(group)
    return [
        flag if count == total else f"{count} of {total} launches: {flag}"
        for flag, count in counts.items()
    ]
