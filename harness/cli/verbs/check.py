"""``harness check``: the conformance kit on installed backends, without pytest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Literal

import rich_click as click
from rich.markup import escape

from harness.cli.main import NOT_OK, OK
from harness.cli.options.check import (
    Wanted,
    missing_here,
    tell_skipped,
    wanted_backends,
    why_nothing,
)
from harness.cli.options.types import WORDS, Named
from harness.cli.output.check import Checked, failures, not_run
from harness.cli.output.results import stdout_console
from harness.cli.streams import note
from harness.contract import Backend, BrokenAnswerError, Cell, UsageError
from harness.contract.wording import counted, printable
from harness.plugins import Plugins, load_plugins, query

if TYPE_CHECKING:
    from rich.console import Console

    from harness.testing import Check, CheckResult

GRIDS: tuple[Literal["cover", "full", "none"], ...] = ("cover", "full", "none")
TELL_SECONDS = 60.0  # between two lines about how far it is, where there is no terminal
Words = tuple[tuple[str, ...], ...]


@click.command("check")
@click.option(
    "--backend",
    "-b",
    "names",
    type=Named("backends"),
    multiple=True,
    help="Only these.  [default: all]",
)
@click.option(
    "--cell", "-c", "cells", type=Named("cells"), multiple=True, help="Only these.  [default: all]"
)
@click.option(
    "--variant", "variants", type=WORDS, multiple=True, help="Only these variants.  [default: all]"
)
@click.option("--grid", type=click.Choice(GRIDS), default="cover", show_default=True,
              help="Shapes at which to compare: a dozen in which all pairs of sizes meet, all, or none.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Show every check, not only those that fail.")
@click.pass_obj
def command(
    blocked: tuple[str, ...],
    /,
    names: Words,
    cells: Words,
    variants: Words,
    grid: str,
    verbose: bool,
) -> int:
    """Prove that a backend computes the same function as the float64 reference, at every cell and variant.

    Shapes, loss, every gradient tensor, optimizer steps, carried state, masks, aliasing,
    determinism, and whether the backend waits for its own work. Exit status 3 where a check fails,
    2 where all pass but a variant or cell that was named did not run, or nothing at all.
    """
    from harness.measure import REFERENCE_BACKEND

    plugins, console = load_plugins(blocked), stdout_console()
    reference, broken = plugins.backend(REFERENCE_BACKEND), _bound_threads(plugins)
    chosen = [plugins.cell(name) for name in _joined(cells)] or list(plugins.cells.values())
    asked = _joined(variants)
    wanted = wanted_backends(plugins, _joined(names), asked, console)
    checked: list[Checked] = []
    for one in wanted:
        try:
            if one.backend.name in broken:
                raise broken[one.backend.name]
            checks = _checks(one, reference, chosen, plugins, grid, console)
            results, lost = _check(one, checks, console, verbose=verbose)
            checked.append(Checked(one, results, missing_here(one.backend), lost))
        except BrokenAnswerError as error:  # of a plugin, which fails and costs no other its checks
            why = f"{plugins.label('backend', one.backend.name)}: {query.without_name(one.backend, error)}"
            console.print(f"[red]FAIL[/] {escape(printable(why))}", soft_wrap=True)
    whole = len(checked) == len(wanted)
    failed = not whole or any(failures(one.results) for one in checked)
    problems = not_run(checked, asked, chosen if cells else (), whole=whole)
    if problems and not failed:
        from harness.plan.problems import listed

        raise UsageError(listed(problems))
    for problem in problems:
        note(problem)
    return NOT_OK if failed else OK


def _joined(parts: Words) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _bound_threads(plugins: Plugins) -> dict[str, BrokenAnswerError]:
    """Let every engine use one thread: proofs need no more, and two pools on a busy machine wait for each other.

    Returns the backends that cannot say how, each with the reason.
    """
    from threadpoolctl import threadpool_limits

    from harness.execute.process import thread_variables
    from harness.testing.backend.devices import DEVICES

    broken = {}
    for name, backend in plugins.backends.items():
        try:
            os.environ.update(thread_variables(backend, 1, DEVICES))
        except BrokenAnswerError as error:
            broken[name] = error
    threadpool_limits(1)  # the BLAS of NumPy, which is loaded already
    return broken


def _checks(
    wanted: Wanted,
    reference: Backend,
    cells: Sequence[Cell],
    plugins: Plugins,
    grid: str,
    console: Console,
) -> list[Check]:
    """Return the checks of a backend, and say what of it cannot be checked here."""
    from harness.testing import checks_for_backend

    for name, why in missing_here(wanted.backend).items():
        if wanted.takes(name) and name not in wanted.named:
            tell_skipped(console, str(why))
    if reason := why_nothing(wanted, cells, plugins):
        tell_skipped(console, f"{wanted.backend.name}: {reason}")
        return []
    kind = next(one for one in GRIDS if one == grid)
    return list(
        checks_for_backend(
            wanted.backend, reference, cells, variants=sorted(wanted.only) or None, grid=kind
        )
    )


def _check(
    wanted: Wanted, checks: Sequence[Check], console: Console, *, verbose: bool
) -> tuple[list[CheckResult], set[tuple[str, str]]]:
    """Run the checks, print those that fail and the sum, and return the results.

    There is none of a variant that turned out to be missing, as one that cannot be built; such are
    returned beside, with their cells.
    """
    from harness.testing import run_check

    name, told = wanted.backend.name, time.monotonic()
    results: list[CheckResult] = []
    lost: set[str] = set()  # variants that turned out to be missing
    try:
        for number, check in enumerate(checks, 1):
            if check.variant in lost:
                continue
            at = f"{name} [{number}/{len(checks)}] {check.label}"
            if not console.is_terminal and time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                note(at)
            with console.status(escape(at)), redirect_stdout(sys.stderr):  # of what a plugin prints
                result = run_check(check)
            if (
                not result.passed
                and check.variant
                and (why := missing_here(wanted.backend).get(check.variant))
            ):
                lost.add(check.variant)
                if check.variant not in wanted.named:  # else it is the error in which all ends
                    tell_skipped(console, str(why))
                continue
            results.append(result)
            if verbose or not result.passed:
                console.print(_line(name, result), soft_wrap=True)
    except KeyboardInterrupt:
        ran = f"{len(results)} of {counted(len(checks), 'check')} ran, {failures(results)} failed: interrupted"
        console.print(f"[bold]{escape(name)}[/]  {ran}", soft_wrap=True)
        raise
    if any(result.variant or not result.passed for result in results):
        console.print(_sum(name, results), soft_wrap=True)
    return results, {(check.variant, check.cell) for check in checks if check.variant in lost}


def _sum(name: str, results: Sequence[CheckResult]) -> str:
    failed, seconds = failures(results), sum(result.seconds for result in results)
    skipped = sum(result.skipped for result in results)
    checks = counted(len(results) - skipped, "check")
    verdict = f"[red]{failed} of {checks} failed[/]" if failed else f"[green]{checks} ok[/]"
    beside = f", {skipped} n/a" if skipped else ""
    return f"[bold]{escape(name)}[/]  {verdict}{beside}  [dim]{seconds:.0f} s[/]"


def _line(backend: str, result: CheckResult) -> str:
    word = (
        "[yellow]n/a [/]"
        if result.skipped
        else "[green]ok  [/]"
        if result.passed
        else "[red]FAIL[/]"
    )
    place = ":".join(part for part in (backend, result.variant) if part)
    about = f"{place} {result.cell} {result.name}" + (
        f": {result.message}" if result.message else ""
    )
    return f"{word} {escape(printable(about))}"
