"""The trials of a plan as lines, with their progress."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import rich_click as click

from harness.contract import Trial
from harness.contract.wording import are, counted
from harness.plan.naming import line, varying
from harness.sweep.estimate import Estimate
from harness_results.text.json_text import JSON_FORMATS, json_text


def print_trials(
    trials: Sequence[Trial],
    launches: int,
    format_: str,
    done: Mapping[str, int],
    estimate: Estimate | None = None,
) -> None:
    """Print the trials, then the progress, the estimated time and the count; JSON: the trials."""
    if format_ in JSON_FORMATS:
        rows = [_row(trial, launches, done) for trial in trials]
        sys.stdout.write(json_text(rows, format_))
        return
    names = list(varying(trials))
    for trial in trials:
        state = ""
        if ended := done.get(trial.trial_id, 0):
            state = "  done" if ended >= launches else f"  {ended} of {launches} done"
        click.echo(f"{trial.trial_id}  {line(trial, names)}{state}")
    ended = sum(min(launches, count) for count in done.values())
    if ended:
        click.echo(f"{ended} of {counted(launches * len(trials), 'launch')} {are(ended)} done")
    if estimate is not None and estimate.timed + estimate.unknown:
        click.echo(str(estimate))
    click.echo(size_of(trials, launches))


def _row(trial: Trial, launches: int, done: Mapping[str, int]) -> dict[str, Any]:
    launches_done = min(launches, done.get(trial.trial_id, 0))
    facts = {"launches": launches, "launches_done": launches_done}
    return {"trial_id": trial.trial_id, **trial.content(), **facts}


def size_of(trials: Sequence[Trial], launches: int) -> str:
    """Return the number of trials and, if there are several, of launches each."""
    each = f", {launches} launches each" if launches > 1 else ""
    return f"{counted(len(trials), 'trial')}{each}"
