"""The work of ``harness profile``: two suites and some probes, then the report of their records."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli import streams
from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.output.pages import check_page, names_of
from harness.cli.output.results import stdout_console, write_text
from harness.cli.signals import stopping_on_signals
from harness.contract import Missing, Record
from harness.contract.wording import split_engine
from harness.plan.expand import expand
from harness.plan.file import planned
from harness.plan.request import PlanRequest
from harness.plugins import Plugins, load_plugins, query
from harness.sweep.run import Outcome, execute
from harness.sweep.trained.probes import add_probes
from harness_results.profile.report import WIDTH, table_of, to_json
from harness_results.profile.view import Profile
from harness_results.render.latex import latex_of
from harness_results.render.terminal import ReportTables
from harness_results.store.store import Store
from harness_results.study.tables.sections import Report
from harness_results.text.lines import plain_text

SUITE, SPEED = "profile", "speed"
QUICK_LAUNCHES = 3  # too few to tell which engine is faster
# What is asked of the networks of the suite: parity needs one bit of all symbols, adding a gradient
# over half of the sequence.
PROBES = {"parity": ("memory", "latent"), "adding": ("lyapunov",)}


@dataclass(frozen=True)
class ProfileRun:
    """What ``harness profile`` is to measure.

    Attributes:
        cells: the cell, then those next to it.
        backends: the engines to time; (): those of the suite that are installed.
        seeds: how many; None: those of the suite.
        jobs: launches at once, of what is not timed.
        store: path or URL.
        is_quick: takes the suites in their smaller form.
        is_quiet: shows no progress.
        blocked: names of plugins that are not loaded.
    """

    cells: tuple[str, ...]
    backends: tuple[str, ...] = ()
    seeds: int | None = None
    jobs: int = 1
    store: str = ""
    is_quick: bool = False
    is_quiet: bool = False
    blocked: tuple[str, ...] = ()


def profile(run: ProfileRun, format_: str, output: Path | None) -> int:
    """Measure what the store lacks, and write the report of the first cell."""
    is_page = check_page(format_, output)
    if is_page:
        from harness_results.page.build import check_libraries

        check_libraries()
    plugins = load_plugins(run.blocked)
    suite, jobs = _suite(run, plugins), {"jobs": run.jobs}
    speed, launches = (
        _speed_suite(run, plugins),
        {"launches": QUICK_LAUNCHES} if run.is_quick else {},
    )
    for request in (suite, speed):
        expand(request, plugins)  # all that is wrong is said before anything runs
    outcomes: list[Outcome] = []
    for request, options in ((suite, jobs), (speed, launches)):
        outcomes.append(_execute(run, plugins, request, options, quiet=run.is_quiet))
        if outcomes[-1].interrupted:
            return INTERRUPTED
    _add_probes(run, plugins, outcomes[0].records)
    trained = _execute(run, plugins, suite, jobs, quiet=True, with_curves=is_page)
    timed = _execute(run, plugins, speed, launches, quiet=True, with_curves=is_page)
    content = Profile(run.cells[0], run.cells[1:], trained.records, timed.records)
    _write(content, format_, output, run.store)
    records = content.records
    failed = any(each.error for each in outcomes) or any(each.status != "ok" for each in records)
    return NOT_OK if failed else OK


def _suite(run: ProfileRun, plugins: Plugins) -> PlanRequest:
    axes: dict[str, Sequence[Any]] = {"cell": run.cells}
    if run.seeds is not None:
        axes["seeds"] = (run.seeds,)
    return planned(PlanRequest(axes), None, SUITE, plugins, quick=run.is_quick)


def _speed_suite(run: ProfileRun, plugins: Plugins) -> PlanRequest:
    """Return the plan of what is timed, on the engines that are asked for or installed."""
    whole = planned(PlanRequest(), None, SPEED, plugins, quick=run.is_quick)
    engines = run.backends or _installed(whole.axes["backend"], plugins)
    request = PlanRequest({"cell": run.cells, "backend": engines})
    return planned(request, None, SPEED, plugins, quick=run.is_quick)


def _installed(engines: Sequence[str], plugins: Plugins) -> list[str]:
    """Return the engines that can run here; a note names the others."""
    here = []
    for engine in engines:
        name = split_engine(engine)[0]
        backend = plugins.backends.get(name)
        if backend is None or isinstance(query.available_or_missing(backend), Missing):
            streams.note(f"{name} is not installed, so it is not timed: harness list backends")
        else:
            here.append(engine)
    return here


def _execute(
    run: ProfileRun,
    plugins: Plugins,
    request: PlanRequest,
    options: Mapping[str, Any],
    *,
    quiet: bool,
    with_curves: bool = False,
) -> Outcome:
    return execute(
        request,
        options,
        store=run.store,
        plugins=plugins,
        command=shlex.join(["harness", *sys.argv[1:]]),
        say=(lambda _: None) if quiet else streams.note,
        quiet=quiet,
        with_curves=with_curves,
        signals=stopping_on_signals,
    )


def _add_probes(run: ProfileRun, plugins: Plugins, records: Sequence[Record]) -> None:
    """Run the probes that the networks of ``PROBES`` lack."""
    with Store.open(run.store) as store:
        for task, names in PROBES.items():
            of_task = [record for record in records if record.trial.task == task]
            add_probes(store, of_task, names, plugins, streams.note)


def _write(content: Profile, format_: str, output: Path | None, store: str) -> None:
    table = Report((table_of(content),), reading="")
    if format_ == "html":
        from harness_results.page.build import page

        title = content.title.replace("profile", "Profile", 1)
        text = page(content.records, title, stores=names_of([store]), profile=content)
    elif format_ == "json":
        text = to_json(content)
    elif format_ == "latex":
        text = latex_of(table)
    elif output is None:
        console = stdout_console()
        console.print(ReportTables(table), width=min(WIDTH, console.width))
        return
    else:
        text = plain_text(ReportTables(table), WIDTH)
    write_text(text, output)
