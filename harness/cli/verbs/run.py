"""``harness run``: the one verb that runs things."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli import streams
from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.options.axes import axis_options, given_axes, store_option
from harness.cli.options.executor import cluster_of, executor_of, executor_options
from harness.cli.options.types import Duration, Size, task_settings
from harness.contract import Record, StoreError, UsageError
from harness.contract.wording import are, counted
from harness.plan.request import MOST_LAUNCHES, MOST_RETRIES

if TYPE_CHECKING:
    from harness.execute.settings import LocalSettings
    from harness.plugins import Plugins
    from harness.progress import ProgressView
    from harness.sweep.work_plan import WorkPlan
    from harness_results.store.ledger import Mode

CONFIRM_ABOVE = 1000


@click.command("run")
@click.argument("plan", required=False, type=click.Path(dir_okay=False, path_type=Path))
@axis_options
@click.option(
    "--set",
    "set_",
    multiple=True,
    metavar="task.NAME.OPTION=VALUE",
    help="Set an option of a task.",
)
@store_option
@click.option(
    "--launches",
    type=click.IntRange(1, MOST_LAUNCHES),
    help="Fresh processes per trial, interleaved.  [default: 1]",
)
@click.option(
    "--fast", is_flag=True, help="One launch, evaluated at the start and the end only, no sample."
)
@click.option("--rigorous", is_flag=True, help="Ten launches: intervals that settle an argument.")
@click.option("--order-seed", type=click.IntRange(0), help="Shuffles the launches.  [default: 0]")
@click.option(
    "--affinity", metavar="0,2|0-3", help="The processors on which to run.  [default: any]"
)
@click.option("--jobs", "-j", type=click.IntRange(1, 4096), default=1, show_default=True,
              help="Launches at once, each on processors of its own; their speeds are marked.")  # fmt: skip
@click.option("--isolation", type=click.Choice(["launch", "backend"]), default="launch", show_default=True,
              help="What has a process of its own; backend: quicker, to explore.")  # fmt: skip
@click.option(
    "--gpus",
    metavar="0,1",
    help="Cards to use, by their driver's numbers, one launch on each at a time.",
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=PATH",
    help="Another interpreter with a harness of its own; repeat to compare several, interleaved.",
)
@executor_options
@click.option(
    "--timeout", type=Duration(), help="The longest that one launch may take.  [default: no limit]"
)
@click.option(
    "--memory-limit", type=Size(), help="What one launch may hold.  [default: all but a reserve]"
)
@click.option("--retries", type=click.IntRange(0, MOST_RETRIES),
              help="Tries more where a launch fails, crashes, or lacks time or memory.  [default: 0]")  # fmt: skip
@click.option(
    "--retry-failed", is_flag=True, help="Measure again what the store has that did not end ok."
)
@click.option("--fresh", is_flag=True, help="Measure all again, whatever the store has.")
@click.option(
    "--format",
    "-f",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    help="What to print.",
)
@click.option("--sample", "sample_length", type=click.IntRange(0, 100_000),
              help="Characters of text to sample from each text model.  [default: 300]")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the trials and run nothing.")
@click.option("--yes", is_flag=True, help=f"Run more than {CONFIRM_ABOVE} launches without asking.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_obj
def command(
    blocked: tuple[str, ...], /, plan: Path | None, set_: tuple[str, ...], **options: Any
) -> int:
    """Train and measure recurrent networks: every combination of the comma lists given, or of a PLAN.toml.

    What the store has of them is not measured again. Results go to stdout and to the store,
    progress to stderr. With no option: an LSTM on real text, with NumPy. One launch shows how a
    network behaves; to compare speeds, take 5 or more.
    """
    from harness.api import look
    from harness.cli.options.settings import settings_of
    from harness.execute.interpreters import read_interpreters, with_interpreters
    from harness.plan.expand import expand_with_notes
    from harness.plan.file import read_plan
    from harness.plan.presets import preset
    from harness.plan.request import PlanRequest, merge
    from harness.plugins import load_plugins

    mode = _mode(fresh=options["fresh"], retry_failed=options["retry_failed"])
    request = PlanRequest(given_axes(options), task_settings(set_))
    request = merge(read_plan(plan), request) if plan else request
    request, options = preset(request, options)
    cluster, options["executor"] = cluster_of(options), executor_of(options)
    interpreters = read_interpreters(options["pythons"])
    plugins = load_plugins(blocked)
    expanded, notes = expand_with_notes(request, plugins)
    trials = with_interpreters(expanded, interpreters)
    for note in notes:
        streams.note(note)
    settings = settings_of(options, trials, interpreters, cluster)
    counts = {"launches": options["launches"], "order_seed": options["order_seed"]}
    chosen = request.left_to_backends()
    work_plan = look(
        options["store"], trials, settings, plugins, mode=mode, chosen=chosen, **counts
    )
    if options["dry_run"]:
        return _dry_run(work_plan, options)
    _confirm(len(work_plan.left), yes=options["yes"])
    return _measure(work_plan, plugins, settings, options)


def _mode(*, fresh: bool, retry_failed: bool) -> Mode:
    if fresh and retry_failed:
        raise UsageError(
            "--fresh measures all again, what failed included: leave --retry-failed out"
        )
    return "fresh" if fresh else "retry_failed" if retry_failed else "resume"


def _confirm(launches: int, *, yes: bool) -> None:
    if launches <= CONFIRM_ABOVE or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"the plan has {launches:,} launches, more than {CONFIRM_ABOVE:,}: add --yes to run them all"
        )
    click.confirm(f"The plan has {launches:,} launches. Run them all?", abort=True, err=True)


def _dry_run(work_plan: WorkPlan, options: dict[str, Any]) -> int:
    from harness.api import history
    from harness.cli.output.listing import print_trials
    from harness.sweep.estimate import estimate

    found = estimate(work_plan.left, history(options["store"]))
    done = {
        name: len(trial_progress.ended)
        for name, trial_progress in work_plan.progress_by_trial.items()
    }
    print_trials(work_plan.trials, work_plan.launches, options["format_"], done, found)
    for note in work_plan.notes(options["store"]):
        streams.note(note)
    return OK


def _measure(
    work_plan: WorkPlan, plugins: Plugins, settings: LocalSettings, options: dict[str, Any]
) -> int:
    from harness.api import Session, checkpoint_folder, log_folder
    from harness.cli.signals import stopping_on_signals
    from harness.progress import ProgressView
    from harness_results.store.store import Store
    from harness_results.study.launches import combine
    from harness_results.study.verdicts.floors import with_floors

    store, failed, taken = options["store"], False, len(work_plan.ended)
    with (
        Store.open(store, create=bool(work_plan.left)) as opened,
        ProgressView(
            taken + len(work_plan.left),
            taken=taken,
            quiet=options["quiet"],
            names=work_plan.varying,
        ) as view,
    ):
        for note in work_plan.notes(store):
            view.note(f"note: {note}")
        with stopping_on_signals(view.note) as stop:
            command = shlex.join(["harness", *sys.argv[1:]])
            folder, logs = checkpoint_folder(store), log_folder(store)
            session = Session(
                opened, command, plugins, folder, stop, executor=options["executor"], logs=logs
            )
            measured = 0
            try:
                for _ in session.carry_out(work_plan, settings, view):
                    measured += 1
            except StoreError as error:
                view.error(str(error))
                failed = True
        if stop.count:
            _tell_interrupted(view, store, measured, len(work_plan.left) - measured, work_plan)
        elif session.elsewhere:
            others = f"{counted(session.elsewhere, 'launch')} {are(session.elsewhere)}"
            view.note(f"note: {others} left to another process: harness status {store}")
        records = with_floors(combine(session.results(work_plan)), opened.all_calibrations())
    render(records, options["format_"])
    if stop.count:
        return INTERRUPTED
    return NOT_OK if failed or any(record.status != "ok" for record in records) else OK


def _tell_interrupted(
    view: ProgressView, store: str, measured: int, left: int, work_plan: WorkPlan
) -> None:
    what = counted(left, "launch" if work_plan.launches > 1 else "trial")
    stored = f"{counted(measured, 'record')} {are(measured)} stored"
    view.note(f"interrupted: {stored}, {what} {'was' if left == 1 else 'were'} not started.")
    less = "" if work_plan.mode == "resume" else f" without --{work_plan.mode.replace('_', '-')}"
    view.note(f"see them: harness report {shlex.quote(store)}    go on: the same command{less}")


def render(records: list[Record], format_: str) -> None:
    """Print results on stdout: one flat object per trial and line, or the table and a sample of text."""
    if format_ == "json":
        from harness_results.render.flat import to_json_lines

        sys.stdout.write(to_json_lines(records))
    elif records:
        from harness.cli.output.results import print_results, stdout_console

        print_results(records, stdout_console())
