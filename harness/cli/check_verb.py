"""``harness check``: the conformance kit on installed backends, without pytest."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import rich_click as click
from rich.markup import escape

from harness import answers
from harness.cli.main import NOT_OK, OK
from harness.cli.output import stdout_console
from harness.cli.streams import note
from harness.cli.types import WORDS, Named
from harness.contract import Backend, Cell, Missing, UnavailableError, UnknownNameError, UsageError
from harness.contract.checks import variant_error
from harness.contract.counting import counted
from harness.contract.names import printable
from harness.plugins import Plugins, load_plugins

if TYPE_CHECKING:
    from rich.console import Console

    from harness.testing import Check, CheckResult

GRIDS: tuple[Literal["cover", "full", "none"], ...] = ("cover", "full", "none")
ALL = "all"  # as in BACKEND:all
TELL_SECONDS = 60.0  # between two lines about how far it is, where there is no terminal
Words = tuple[tuple[str, ...], ...]


@click.command("check")
@click.option("--backend", "-b", "names", type=Named("backends"), multiple=True, help="Only these.  [default: all]")
@click.option("--cell", "-c", "cells", type=Named("cells"), multiple=True, help="Only these.  [default: all]")
@click.option("--variant", "variants", type=WORDS, multiple=True, help="Only these variants.  [default: all]")
@click.option("--grid", type=click.Choice(GRIDS), default="cover", show_default=True,
              help="Shapes at which to compare: a dozen in which all pairs of sizes meet, all, or none.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Show every check, not only those that fail.")
@click.pass_obj
def command(blocked: tuple[str, ...], /, names: Words, cells: Words, variants: Words, grid: str, verbose: bool) -> int:
    """Prove that a backend computes the same function as the float64 reference, at every cell and variant.

    Shapes, loss, every gradient tensor, optimizer steps, carried state, masks, aliasing, determinism, and whether the
    backend waits for its own work. Exit status 3 where a check fails.
    """
    plugins, console = load_plugins(blocked), stdout_console()
    _bound_threads(plugins)
    chosen = [plugins.cell(name) for name in _joined(cells)] or list(plugins.cells.values())
    wanted = _wanted(plugins, _joined(names), _joined(variants), console)
    failures = checked = 0
    for backend, only in wanted:
        if reason := _why_nothing(backend, only, chosen, plugins):
            console.print(f"[yellow]skipped[/] {escape(printable(f'{backend.name}: {reason}'))}", soft_wrap=True)
            continue
        checks = _checks(backend, plugins, chosen, only, grid)
        failures += _check(backend, checks, console, only, verbose=verbose)
        checked += 1
    if not checked:
        raise UsageError("nothing was checked: no backend here runs such a variant of such a cell; see `harness list`")
    return NOT_OK if failures else OK


def _joined(parts: Words) -> list[str]:
    return [name for part in parts for name in part]


def _bound_threads(plugins: Plugins) -> None:
    """Let every engine use one thread: proofs need no more, and two pools on a busy machine wait for each other."""
    from threadpoolctl import threadpool_limits

    from harness.sweep.process import thread_variables
    from harness.testing.devices import DEVICES

    for backend in plugins.backends.values():
        os.environ.update(thread_variables(backend, 1, DEVICES))
    threadpool_limits(1)  # the BLAS of NumPy, which is loaded already


def _wanted(
    plugins: Plugins, names: Sequence[str], variants: Sequence[str], console: Console
) -> list[tuple[Backend, list[str]]]:
    """Return the backends, each with those of its variants that were asked for; [] means all.

    ``variants`` are those of any backend, ``all`` among them; a name of the form BACKEND:VARIANT is about that backend
    alone.

    Raises:
        UnavailableError: a variant cannot be had here.
        UnknownNameError: a backend has no such variant: checking nothing must not look like passing.
    """
    named: dict[str, set[str]] = {}
    cells = list(plugins.cells.values())
    for name in names:
        base, colon, variant = name.partition(":")
        for backend in plugins.usable_backends(base):
            if colon and variant not in {ALL, *(offered := _offered([backend], cells))}:
                raise variant_error(backend.name, variant, offered, answers.missing_variants(backend))
            named.setdefault(backend.name, set()).add(variant if colon else ALL)
    backends = [plugins.backends[name] for name in named] if names else _usable(plugins, console)
    if ALL in variants:
        return [(backend, []) for backend in backends]
    for variant in variants:
        _check_variant(variant, backends, cells)
    own = {name: [] if ALL in of_name else sorted(of_name) for name, of_name in named.items()}
    return [(backend, [*variants, *own.get(backend.name, ())]) for backend in backends]


def _offered(backends: Sequence[Backend], cells: Sequence[Cell]) -> set[str]:
    return {name for backend in backends for cell in cells for name in answers.variants(backend, cell)}


def _check_variant(wanted: str, backends: Sequence[Backend], cells: Sequence[Cell]) -> None:
    """Check that one of the backends offers a variant of this name."""
    if wanted in (offered := _offered(backends, cells)):
        return
    for backend in backends:
        if wanted in (missing := answers.missing_variants(backend)):
            raise variant_error(backend.name, wanted, (), missing)
    raise UnknownNameError("variant", wanted, offered, "harness list backends")


def _why_nothing(backend: Backend, only: Sequence[str], cells: Sequence[Cell], plugins: Plugins) -> str | None:
    """Return why there is nothing of a backend to check; None where there is, and where it runs no cell at all."""
    names = ", ".join(cell.name for cell in cells)
    if not (offered := _offered([backend], cells)):
        runs_any = _offered([backend], list(plugins.cells.values()))
        return f"it runs none of the cells {names}" if runs_any else None
    return f"it runs {names} as none of {', '.join(only)}" if only and not offered & set(only) else None


def _usable(plugins: Plugins, console: Console) -> list[Backend]:
    for broken in plugins.broken:
        console.print(f"[yellow]skipped[/] {escape(printable(str(broken)))}", soft_wrap=True)
    usable = []
    for backend in plugins.backends.values():
        answer = answers.availability(backend)
        if isinstance(answer, Missing):
            reason = f"{backend.name}: {answer.reason}. Cure: {answer.cure}"
            console.print(f"[yellow]skipped[/] {escape(printable(reason))}", soft_wrap=True)
        else:
            usable.append(backend)
    if not usable:
        raise UnavailableError("no backend can run here; see `harness list backends`")
    return usable


def _checks(
    backend: Backend, plugins: Plugins, cells: Sequence[Cell], variants: Sequence[str], grid: str
) -> list[Check]:
    from harness.measure import REFERENCE_BACKEND
    from harness.testing import checks_for_backend

    reference = plugins.backend(REFERENCE_BACKEND)
    kind = next(one for one in GRIDS if one == grid)
    return list(checks_for_backend(backend, reference, cells, variants=variants or None, grid=kind))


def _check(backend: Backend, checks: Sequence[Check], console: Console, only: Sequence[str], *, verbose: bool) -> int:
    """Run the checks, print those that fail and the sum, and return how many failed.

    Raises:
        UnavailableError: a variant that was asked for turned out to be missing, as one that cannot be built.
    """
    from harness.testing import run_check

    results: list[CheckResult] = []
    lost: set[str] = set()  # variants that turned out to be missing
    told = time.monotonic()
    try:
        for number, check in enumerate(checks, 1):
            if check.variant in lost:
                continue
            at = f"{backend.name} [{number}/{len(checks)}] {check.label}"
            if not console.is_terminal and time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                note(at)
            with console.status(escape(at)):
                result = run_check(check)
            if not result.passed and check.variant in (missing := answers.missing_variants(backend)):
                why = variant_error(backend.name, check.variant, (), missing)
                if check.variant in only:
                    raise why
                console.print(f"[yellow]skipped[/] {escape(printable(str(why)))}", soft_wrap=True)
                lost.add(check.variant)
                continue
            results.append(result)
            if verbose or not result.passed:
                console.print(_line(backend, result), soft_wrap=True)
    except KeyboardInterrupt:
        console.print(_sum(backend, results, f" of {len(checks)}, interrupted"), soft_wrap=True)
        raise
    console.print(_sum(backend, results), soft_wrap=True)
    return sum(not result.passed for result in results)


def _sum(backend: Backend, results: Sequence[CheckResult], rest: str = "") -> str:
    failures, seconds = sum(not result.passed for result in results), sum(result.seconds for result in results)
    verdict = (
        f"[red]{failures} of {len(results)} checks failed[/]"
        if failures
        else f"[green]{counted(len(results), 'check')} ok[/]"
    )
    return f"[bold]{escape(backend.name)}[/]  {verdict}{rest}  [dim]{seconds:.0f} s[/]"


def _line(backend: Backend, result: CheckResult) -> str:
    word = "[yellow]n/a [/]" if result.skipped else "[green]ok  [/]" if result.passed else "[red]FAIL[/]"
    place = ":".join(part for part in (backend.name, result.variant) if part)
    about = f"{place} {result.cell} {result.name}" + (f": {result.message}" if result.message else "")
    return f"{word} {escape(printable(about))}"
