"""``harness plan``: show or check a plan's file, or print its JSON schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli import streams
from harness.cli.main import OK
from harness.cli.options.common import format_option
from harness_results.text.json_text import JSON_FORMATS

if TYPE_CHECKING:
    from harness.contract import Trial
    from harness.plan.request import PlanRequest

PLAN = click.argument("plan", type=click.Path(dir_okay=False, path_type=Path))


@click.group("plan")
def command() -> None:
    """Show or check a plan's file (docs/plans.md), or print its JSON schema. Nothing runs."""


@command.command("show")
@PLAN
@format_option("table", *JSON_FORMATS)
@click.pass_obj
def show(blocked: tuple[str, ...], plan: Path, format_: str) -> int:
    """Print the trials of a PLAN.toml: the settings in which they differ, one trial per line."""
    from harness.cli.output.listing import print_trials

    request, trials = _read(plan, blocked)
    print_trials(trials, request.options.get("launches", 1), format_, {})
    return OK


@command.command("validate")
@PLAN
@click.pass_obj
def validate(blocked: tuple[str, ...], plan: Path) -> int:
    """Check a PLAN.toml: print every error with its place, or the number of trials."""
    from harness.cli.output.listing import size_of
    from harness.contract.wording import printable

    request, trials = _read(plan, blocked)
    size = size_of(trials, request.options.get("launches", 1))
    click.echo(printable(f"{plan}: {size}"))
    return OK


@command.command("schema")
def schema() -> int:
    """Print the JSON schema of plans, with which an editor completes and checks them."""
    from harness.plan.schema import plan_schema

    click.echo(json.dumps(plan_schema(), indent=2))
    return OK


def _read(plan: Path, blocked: tuple[str, ...]) -> tuple[PlanRequest, list[Trial]]:
    from harness.plan.expand import expand_with_notes
    from harness.plan.file import read_plan
    from harness.plugins import load_plugins

    request = read_plan(plan)
    trials, notes = expand_with_notes(request, load_plugins(blocked))
    for note in notes:
        streams.note(note)
    return request, trials
