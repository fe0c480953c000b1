"""``harness run``: the one verb that runs things."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.executor_options import executor_of, executor_options
from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.options import axis_options, given_axes, store_option
from harness.cli.types import Duration, Size, task_settings
from harness.contract import Record, StoreError, Trial, UsageError
from harness.sweep.request import MOST_LAUNCHES

if TYPE_CHECKING:
    from harness.plugins import Plugins
    from harness.sweep.local_settings import LocalSettings

CONFIRM_ABOVE = 1000


@click.command("run")
@click.argument("plan", required=False, type=click.Path(dir_okay=False, path_type=Path))
@axis_options
@click.option("--set", "set_", multiple=True, metavar="task.NAME.OPTION=VALUE", help="Set an option of a task.")
@store_option
@click.option(
    "--launches", type=click.IntRange(1, MOST_LAUNCHES), help="Fresh processes per trial, interleaved.  [default: 1]"
)
@click.option("--fast", is_flag=True, help="One launch, evaluated at the start and the end only, no sample.")
@click.option("--rigorous", is_flag=True, help="Ten launches: intervals that settle an argument.")
@click.option("--order-seed", type=click.IntRange(0), help="Shuffles the launches.  [default: 0]")
@click.option("--affinity", metavar="0,2|0-3", help="The processors on which to run.  [default: any]")
@click.option("--jobs", "-j", type=click.IntRange(1, 4096), default=1, show_default=True,
              help="Launches at once, each on processors of its own; their speeds are marked.")  # fmt: skip
@click.option("--isolation", type=click.Choice(["launch", "backend"]), default="launch", show_default=True,
              help="What has a process of its own; backend: quicker, to explore.")  # fmt: skip
@click.option("--gpus", metavar="0,1", help="Cards to use, by their driver's numbers, one launch on each at a time.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=PATH",
    help="Another interpreter with a harness of its own; repeat to compare several, interleaved.",
)
@executor_options
@click.option("--timeout", type=Duration(), help="The longest that one launch may take.  [default: no limit]")
@click.option("--memory-limit", type=Size(), help="What one launch may hold.  [default: all but a reserve]")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", help="What to print.")
@click.option("--sample", "sample_length", type=click.IntRange(0, 100_000),
              help="Characters of text to sample from each text model.  [default: 300]")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the trials and run nothing.")
@click.option("--yes", is_flag=True, help=f"Run more than {CONFIRM_ABOVE} launches without asking.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_obj
def command(blocked: tuple[str, ...], /, plan: Path | None, set_: tuple[str, ...], **options: Any) -> int:
    """Train and measure recurrent networks: every combination of the comma lists given, or of a PLAN.toml.

    Results go to stdout and to the store, progress to stderr. With no option: an LSTM on real text, with NumPy.
    One launch shows how a network behaves; to compare speeds, take --launches 5 or more.
    """
    from harness.plugins import load_plugins
    from harness.sweep.affinity import read_affinity
    from harness.sweep.fallback import fallback_notes
    from harness.sweep.interpreters import read_interpreters, with_interpreters
    from harness.sweep.local_settings import LocalSettings
    from harness.sweep.places import read_places, usable
    from harness.sweep.plan import expand
    from harness.sweep.plan_file import read_plan
    from harness.sweep.presets import preset
    from harness.sweep.request import PlanRequest, merge

    request = PlanRequest(given_axes(options), task_settings(set_))
    request = merge(read_plan(plan), request) if plan else request
    request, options = preset(request, options)
    options["executor"] = executor_of(options)
    interpreters = read_interpreters(options["pythons"])
    plugins = load_plugins(blocked)
    trials = with_interpreters(expand(request, plugins), interpreters)
    for note in fallback_notes(request, trials, plugins.backends):
        click.echo(f"note: {note}", err=True)
    for interpreter in interpreters.values():
        for option in ("--affinity",) * bool(options["affinity"]) + ("--jobs",) * (options["jobs"] > 1):
            interpreter.need("affinity", option)
        if options["isolation"] != "launch":
            interpreter.need("isolation", "--isolation")
    if options["isolation"] != "launch" and options["launches"] > 1:
        raise UsageError("--launches counts fresh processes, --isolation backend reuses them: leave one of them out")
    if options["dry_run"]:
        return _print_plan(trials, options["launches"], options["format_"])
    _confirm(len(trials) * options["launches"], yes=options["yes"])
    threads = [trial.processors for trial in trials]
    affinity = read_affinity(options["affinity"], threads) if options["affinity"] else ()
    processors = usable(affinity) if options["jobs"] > 1 else affinity
    settings = LocalSettings(
        timeout_seconds=options["timeout"],
        memory_limit_bytes=options["memory_limit"],
        sample_length=options["sample_length"],
        affinity=affinity,
        isolation=options["isolation"],
        places=read_places(options["jobs"], options["gpus"], trials, processors),
        pythons=interpreters,
    )
    return _measure(trials, plugins, settings, options)


def _confirm(launches: int, *, yes: bool) -> None:
    if launches <= CONFIRM_ABOVE or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"the plan has {launches:,} launches, more than {CONFIRM_ABOVE:,}: add --yes to run them all")
    click.confirm(f"The plan has {launches:,} launches. Run them all?", abort=True, err=True)


def _print_plan(trials: list[Trial], launches: int, format_: str) -> int:
    import json

    for trial in trials:
        if format_ == "json":
            click.echo(json.dumps({"trial_id": trial.trial_id, **trial.content()}))
        else:
            python = f" python={trial.python}" if trial.python else ""
            network = f"{trial.task} {trial.cell} T={trial.length} {trial.engine} seed={trial.seed}"
            click.echo(f"{trial.trial_id}  {network}{python}")
    if format_ != "json":
        click.echo(f"{len(trials)} trials" + (f", {launches} launches each" if launches > 1 else ""))
    return OK


def _measure(trials: list[Trial], plugins: Plugins, settings: LocalSettings, options: dict[str, Any]) -> int:
    from harness.api import Session, checkpoint_folder, log_folder
    from harness.cli.signals import stopping_on_signals
    from harness.progress import ProgressView
    from harness_results.launches import combine
    from harness_results.store import Store

    store, records, failed = options["store"], list[Record](), False
    total = len(trials) * options["launches"]
    with Store.open(store) as opened, ProgressView(total, quiet=options["quiet"]) as view:
        with stopping_on_signals(view.note) as stop:
            command = shlex.join(["harness", *sys.argv[1:]])
            folder, launches, seed = checkpoint_folder(store), options["launches"], options["order_seed"]
            executor, logs = options["executor"], log_folder(store)
            session = Session(opened, command, plugins, folder, stop, launches, seed, executor, logs)
            try:
                records.extend(session.measure(trials, settings, view))
            except StoreError as error:
                view.note(f"error: {error}")
                failed = True
        if stop.count:
            left = total - len(records)
            what = "launches" if options["launches"] > 1 else "trials"
            view.note(f"interrupted: {len(records)} records are stored, {left} {what} were not started.")
            view.note(f"see them: harness report {shlex.quote(store)}    run again: the same command")
    render(combine(records), options["format_"])
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
