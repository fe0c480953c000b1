"""The two sides of a comparison: stores, runs of a store, or two values of a field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract.errors import UnknownNameError, UsageError, with_fix
from harness.contract.records.record import Record
from harness.contract.trial import Trial
from harness_results.store.runs import RUN
from harness_results.store.store import Store
from harness_results.study.verdicts.floors import Floor, measured_floors
from harness_results.text.passwords import without_password

STORES = (".sqlite", ".sqlite3", ".db")  # a name with such an end is a store, even if none exists
Calibrations = Mapping[str, Mapping[str, Any]]  # environment_id -> name -> content


@dataclass(frozen=True)
class Side:
    """One side of the comparison: its launches, and the calibrations of its store."""

    name: str
    records: Sequence[Record]
    calibrations: Calibrations


def is_store_or_run(text: str) -> bool:
    """Say whether ``text`` names a store (PATH, PATH@3, a URL) or a run (3, last, last~1)."""
    path = text.rpartition("@")[0] or text
    looks = "/" in text or path.endswith(STORES)
    return looks or Path(text).is_file() or Path(path).is_file() or bool(RUN.fullmatch(text))


def store_or_run(text: str, store: str) -> Side:
    """Return a side: another store, or a run of ``store``.

    Raises:
        UsageError: there is no such store or run.
    """
    if RUN.fullmatch(text):
        return Side(f"run {text}", *_launches(store, text))
    location, at, run = text.rpartition("@")
    if not at or Path(text).exists() or not (run == "all" or RUN.fullmatch(run)):
        location, run = text, "last"
    return Side(without_password(text), *_launches(location, run))


def values_of(axis: str, base: str, new: str, store: str, run: str) -> tuple[Side, Side]:
    """Return the launches of a run whose trials have these two values of a field.

    Raises:
        UsageError: there is no such run or field, or no trial of the run has that value.
    """
    axes = [name for name in Trial.model_fields if name != "task_options"]  # many values in one
    if axis not in axes:
        raise UnknownNameError("axis of --by", axis, axes)
    records, calibrations = _launches(store, run)
    left, right = (
        Side(value, _with_value(records, axis, value), calibrations) for value in (base, new)
    )
    return left, right


def names_cells(names: Sequence[str], store: str, run: str) -> bool:
    """Say whether any of these names is a cell of a run.

    Raises:
        UsageError: there is no such run.
    """
    records, _ = _launches(store, run)
    return not {record.trial.cell for record in records}.isdisjoint(names)


def floors_of(base: Side, new: Side) -> dict[str, Floor]:
    """Return the noise floors of the most frequent environment of the base's records."""
    counts = Counter(r.environment_id for r in base.records if r.environment_id is not None)
    if not counts:
        return {}
    [(environment, _)] = counts.most_common(1)
    of_new, of_base = (side.calibrations.get(environment, {}) for side in (new, base))
    launches = min(_launches_per_trial(side.records) for side in (base, new))
    return measured_floors({**of_new, **of_base}, launches)


def _launches_per_trial(records: Sequence[Record]) -> int:
    trials = {record.trial.trial_id for record in records}
    return max(1, round(len(records) / max(1, len(trials))))


def _launches(location: str, run: str) -> tuple[Sequence[Record], Calibrations]:
    """Return the launches of a run, or (``all``) of the latest run of each trial."""
    with Store.open(location, create=False) as store:
        run_id = store.run_named(None if run == "all" else run)
        return store.launches(run_id), store.all_calibrations()


def _with_value(records: Sequence[Record], axis: str, value: str) -> list[Record]:
    chosen = [record for record in records if value in _names_of_value(record.trial, axis)]
    if not chosen:
        names = dict.fromkeys(_names_of_value(record.trial, axis)[-1] for record in records)
        unknown = str(UnknownNameError(f"{axis} in this run", value, names)).removesuffix(".")
        raise UsageError(with_fix(unknown, f"--by {axis} --run N reads another run"))
    return chosen


def _names_of_value(trial: Trial, axis: str) -> tuple[str, str]:
    """Return the names that a user may give to the trial's value of an axis, the exact one last."""
    if axis == "backend":
        return trial.backend, trial.engine
    text = str(getattr(trial, axis))
    return text.lower(), text
