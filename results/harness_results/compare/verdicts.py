"""Two sets of launches: a verdict for each trial, and which rows are regressions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.contract.errors import UsageError
from harness.contract.records.record import Record
from harness.contract.trial import Trial
from harness_results.compare.comparison import Comparison, Row
from harness_results.compare.gate import Rule
from harness_results.study.launches import by_settings, combine
from harness_results.study.verdicts.faster import effect_of_launches, with_speed
from harness_results.study.verdicts.floors import Floor
from harness_results.study.verdicts.multiple import corrected
from harness_results.study.verdicts.statistics import DEFAULT_DRIFT
from harness_results.study.versions import differing

REGRESSIONS = ("slower", "newly_failing", "missing")
ENGINE = ("backend", "variant", "device")  # differ with the engine
Key = tuple[str, ...]


def same_trial(trial: Trial) -> Key:
    """Return the key of a trial: its id."""
    return (trial.trial_id,)


def same_but(*axes: str) -> Callable[[Trial], Key]:
    """Return a function whose key is equal for trials that differ only in these fields."""

    def key(trial: Trial) -> Key:
        content = {name: value for name, value in trial.content().items() if name not in axes}
        return (json.dumps(content, sort_keys=True),)

    return key


def matching(axis: str | None) -> Callable[[Trial], Key]:
    """Return the function whose key ignores this field (``backend``: the engine), or none."""
    return same_trial if axis is None else same_but(*(ENGINE if axis == "backend" else (axis,)))


def other_differences(first: Trial, second: Trial, axis: str) -> str:
    """Return in words the other fields in which two trials differ; empty if there are none."""
    ignored, other = ENGINE if axis == "backend" else (axis,), second.content()
    names = [name for name, value in first.content().items() if other.get(name) != value]
    names = [name for name in names if name not in ignored]
    return f"; they differ in {', '.join(names)} too" if names else ""


def compare(
    base: Iterable[Record],
    new: Iterable[Record],
    *,
    key: Callable[[Trial], Key] = same_trial,
    floors: Mapping[str, Floor] | None = None,
    drift: float = DEFAULT_DRIFT,
    rules: Sequence[Rule] = (),
    allowed: Sequence[str] = (),
    fail_on_doubt: bool = False,
) -> Comparison:
    """Compare the launches of two sides, trial by trial.

    Args:
        base: every launch of the one side.
        new: every launch of the other.
        key: two records are compared if their trials have the same key.
        floors: engine (``backend:variant``) -> noise floor; ``"*"``: of all others.
        drift: of the machine between the two sides; it counts for trials whose launches took no
            turns.
        rules: of regressions, besides a missing trial and a new failure; none: every ``slower``.
        allowed: verdicts that do not count as regressions.
        fail_on_doubt: whether ``cannot_tell`` counts as a regression.

    Raises:
        UsageError: two trials of one side cannot be told apart by ``key``.
    """
    left, right = _grouped(base, key), _grouped(new, key)
    names, total = list(dict.fromkeys([*left, *right])), len(left.keys() & right.keys())
    rows = [
        _row(left.get(name, []), right.get(name, []), floors or {}, drift, total) for name in names
    ]
    rows = [_judged(row, rules, allowed, fail_on_doubt=fail_on_doubt) for row in _corrected(rows)]
    if any(len(group) > 1 for group in (*left.values(), *right.values())):
        rows.sort(key=lambda row: by_settings(row.trial))
    sides = [[record for group in side.values() for record in group] for side in (left, right)]
    return Comparison(tuple(rows), differing(sides))


def _grouped(records: Iterable[Record], key: Callable[[Trial], Key]) -> dict[Key, list[Record]]:
    groups: dict[Key, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record.trial), []).append(record)
    for launches in groups.values():
        if len({record.trial for record in launches}) > 1:
            first, second = list(dict.fromkeys(record.trial.trial_id for record in launches))[:2]
            raise UsageError(
                f"trials {first} and {second} cannot be told apart here: "
                "name BACKEND:VARIANT, or compare runs"
            )
    return groups


def _row(
    base: Sequence[Record],
    new: Sequence[Record],
    floors: Mapping[str, Floor],
    drift: float,
    total: int,
) -> Row:
    left, right = (combine(side)[0] if side else None for side in (base, new))
    if left is None or right is None or "interrupted" in (left.status, right.status):
        return _one_sided((*base, *new)[0].trial, left, right)
    row = partial(Row, left.trial, base=left, new=right)
    if left.status != "ok" and right.status != "ok":
        return row("not_comparable", reason=f"fails on both sides: {right.reason}")
    if left.status != "ok" or right.status != "ok":
        verdict, failure = ("fixed", left) if right.status == "ok" else ("newly_failing", right)
        return row(verdict, reason=str(failure.reason))
    timed = with_speed(base), with_speed(new)
    if not all(timed):
        return row("not_comparable", reason="no speed was measured: raise --steps")
    if _shared(*timed):
        return row("same", reason="the same launches on both sides")
    of_sides = [_floor(floors, record.trial.engine) for record in (left, right)]
    floor = max(of_sides, key=lambda floor: floor.value)
    effect, widened = effect_of_launches(*timed, floor, drift, total)
    return row(effect.verdict, effect=effect, floor=floor, drift=widened, reason=effect.reason)


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with verdicts corrected for the number of comparisons."""
    effects = iter(corrected([row.effect for row in rows if row.effect is not None]))
    rows = list(rows)
    for n, row in enumerate(rows):
        if row.effect is not None:
            effect = next(effects)
            rows[n] = replace(row, effect=effect, verdict=effect.verdict, reason=effect.reason)
    return rows


def _one_sided(trial: Trial, left: Record | None, right: Record | None) -> Row:
    """Return the row of a trial that is missing, or was interrupted, on at least one side."""
    sides = {"base": left, "new": right}
    stopped = [name for name, side in sides.items() if side and side.status == "interrupted"]
    ended = [name for name, side in sides.items() if side and name not in stopped]
    verdict = "not_comparable"
    if ended:
        verdict = "missing" if ended == ["base"] else "new"
    reason = f"interrupted in {' and '.join(stopped)}: run it again" if stopped else None
    return Row(trial, verdict, left, right, reason=reason)


def _shared(base: Sequence[Record], new: Sequence[Record]) -> bool:
    """Say whether the launches of one side are all among those of the other."""
    first, second = ({_content(record) for record in side} for side in (base, new))
    return first <= second or second <= first


def _content(record: Record) -> str:
    facts = (record.trial.trial_id, record.started_at, dict(record.figures), dict(record.details))
    return json.dumps(facts, sort_keys=True, default=str)


def _floor(floors: Mapping[str, Floor], engine: str) -> Floor:
    return floors.get(engine) or floors.get("*") or Floor()


def _judged(row: Row, rules: Sequence[Rule], allowed: Sequence[str], *, fail_on_doubt: bool) -> Row:
    fatal = (*REGRESSIONS, "cannot_tell") if fail_on_doubt else REGRESSIONS
    is_slower = row.verdict == "slower"
    broken = [row.verdict] if row.verdict in fatal and not (rules and is_slower) else []
    unchecked = []
    if row.both_ok and row.base is not None and row.new is not None:
        for rule in rules:
            if rule.broken(row.base, row.new, slower=is_slower):
                broken.append(str(rule))
            if not rule.checks(row.base):
                unchecked.append(str(rule))
    regressions = tuple(name for name in broken if name not in allowed)
    return replace(row, regressions=regressions, unchecked=tuple(unchecked))
