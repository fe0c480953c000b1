"""``harness run``: the one verb that runs things."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.options import axis_options, given_axes, store_option
from harness.cli.types import Duration, task_settings
from harness.contract import Record, StoreError, Trial, UsageError

if TYPE_CHECKING:
    from harness.plugins import Plugins

CONFIRM_ABOVE = 1000


@click.command("run")
@click.argument("plan", required=False, type=click.Path(dir_okay=False, path_type=Path))
@axis_options
@click.option("--set", "set_", multiple=True, metavar="task.NAME.OPTION=VALUE", help="Set an option of a task.")
@store_option
@click.option("--timeout", type=Duration(), help="The longest that one trial may take.  [default: no limit]")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", help="What to print.")
@click.option("--sample", "sample_length", type=click.IntRange(0, 100_000), default=300, show_default=True,
              help="Characters of text to sample from each text model.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the trials and run nothing.")
@click.option("--yes", is_flag=True, help=f"Run more than {CONFIRM_ABOVE} trials without asking.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_obj
def command(blocked: tuple[str, ...], /, plan: Path | None, set_: tuple[str, ...], **options: Any) -> int:
    """Train and measure recurrent networks: every combination of the comma lists given, or of a PLAN.toml.

    Results go to stdout and to the store, progress to stderr. With no option: an LSTM on real text, with NumPy.
    """
    from harness.plugins import load_plugins
    from harness.sweep.plan import PlanRequest, count, expand, merge, read_plan

    request = PlanRequest(given_axes(options), task_settings(set_))
    request = merge(read_plan(plan), request) if plan else request
    _confirm(count(request), yes=options["yes"] or options["dry_run"])
    plugins = load_plugins(blocked)
    trials = expand(request, plugins)
    if options["dry_run"]:
        return _print_plan(trials, options["format_"])
    return _measure(trials, plugins, options)


def _confirm(trials: int, *, yes: bool) -> None:
    if trials <= CONFIRM_ABOVE or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"the plan has {trials:,} trials, more than {CONFIRM_ABOVE:,}: add --yes to run them all")
    click.confirm(f"The plan has {trials:,} trials. Run them all?", abort=True, err=True)


def _print_plan(trials: list[Trial], format_: str) -> int:
    import json

    for trial in trials:
        if format_ == "json":
            click.echo(json.dumps({"trial_id": trial.trial_id, **trial.content()}))
        else:
            click.echo(f"{trial.trial_id}  {trial.task} {trial.cell} T={trial.length} {trial.engine} seed={trial.seed}")
    if format_ != "json":
        click.echo(f"{len(trials)} trials")
    return OK


def _measure(trials: list[Trial], plugins: Plugins, options: dict[str, Any]) -> int:
    from harness.api import Session, checkpoint_folder
    from harness.cli.progress import ProgressView
    from harness.cli.signals import stopping_on_signals
    from harness.sweep.local import LocalSettings
    from harness_results.store import Store

    store, records, failed = options["store"], list[Record](), False
    settings = LocalSettings(timeout_seconds=options["timeout"], sample_length=options["sample_length"])
    with Store.open(store) as opened, ProgressView(len(trials), quiet=options["quiet"]) as view:
        with stopping_on_signals(view.note) as stop:
            session = Session(opened, shlex.join(["harness", *sys.argv[1:]]), plugins, checkpoint_folder(store), stop)
            try:
                records.extend(session.measure(trials, settings, view))
            except StoreError as error:
                view.note(f"error: {error}")
                failed = True
        if stop.count:
            left = len(trials) - len(records)
            view.note(f"interrupted: {len(records)} records are stored, {left} trials were not started.")
            view.note(f"see them: harness report {shlex.quote(store)}    run again: the same command")
    render(records, options["format_"])
    if stop.count:
        return INTERRUPTED
    return NOT_OK if failed or any(record.status != "ok" for record in records) else OK


def render(records: list[Record], format_: str) -> None:
    """Print results on stdout: one flat object per trial and line, or the table and a sample of text."""
    if format_ == "json":
        from harness_results.export import to_json_lines

        sys.stdout.write(to_json_lines(records))
    elif records:
        from harness.cli.output import print_results

        print_results(records)
