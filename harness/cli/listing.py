"""The trials of a plan as lines: what varies among them, and how much of each is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich_click as click

from harness.contract import Trial
from harness.sweep.estimate import Estimate

ALWAYS = ("task", "cell", "length", "engine")
APART = ("backend", "variant", "task_options")


def print_trials(
    trials: Sequence[Trial], launches: int, format_: str, done: Mapping[str, int], estimate: Estimate | None = None
) -> None:
    """Print one line or object per trial, then what is done, what is left and how long it may take, and the count."""
    if format_ == "json":
        for trial in trials:
            facts = {"launches": launches, "launches_done": min(launches, done.get(trial.trial_id, 0))}
            click.echo(json.dumps({"trial_id": trial.trial_id, **trial.content(), **facts}))
        return
    names = list(varying(trials))
    for trial in trials:
        had = done.get(trial.trial_id, 0)
        state = "" if not had else "  done" if had >= launches else f"  {had} of {launches} done"
        click.echo(f"{trial.trial_id}  {line(trial, names)}{state}")
    had = sum(min(launches, count) for count in done.values())
    if had:
        click.echo(f"{had} of {launches * len(trials)} launches are done")
    if estimate is not None and estimate.known + estimate.unknown:
        click.echo(str(estimate))
    click.echo(f"{len(trials)} trials" + (f", {launches} launches each" if launches > 1 else ""))


def varying(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the settings in which these trials differ, beside those that every line has."""
    for name in Trial.model_fields:
        if name not in {*ALWAYS, *APART} and len({str(getattr(trial, name)) for trial in trials}) > 1:
            yield name
    options = [trial.task_options for trial in trials]
    for name in dict.fromkeys(name for one in options for name in one):
        if any(len({str(one.task_options.get(name)) for one in same}) > 1 for same in _by_task(trials)):
            yield f"task.{name}"


def line(trial: Trial, names: Sequence[str]) -> str:
    """Return the trial in a line, with the settings of these names."""
    told = "".join(f" {name}={_value(trial, name)}" for name in names)
    return f"{trial.task} {trial.cell} T={trial.length} {trial.engine}{told}"


def _value(trial: Trial, name: str) -> Any:
    value = trial.task_options.get(name.removeprefix("task.")) if "." in name else getattr(trial, name)
    return "none" if value is None else value


def _by_task(trials: Sequence[Trial]) -> list[list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.task, []).append(trial)
    return list(found.values())
