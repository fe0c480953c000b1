"""The trials of a plan as lines, and how much of each is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import rich_click as click

from harness.contract import Trial
from harness.contract.wording import are, counted
from harness.plan.naming import line, varying
from harness.sweep.estimate import Estimate


def print_trials(
    trials: Sequence[Trial],
    launches: int,
    format_: str,
    done: Mapping[str, int],
    estimate: Estimate | None = None,
) -> None:
    """Print one line or object per trial, then what is done, what is left and how long it may take, and the count."""
    if format_ == "json":
        for trial in trials:
            facts = {
                "launches": launches,
                "launches_done": min(launches, done.get(trial.trial_id, 0)),
            }
            click.echo(json.dumps({"trial_id": trial.trial_id, **trial.content(), **facts}))
        return
    names = list(varying(trials))
    for trial in trials:
        had = done.get(trial.trial_id, 0)
        state = "" if not had else "  done" if had >= launches else f"  {had} of {launches} done"
        click.echo(f"{trial.trial_id}  {line(trial, names)}{state}")
    had = sum(min(launches, count) for count in done.values())
    if had:
        click.echo(f"{had} of {counted(launches * len(trials), 'launch')} {are(had)} done")
    if estimate is not None and estimate.known + estimate.unknown:
        click.echo(str(estimate))
    click.echo(
        counted(len(trials), "trial") + (f", {launches} launches each" if launches > 1 else "")
    )
