"""What a trial is called in a line among the others of its plan, what varies there, and numbers of things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.contract import Trial

ALWAYS = ("task", "cell", "length", "engine")
APART = ("backend", "variant", "task_options")


def varying(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the settings in which these trials differ, beside those that every line has."""
    for name in Trial.model_fields:
        if (
            name not in {*ALWAYS, *APART}
            and len({str(getattr(trial, name)) for trial in trials}) > 1
        ):
            yield name
    options = [trial.task_options for trial in trials]
    for name in dict.fromkeys(name for one in options for name in one):
        if any(
            len({str(one.task_options.get(name)) for one in same}) > 1 for same in _by_task(trials)
        ):
            yield f"task.{name}"


def line(trial: Trial, names: Sequence[str]) -> str:
    """Return the trial in a line, with the settings of these names."""
    told = "".join(f" {name}={_value(trial, name)}" for name in names)
    return f"{trial.task} {trial.cell} T={trial.length} {trial.engine}{told}"


def _value(trial: Trial, name: str) -> Any:
    value = (
        trial.task_options.get(name.removeprefix("task.")) if "." in name else getattr(trial, name)
    )
    return "none" if value is None else value


def _by_task(trials: Sequence[Trial]) -> list[list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.task, []).append(trial)
    return list(found.values())
