"""Two sets of launches side by side: a verdict for each trial, and what of it is a regression. No rendering here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from harness.contract.errors import UsageError
from harness.contract.record import Record
from harness.contract.trial import Trial
from harness_results.gate import Rule
from harness_results.launches import combine
from harness_results.statistics import DEFAULT_FLOOR, Effect, compare_speed, noise_floor

VERDICTS = ("faster", "slower", "same", "cannot_tell", "newly_failing", "fixed", "missing", "new", "not_comparable")
REGRESSIONS = ("slower", "newly_failing", "missing")
STABLE_FACTS = ("cpu", "cores", "memory_gibibytes", "system", "python")
Key = tuple[str, ...]


@dataclass(frozen=True)
class Floor:
    """The relative change that equal code reaches by itself; ``measured`` is false where it is only assumed."""

    value: float = DEFAULT_FLOOR
    measured: bool = False


@dataclass(frozen=True)
class Row:
    """One trial on both sides.

    Attributes:
        trial: that of ``base``, or of ``new`` where there is no other.
        verdict: one of ``VERDICTS``.
        base: the combined record, None where the trial is missing.
        new: the same of the other side.
        effect: of the throughput, None where nothing was compared.
        floor: the noise floor that the verdict went by.
        reason: why nothing can be told, or what fails.
        regressions: which rules it breaks; empty: none.
    """

    trial: Trial
    verdict: str
    base: Record | None
    new: Record | None
    effect: Effect | None = None
    floor: Floor = field(default_factory=Floor)
    reason: str | None = None
    regressions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All rows, and the geometric mean of the throughput ratios of those where both sides have a speed."""

    rows: tuple[Row, ...]

    @property
    def ratios(self) -> list[float]:
        """New throughput by base throughput, one per trial that has both."""
        return [1 + row.effect.change for row in self.rows if row.effect is not None]

    @property
    def geometric_mean(self) -> float | None:
        """The mean ratio; None where no trial has a speed on both sides."""
        logs = [math.log(ratio) for ratio in self.ratios if ratio > 0]
        return math.exp(sum(logs) / len(logs)) if logs else None

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of trials, in the order of ``VERDICTS``, those that occur."""
        found = [row.verdict for row in self.rows]
        return {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}

    @property
    def comparable(self) -> bool:
        """Whether any trial stands on both sides."""
        return any(row.base is not None and row.new is not None for row in self.rows)


def same_trial(trial: Trial) -> Key:
    """Return what must be equal for two records to be of one trial."""
    return (trial.trial_id,)


def same_but(*axes: str) -> Callable[[Trial], Key]:
    """Return a key by which trials match that differ only in these fields."""

    def key(trial: Trial) -> Key:
        content = {name: value for name, value in trial.content().items() if name not in axes}
        return (json.dumps(content, sort_keys=True),)

    return key


def compare(
    base: Iterable[Record],
    new: Iterable[Record],
    *,
    key: Callable[[Trial], Key] = same_trial,
    floors: Mapping[str, Floor] | None = None,
    rules: Sequence[Rule] = (),
    allowed: Sequence[str] = (),
) -> Comparison:
    """Compare the launches of two sides, trial by trial, in the order of ``base``.

    Args:
        base: every launch of the one side.
        new: every launch of the other.
        key: what two records must share to be compared.
        floors: engine (``backend:variant``) -> noise floor; ``"*"`` stands for all others.
        rules: what fails besides a missing trial and a new failure; none: every ``slower``.
        allowed: verdicts that are no regression.

    Raises:
        UsageError: two trials of one side cannot be told apart by ``key``.
    """
    left, right = _grouped(base, key), _grouped(new, key)
    rows = []
    for name in [*left, *(name for name in right if name not in left)]:
        row = _row(left.get(name, []), right.get(name, []), floors or {})
        rows.append(_judged(row, rules, allowed))
    return Comparison(tuple(rows))


def _grouped(records: Iterable[Record], key: Callable[[Trial], Key]) -> dict[Key, list[Record]]:
    groups: dict[Key, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record.trial), []).append(record)
    for launches in groups.values():
        if len({record.trial for record in launches}) > 1:
            one, other = list(dict.fromkeys(record.trial.trial_id for record in launches))[:2]
            raise UsageError(
                f"trials {one} and {other} cannot be told apart here: name BACKEND:VARIANT, or compare runs"
            )
    return groups


def _row(base: Sequence[Record], new: Sequence[Record], floors: Mapping[str, Floor]) -> Row:
    left, right = _one(base), _one(new)
    if left is None or right is None:
        present = right if left is None else left
        assert present is not None  # noqa: S101 (a group holds a record)
        return Row(present.trial, "new" if left is None else "missing", left, right)
    fails = (left.status != "ok", right.status != "ok")
    if any(fails):
        verdict = {(True, True): "not_comparable", (False, True): "newly_failing", (True, False): "fixed"}[fails]
        reason = right.reason if fails[1] else left.reason
        return Row(left.trial, verdict, left, right, reason=f"{'fails on both sides: ' * all(fails)}{reason}")
    seconds = launch_seconds(base), launch_seconds(new)
    if not all(seconds):
        return Row(left.trial, "not_comparable", left, right, reason="no speed was measured: raise --steps")
    floor = max((_floor(floors, record.trial.engine) for record in (left, right)), key=lambda floor: floor.value)
    effect = compare_speed(*seconds, floor.value)
    return Row(left.trial, effect.verdict, left, right, effect, floor, effect.reason)


def launch_seconds(records: Iterable[Record]) -> list[float]:
    """Return the seconds per step of every launch that ended well."""
    found = (record.figures.get("step_seconds_median") for record in records if record.status == "ok")
    return [float(seconds) for seconds in found if seconds is not None]


def _one(launches: Sequence[Record]) -> Record | None:
    return combine(launches)[0] if launches else None


def _floor(floors: Mapping[str, Floor], engine: str) -> Floor:
    return floors.get(engine) or floors.get("*") or Floor()


def _judged(row: Row, rules: Sequence[Rule], allowed: Sequence[str]) -> Row:
    broken = [row.verdict] if row.verdict in REGRESSIONS and not (rules and row.verdict == "slower") else []
    if row.base is not None and row.new is not None and row.verdict not in {"newly_failing", "not_comparable", "fixed"}:
        broken += [str(rule) for rule in rules if rule.broken(row.base, row.new, slower=row.verdict == "slower")]
    return Row(**{**vars(row), "regressions": tuple(name for name in broken if name not in allowed)})


def measured_floors(calibrations: Mapping[str, Any], launches: int) -> dict[str, Floor]:
    """Return engine -> noise floor of A-against-A runs kept in a store, and under ``"*"`` the median one for others.

    Args:
        calibrations: name -> content of one environment; those named ``noise/ENGINE`` hold seconds per step.
        launches: on each side of the comparison.
    """
    found = {}
    for name, content in calibrations.items():
        if name.startswith("noise/"):
            a, b = content["seconds_per_step_a"], content["seconds_per_step_b"]
            found[name.removeprefix("noise/")] = Floor(noise_floor(a, b, launches), measured=True)
    if found:
        found["*"] = Floor(median(floor.value for floor in found.values()), measured=True)
    return found


def different_facts(base: Iterable[Record], new: Iterable[Record], ignored: Sequence[str] = ()) -> list[str]:
    """Return which stable facts of the environments differ between the sides, as text; [] where they are the same."""
    left, right = _places(base), _places(new)
    if set(left) == set(right) or not left or not right:
        return []
    one, other = _only(left, right), _only(right, left)
    names = [name for name in STABLE_FACTS if name not in ignored and one.get(name) != other.get(name)]
    if not names and not ignored and set(left) != set(right):
        return [f"environment {', '.join(sorted(left))} against {', '.join(sorted(right))}"]
    return [f"{name}: {_brief(one.get(name))} against {_brief(other.get(name))}" for name in names]


def _only(places: Mapping[str, Any], others: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an environment of the one side that the other lacks, if any."""
    chosen = next((name for name in places if name not in others), next(iter(places)))
    return places[chosen] if isinstance(places[chosen], Mapping) else {}


def _places(records: Iterable[Record]) -> dict[str, Mapping[str, Any]]:
    return {record.environment_id: record.environment for record in records if record.environment_id is not None}


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = {name: item for name, item in value.items() if name != "features"}
        return json.dumps(parts, sort_keys=True)
    return str(value)
