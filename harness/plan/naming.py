"""The name of a trial in a line of text, with the settings in which the trials of a plan differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.contract import Trial
from harness.contract.trial import GATE_OPTIONS, are_evaluated_as_usual

ALWAYS = ("task", "cell", "length", "engine")
APART = ("backend", "variant", "task_options")


def varying(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the settings in which these trials differ, except those that every line has."""
    for name in Trial.model_fields:
        if name not in {*ALWAYS, *APART} and _varies(name, trials):
            yield name
    by_task: dict[str, list[Trial]] = {}
    for trial in trials:
        by_task.setdefault(trial.task, []).append(trial)
    for option in dict.fromkeys(name for trial in trials for name in trial.task_options):
        for same in by_task.values():
            if _differ(trial.task_options.get(option) for trial in same):
                yield f"task.{option}"
                break


def telling_apart(trials: Iterable[Trial]) -> tuple[str, ...]:
    """Return the settings in which trials of one task, cell, length and engine differ."""
    alike: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in trials:
        alike.setdefault(tuple(getattr(trial, name) for name in ALWAYS), []).append(trial)
    return tuple(dict.fromkeys(name for group in alike.values() for name in varying(group)))


def line(trial: Trial, names: Sequence[str]) -> str:
    """Return the trial in a line, with those settings of these names that its task has."""
    own = [name for name in names if _option(name) in {name, *trial.task_options}]
    settings = "".join(f" {name}={_value(trial, name)}" for name in own)
    return f"{trial.task} {trial.cell} T={trial.length} {trial.engine}{settings}"


def _varies(name: str, trials: Sequence[Trial]) -> bool:
    """Return whether a setting differs.

    An option of the memory gate may differ between cells with a gate and without. Steps between
    evaluations may follow from the steps.
    """
    if name == "evaluate_every" and are_evaluated_as_usual(trials):
        return False
    values = {(trial.cell, getattr(trial, name)) for trial in trials}
    if name in GATE_OPTIONS:
        without = {cell for cell, _ in values} - {
            cell for cell, value in values if value is not None
        }
        values = {(cell, value) for cell, value in values if cell not in without}
    return _differ(value for _, value in values)


def _differ(values: Iterable[Any]) -> bool:
    return len({str(value) for value in values}) > 1


def _option(name: str) -> str:
    return name.removeprefix("task.")


def _value(trial: Trial, name: str) -> Any:
    option = _option(name)
    value = trial.task_options[option] if option != name else getattr(trial, name)
    return "none" if value is None else value
