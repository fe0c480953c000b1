"""The work of ``harness check``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from rich.console import Console
from rich.markup import escape
from threadpoolctl import threadpool_limits

from harness.cli.main import NOT_OK, OK
from harness.cli.output.results import stdout_console
from harness.cli.streams import note
from harness.cli.work.check_outcome import Checked, failures, not_run
from harness.cli.work.check_selection import (
    Selection,
    missing_here,
    print_skipped,
    selected_backends,
    why_nothing,
)
from harness.contract import Backend, BrokenAnswerError, Cell, UsageError
from harness.contract.wording import counted, printable
from harness.execute.process import thread_variables
from harness.measure import REFERENCE_BACKEND
from harness.plan.problems import listed
from harness.plugins import Plugins, load_plugins, query
from harness.testing import (
    Check,
    CheckResult,
    checks_for_backend,
    checks_for_cell,
    checks_for_task,
    run_check,
)
from harness.testing.backend.devices import DEVICES
from harness.testing.bench import FEW_SHAPES
from harness.testing.cells import step_can_be_traced

ABOUT_FEW = (
    "compiled, so only the checks of the cell ran, at two shapes. All: `--grid cover`. "
    "Those of the engine alone: `harness check -b NAME`"
)
PROGRESS_SECONDS = 60.0  # between two lines of progress off a terminal


def check_backends(blocked: tuple[str, ...], options: Mapping[str, Any]) -> int:
    """Check the backends that the options name, and return the exit status."""
    plugins, console = load_plugins(blocked), stdout_console()
    reference, broken = plugins.backend(REFERENCE_BACKEND), _bound_threads(plugins)
    named_cells = [plugins.cell(name) for name in _joined(options["cells"])]
    cells = named_cells or list(plugins.cells.values())
    variants = _joined(options["variants"])
    selections = selected_backends(plugins, _joined(options["names"]), variants, console)
    of_cells, untraced = _check_cells(cells, console, verbose=options["verbose"])
    cells = [cell for cell in cells if cell.name not in untraced]
    grid = options["grid"] or ("few" if named_cells else "cover")
    checked: list[Checked] = []
    for selection in selections:
        backend = selection.backend
        try:
            if backend.name in broken:
                raise broken[backend.name]
            checks = _checks(selection, reference, cells, plugins, grid, console)
            results, lost = _check(selection, checks, console, verbose=options["verbose"])
            checked.append(Checked(selection, results, missing_here(backend), lost))
        except BrokenAnswerError as error:  # it fails; the other backends are checked
            label = plugins.label("backend", backend.name)
            reason = f"{label}: {query.without_name(backend, error)}"
            console.print(f"[red]FAIL[/] {escape(printable(reason))}", soft_wrap=True)
    if names := _compared_at_few_shapes(checked):
        console.print(f"{', '.join(names)}: {ABOUT_FEW}", soft_wrap=True)
    is_complete = len(checked) == len(selections)
    of_engines = any(failures(each.results) for each in checked)
    failed = not is_complete or of_engines or bool(failures(of_cells))
    named_cells = [cell for cell in named_cells if cell in cells]
    problems = not_run(checked, variants, named_cells, whole=is_complete)
    if problems and not failed:
        raise UsageError(listed(problems))
    for problem in problems:
        note(problem)
    return NOT_OK if failed else OK


def check_tasks(blocked: tuple[str, ...], options: Mapping[str, Any]) -> int:
    """Check the tasks that the options name, and return the exit status.

    Raises:
        UsageError: there is no such task, or an option is about backends.
    """
    if any(options[name] for name in ("names", "cells", "variants", "grid")):
        raise UsageError("--task checks tasks and no backend: leave the other options out")
    plugins, console = load_plugins(blocked), stdout_console()
    failed = 0
    for task in [plugins.task(name) for name in _joined(options["tasks"])]:
        results = []
        for check in checks_for_task(task):
            with redirect_stdout(sys.stderr):  # plugins may print
                results.append(run_check(check))
            if options["verbose"] or not results[-1].passed:
                console.print(_line(task.name, results[-1]), soft_wrap=True)
        console.print(_sum(task.name, results), soft_wrap=True)
        failed += failures(results)
    return NOT_OK if failed else OK


def _compared_at_few_shapes(checked: Sequence[Checked]) -> list[str]:
    """Return the engines that compile, of which few shapes were compared."""
    engines = {
        f"{each.selection.backend.name}:{result.variant}": None
        for each in checked
        for result in each.results
        if result.skipped and result.message == FEW_SHAPES
    }
    return list(engines)


def _joined(parts: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _bound_threads(plugins: Plugins) -> dict[str, BrokenAnswerError]:
    """Give every engine one thread: two pools on a busy machine would wait for each other.

    Returns the backends that failed to name their variables, each with its error.
    """
    broken = {}
    for name, backend in plugins.backends.items():
        try:
            os.environ.update(thread_variables(backend, 1, DEVICES))
        except BrokenAnswerError as error:
            broken[name] = error
    threadpool_limits(1)  # NumPy's BLAS, which is already loaded
    return broken


def _check_cells(
    cells: Sequence[Cell], console: Console, *, verbose: bool
) -> tuple[list[CheckResult], set[str]]:
    """Check each cell by itself; return the results, and the names of those with no trace.

    A cell that cannot be traced runs on no engine.
    """
    results, untraced = list[CheckResult](), set[str]()
    for check in (check for cell in cells for check in checks_for_cell(cell)):
        if check.cell in untraced:
            continue
        with redirect_stdout(sys.stderr):  # plugins may print
            result = run_check(check)
        results.append(result)
        if verbose or not result.passed:
            console.print(_line("", result), soft_wrap=True)
        if check.name == step_can_be_traced.__name__ and not result.passed:
            untraced.add(check.cell)
    console.print(_sum("cells", results), soft_wrap=True)
    return results, untraced


def _checks(
    selection: Selection,
    reference: Backend,
    cells: Sequence[Cell],
    plugins: Plugins,
    grid: Any,
    console: Console,
) -> list[Check]:
    """Return the checks of a backend, and print what cannot be checked here."""
    for name, error in missing_here(selection.backend).items():
        if selection.takes(name) and name not in selection.named:
            print_skipped(console, str(error))
    if reason := why_nothing(selection, cells, plugins):
        print_skipped(console, f"{selection.backend.name}: {reason}")
        return []
    variants = sorted(selection.only) or None
    return list(
        checks_for_backend(selection.backend, reference, cells, variants=variants, grid=grid)
    )


def _check(
    selection: Selection, checks: Sequence[Check], console: Console, *, verbose: bool
) -> tuple[list[CheckResult], set[tuple[str, str]]]:
    """Run the checks; print those that fail, and the sum.

    Returns the results, and each (variant, cell) that turned out to be missing, for example because
    the variant cannot be built. Such a variant has no results.
    """
    name, reported_at = selection.backend.name, time.monotonic()
    results: list[CheckResult] = []
    lost: set[str] = set()
    try:
        for number, check in enumerate(checks, 1):
            if check.variant in lost:
                continue
            progress = f"{name} [{number}/{len(checks)}] {check.label}"
            if not console.is_terminal and time.monotonic() - reported_at > PROGRESS_SECONDS:
                reported_at = time.monotonic()
                note(progress)
            with console.status(escape(progress)), redirect_stdout(sys.stderr):  # plugins may print
                result = run_check(check)
            if not result.passed and check.variant:
                missing = missing_here(selection.backend)
                if check.variant in missing:
                    lost.add(check.variant)
                    if check.variant not in selection.named:  # a named one is an error at the end
                        print_skipped(console, str(missing[check.variant]))
                    continue
            results.append(result)
            if verbose or not result.passed:
                console.print(_line(name, result), soft_wrap=True)
    except KeyboardInterrupt:
        ran = f"{len(results)} of {counted(len(checks), 'check')} ran"
        end = f"{ran}, {failures(results)} failed: interrupted"
        console.print(f"[bold]{escape(name)}[/]  {end}", soft_wrap=True)
        raise
    if any(result.variant or not result.passed for result in results):
        console.print(_sum(name, results), soft_wrap=True)
    return results, {(check.variant, check.cell) for check in checks if check.variant in lost}


def _sum(name: str, results: Sequence[CheckResult]) -> str:
    failed, seconds = failures(results), sum(result.seconds for result in results)
    skipped = sum(result.skipped for result in results)
    checks = counted(len(results) - skipped, "check")
    verdict = f"[red]{failed} of {checks} failed[/]" if failed else f"[green]{checks} ok[/]"
    not_applicable = f", {skipped} n/a" if skipped else ""
    return f"[bold]{escape(name)}[/]  {verdict}{not_applicable}  [dim]{seconds:.0f} s[/]"


def _line(backend: str, result: CheckResult) -> str:
    if result.skipped:
        word = "[yellow]n/a [/]"
    else:
        word = "[green]ok  [/]" if result.passed else "[red]FAIL[/]"
    engine = ":".join(part for part in (backend, result.variant) if part)
    message = f": {result.message}" if result.message else ""
    text = " ".join(part for part in (engine, result.cell, result.name) if part)
    return f"{word} {escape(printable(text + message))}"
