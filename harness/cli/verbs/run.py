"""``harness run``: the one verb that runs things."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli import streams
from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.options.axes import axis_options, given_axes, store_option
from harness.cli.options.common import per_seed_option
from harness.cli.options.run_options import run_options
from harness.cli.options.tables import ASKED, further_table
from harness.cli.options.types import CommaList, task_settings
from harness.contract import Record, UsageError
from harness.plan.options import OPTIONS
from harness_results.text.json_text import JSON_FORMATS

if TYPE_CHECKING:
    from harness.sweep.work_plan import WorkPlan

CONFIRM_ABOVE = 1000


@click.command("run")
@click.argument("plan", required=False, type=click.Path(dir_okay=False, path_type=Path))
@axis_options
@click.option("--suite", metavar="NAME", help="A plan by its name: harness list suites.")
@click.option("--quick", is_flag=True, help="The smaller form of the suite or plan.")
@click.option(
    "--set",
    "set_",
    multiple=True,
    metavar="task.NAME.OPTION=VALUE",
    help="Set an option of a task.",
)
@store_option
@run_options
@click.option(
    "--format",
    "-f",
    "format_",
    type=click.Choice(["table", *JSON_FORMATS]),
    default="table",
    help="What to print.",
)
@per_seed_option
@click.option(
    "--tables",
    type=CommaList("TABLE,...", further_table),
    default=(),
    help=f"Further tables: {', '.join(ASKED)} or all; harness report shows them too.",
)
@click.option("--dry-run", is_flag=True, help="Print the trials and run nothing.")
@click.option("--yes", is_flag=True, help=f"Run more than {CONFIRM_ABOVE} launches without asking.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_obj
def command(
    blocked: tuple[str, ...], /, plan: Path | None, set_: tuple[str, ...], **options: Any
) -> int:
    """Train and measure recurrent networks: all combinations of comma lists, or of a PLAN.toml.

    A suite is a plan that ships with the harness or a plugin.

    What the store has of them is not measured again. Results go to stdout and to the store,
    progress to stderr. With no option: an RNN and an LSTM on English text, with NumPy. One launch
    shows how a network behaves; to compare speeds, take 5 or more.
    """
    from harness.cli.signals import stopping_on_signals
    from harness.plan.file import planned
    from harness.plan.request import PlanRequest
    from harness.plugins import load_plugins
    from harness.sweep.run import execute, resolve

    plugins, store = load_plugins(blocked), options["store"]
    request = PlanRequest(given_axes(options), task_settings(set_))
    request = planned(request, plan, options["suite"], plugins, quick=options["quick"])
    chosen = {name: options[name] for name in OPTIONS}
    if options["dry_run"]:
        run = resolve(request, chosen, store=store, plugins=plugins, say=streams.note, dry_run=True)
        return _dry_run(run.work_plan, store, options["format_"])
    outcome = execute(
        request,
        chosen,
        store=store,
        plugins=plugins,
        command=shlex.join(["harness", *sys.argv[1:]]),
        say=streams.note,
        quiet=options["quiet"],
        approve=None if options["yes"] else _confirm,
        signals=stopping_on_signals,
    )
    per_seed, tables = options["per_seed"], options["tables"]
    render(outcome.records, options["format_"], store=store, tables=tables, per_seed=per_seed)
    if outcome.interrupted:
        return INTERRUPTED
    failed = outcome.error or any(record.status != "ok" for record in outcome.records)
    return NOT_OK if failed else OK


def _confirm(work_plan: WorkPlan) -> None:
    launches = len(work_plan.left)
    if launches <= CONFIRM_ABOVE:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"the plan has {launches:,} launches, more than {CONFIRM_ABOVE:,}: "
            "add --yes to run them all"
        )
    click.confirm(f"The plan has {launches:,} launches. Run them all?", abort=True, err=True)


def _dry_run(work_plan: WorkPlan, store: str, format_: str) -> int:
    from harness.cli.output.listing import print_trials
    from harness.sweep.estimate import estimate
    from harness.sweep.work_plan import history

    done = {name: len(progress.ended) for name, progress in work_plan.progress_by_trial.items()}
    duration = estimate(work_plan.left, history(store))
    print_trials(work_plan.trials, work_plan.launches, format_, done, duration)
    for note in work_plan.notes(store):
        streams.note(note)
    return OK


def render(
    records: list[Record], format_: str, *, store: str, tables: Sequence[str], per_seed: bool
) -> None:
    """Print results on stdout: objects, or text, tables and what to type next."""
    if format_ in JSON_FORMATS:
        from harness_results.render.flat import to_json

        sys.stdout.write(to_json(records, format_, per_seed=per_seed))
    elif records:
        from harness.cli.output.run import print_run

        print_run(records, store, tables, per_seed=per_seed)
