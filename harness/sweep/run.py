"""A run from a request to its results; the command line and ``harness.run`` both enter here."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.contract import Record, StoreError
from harness.contract.wording import are, counted
from harness.execute.executor import Executor
from harness.execute.interpreters import read_interpreters, with_interpreters
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.plan.expand import expand_with_notes
from harness.plan.options import RunOptions
from harness.plan.presets import settle
from harness.plan.request import PlanRequest
from harness.plugins import Plugins
from harness.sweep.folders import checkpoint_folder, log_folder
from harness.sweep.progress import ProgressView
from harness.sweep.session import Session
from harness.sweep.settings import executor_of, settings_of
from harness.sweep.trained.probes import add_probes, probe_names
from harness.sweep.work_plan import WorkPlan, in_order, look
from harness_results.store.store import Store
from harness_results.study.launches import combine
from harness_results.study.reported import with_floors

Say = Callable[[str], None]


@dataclass(frozen=True)
class ResolvedRun:
    """What a run will do.

    Attributes:
        store: path or URL.
        plugins: as loaded.
        work_plan: the launches that are left.
        settings: of every launch.
        executor: runs the launches.
        probes: the names of those that measure the trained networks.
    """

    store: str
    plugins: Plugins
    work_plan: WorkPlan
    settings: LocalSettings
    executor: Executor
    probes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        records: one per trial of the plan, measured now or earlier.
        interrupted: a signal ended it early.
        error: why a record could not be stored; None: all were.
    """

    records: list[Record]
    interrupted: bool = False
    error: StoreError | None = None


def resolve(
    request: PlanRequest,
    chosen: Mapping[str, Any],
    *,
    store: str | Path,
    plugins: Plugins,
    say: Say,
    dry_run: bool = False,
) -> ResolvedRun:
    """Return what a run will do; nothing is measured and nothing is written.

    Args:
        request: what is asked for.
        chosen: field of ``RunOptions`` -> value; the others take the plan's value or their default.
        store: path or URL.
        plugins: as loaded.
        say: receives each note on what is taken instead of what was asked for.
        dry_run: does not ask whether this machine has the processors.

    Raises:
        UsageError: anything in the request is unknown, unavailable or out of range.
    """
    request, options = settle(request, chosen)
    executor, probes = executor_of(options), probe_names(options.probe, plugins)
    interpreters = read_interpreters(options.pythons)
    trials, notes = expand_with_notes(request, plugins)
    trials = with_interpreters(trials, interpreters)
    for note in notes:
        say(note)
    settings = settings_of(options, trials, interpreters, dry_run=dry_run)
    work_plan = look(
        store,
        trials,
        settings,
        plugins,
        launches=options.launches,
        order_seed=options.order_seed,
        mode=_mode(options),
        chosen=request.left_to_backends(),
    )
    return ResolvedRun(str(store), plugins, work_plan, settings, executor, probes)


def _mode(options: RunOptions) -> Literal["fresh", "retry_failed", "resume"]:
    if options.fresh:
        return "fresh"
    return "retry_failed" if options.retry_failed else "resume"


def execute(
    request: PlanRequest,
    chosen: Mapping[str, Any],
    *,
    store: str | Path,
    plugins: Plugins,
    command: str,
    say: Say,
    quiet: bool = False,
    with_curves: bool = False,
    approve: Callable[[WorkPlan], None] | None = None,
    signals: Callable[[Say], AbstractContextManager[StopRequest]] | None = None,
) -> Outcome:
    """Resolve a request, measure what the store lacks, and return one record per trial.

    Args:
        request: what is asked for.
        chosen: field of ``RunOptions`` -> value.
        store: path or URL; checkpoints and logs are kept next to it.
        plugins: as loaded.
        command: what the user typed; stored with the run.
        say: receives the notes on the plan.
        quiet: shows no progress.
        with_curves: whether the records hold their curves.
        approve: called with what is left before anything is measured; may raise.
        signals: given a function that shows a message, turns signals into a request to stop.

    Raises:
        UsageError: anything in the request is unknown, unavailable or out of range.
    """
    run = resolve(request, chosen, store=store, plugins=plugins, say=say)
    if approve is not None:
        approve(run.work_plan)
    return _measure(run, command, quiet=quiet, with_curves=with_curves, signals=signals)


def _measure(
    run: ResolvedRun,
    command: str,
    *,
    quiet: bool,
    with_curves: bool,
    signals: Callable[[Say], AbstractContextManager[StopRequest]] | None,
) -> Outcome:
    work_plan, reused, left = run.work_plan, len(run.work_plan.ended), len(run.work_plan.left)
    measured, error = 0, None
    with (
        Store.open(run.store, create=bool(left or run.probes)) as store,
        ProgressView(reused + left, reused=reused, quiet=quiet, names=work_plan.names) as view,
    ):
        for note in work_plan.notes(run.store):
            view.note(f"note: {note}")
        with signals(view.note) if signals else contextlib.nullcontext(None) as stop:
            session = Session(
                store,
                command,
                run.plugins,
                checkpoint_folder(run.store),
                stop,
                executor=run.executor,
                logs=log_folder(run.store),
            )
            try:
                for _ in session.carry_out(work_plan, run.settings, view):
                    measured += 1
            except StoreError as problem:
                view.error(str(problem))
                error = problem
            if run.probes and error is None:
                trained = combine(session.results(work_plan))
                add_probes(
                    store,
                    trained,
                    run.probes,
                    run.plugins,
                    view.note,
                    is_stopped=lambda: stop is not None and bool(stop.count),
                )
        interrupted = stop is not None and bool(stop.count)
        if interrupted:
            for line in _interrupted(run, measured, left - measured):
                view.note(line)
        elif session.elsewhere:
            launches = f"{counted(session.elsewhere, 'launch')} {are(session.elsewhere)}"
            view.note(f"note: {launches} left to another process: harness status {run.store}")
        launches_of_plan = session.results(work_plan, with_curves=with_curves)
        records = with_floors(in_order(work_plan.trials, combine(launches_of_plan)), store)
    return Outcome(records, interrupted, error)


def _interrupted(run: ResolvedRun, measured: int, left: int) -> tuple[str, str]:
    work_plan = run.work_plan
    what = counted(left, "launch" if work_plan.launches > 1 else "trial")
    stored = f"{counted(measured, 'record')} {are(measured)} stored"
    again = "the same command"
    if work_plan.mode != "resume":
        again += f" without --{work_plan.mode.replace('_', '-')}"
    return (
        f"interrupted: {stored}, {what} {'was' if left == 1 else 'were'} not started.",
        f"see them: harness report {shlex.quote(run.store)}    go on: {again}",
    )
