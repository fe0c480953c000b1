"""``harness check``: the conformance kit on installed backends, without pytest."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

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
    backend waits for its own work. Exit status 3 where a check fails, 2 where all pass but a variant or cell that was
    named did not run.
    """
    plugins, console = load_plugins(blocked), stdout_console()
    _bound_threads(plugins)
    chosen = [plugins.cell(name) for name in _joined(cells)] or list(plugins.cells.values())
    asked = _joined(variants)
    wanted = _wanted(plugins, _joined(names), asked, console)
    failures, ran, broken = 0, set[_Ran](), set[str]()
    for one in wanted:
        try:
            checks = _checks(one, plugins, chosen, grid, console)
        except Exception as error:  # noqa: BLE001 - of a plugin, which fails and costs no other its checks
            broken.add(one.backend.name)
            console.print(f"[red]FAIL[/] {escape(printable(_why_broken(one.backend, error)))}", soft_wrap=True)
            continue
        results = _check(one, checks, console, verbose=verbose)
        failures += sum(not result.passed for result in results)
        ran |= {_Ran(one.backend.name, result.variant, result.cell) for result in results if not result.skipped}
    answering = [one for one in wanted if one.backend.name not in broken]
    problems = _not_run({one for one in ran if one.variant}, answering, asked, chosen if cells else ())
    if problems and not (failures or broken):
        from harness.sweep.problems import listed

        raise UsageError(listed(problems))
    for problem in problems:
        note(problem)
    return NOT_OK if failures or broken else OK


class _Ran(NamedTuple):
    """What a check was of."""

    backend: str
    variant: str
    cell: str


def _not_run(
    ran: Collection[_Ran], wanted: Sequence[_Wanted], variants: Sequence[str], cells: Sequence[Cell]
) -> list[str]:
    """Return why variants and cells that were named have not run, or nothing has: that must not look like passing."""
    problems = []
    for one in wanted:
        missing, seen = _missing(one.backend), {of.variant for of in ran if of.backend == one.backend.name}
        for variant in sorted(one.named):
            if variant in missing:
                problems.append(str(missing[variant]))
            elif variant not in seen:
                problems.append(
                    f"nothing was checked of {one.backend.name}:{variant}: no check of it is for such a cell"
                )
    told = {ALL, *(of.variant for of in ran)}.union(*(one.named for one in wanted))
    unseen = [variant for variant in variants if variant not in told]
    problems += [f"nothing was checked as {variant}: no backend here runs such a cell so" for variant in unseen]
    if problems:
        return problems
    unseen = [cell.name for cell in cells if cell.name not in {of.cell for of in ran}]
    problems = [f"nothing was checked of the cell {name}: no backend that was asked for runs it so" for name in unseen]
    if not (ran or problems):
        problems = ["nothing was checked: no backend here runs such a variant of such a cell; see `harness list`"]
    return problems


def _why_broken(backend: Backend, error: Exception) -> str:
    """Return what a backend answers wrongly before anything of it can run."""
    if isinstance(error, UnavailableError):
        return str(error)
    return f"backend {backend.name!r} is broken: {type(error).__name__}: {error}"


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


@dataclass(frozen=True)
class _Wanted:
    """A backend to check.

    Attributes:
        backend: the backend.
        only: those of its variants that were asked for; none: all.
        named: of these, the ones that were asked for as BACKEND:VARIANT.
    """

    backend: Backend
    only: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()

    def takes(self, variant: str) -> bool:
        """Say whether a variant of the backend was asked for."""
        return not self.only or variant in self.only


def _wanted(plugins: Plugins, names: Sequence[str], variants: Sequence[str], console: Console) -> list[_Wanted]:
    """Return the backends with what was asked for of each.

    ``variants`` are those of any backend, ``all`` among them; a name of the form BACKEND:VARIANT is about that
    backend alone.

    Raises:
        UnknownNameError: a backend has no such variant.
    """
    asked: dict[str, set[str]] = {}
    cells = list(plugins.cells.values())
    for name in names:
        base, colon, variant = name.partition(":")
        for backend in plugins.usable_backends(base):
            if colon and not _may_run([backend], cells, variant):
                raise variant_error(backend.name, variant, _known(backend, cells), {})
            asked.setdefault(backend.name, set()).add(variant if colon else ALL)
    backends = [plugins.backends[name] for name in asked] if names else _usable(plugins, console)
    for variant in variants:
        if not _may_run(backends, cells, variant):
            what = f"variant of backend {backends[0].name!r}:" if len(backends) == 1 else "variant"
            known = set[str]().union(*(_known(backend, cells) for backend in backends))
            raise UnknownNameError(what, variant, known, "harness list backends")
    return [_of_backend(backend, asked.get(backend.name, set()), variants) for backend in backends]


def _of_backend(backend: Backend, asked: Collection[str], variants: Sequence[str]) -> _Wanted:
    named = frozenset(asked) - {ALL}
    everything = ALL in variants or (ALL in asked and not variants)
    return _Wanted(backend, frozenset() if everything else named | {*variants}, named)


def _offered(backend: Backend, cells: Sequence[Cell]) -> set[str]:
    return {name for cell in cells for name in answers.variants(backend, cell)}


def _known(backend: Backend, cells: Sequence[Cell]) -> set[str]:
    """Return the variants that are on offer, and those that are missing here."""
    return _offered(backend, cells).union(answers.missing_variants(backend))


def _may_run(backends: Sequence[Backend], cells: Sequence[Cell], variant: str) -> bool:
    """Say whether one of the backends may have the variant; of one that fails to answer nobody knows."""
    try:
        return variant == ALL or any(variant in _known(backend, cells) for backend in backends)
    except Exception:  # noqa: BLE001 - of a plugin, told when its turn comes
        return True


def _missing(backend: Backend) -> dict[str, UsageError]:
    """Return the variants that the backend cannot offer here, with what to say of each."""
    missing = answers.missing_variants(backend)
    return {name: variant_error(backend.name, name, (), missing) for name in missing}


def _why_nothing(wanted: _Wanted, cells: Sequence[Cell], plugins: Plugins) -> str | None:
    """Return why there is nothing of a backend to check; None where there is, and where it runs no cell at all."""
    names = ", ".join(cell.name for cell in cells)
    if not (offered := _offered(wanted.backend, cells)):
        runs_any = _offered(wanted.backend, list(plugins.cells.values()))
        return f"it runs none of the cells {names}" if runs_any else None
    if not wanted.only or offered & wanted.only:
        return None
    return f"it runs {names} as none of {', '.join(sorted(wanted.only))}"


def _skip(console: Console, what: str) -> None:
    console.print(f"[yellow]skipped[/] {escape(printable(what))}", soft_wrap=True)


def _usable(plugins: Plugins, console: Console) -> list[Backend]:
    for broken in plugins.broken:
        _skip(console, str(broken))
    usable = []
    for backend in plugins.backends.values():
        answer = answers.availability(backend)
        if isinstance(answer, Missing):
            _skip(console, f"{backend.name}: {answer.reason}. Cure: {answer.cure}")
        else:
            usable.append(backend)
    if not usable:
        raise UnavailableError("no backend can run here; see `harness list backends`")
    return usable


def _checks(wanted: _Wanted, plugins: Plugins, cells: Sequence[Cell], grid: str, console: Console) -> list[Check]:
    """Return the checks of a backend, and say what of it cannot be checked here."""
    from harness.measure import REFERENCE_BACKEND
    from harness.testing import checks_for_backend

    for name, why in _missing(wanted.backend).items():
        if wanted.takes(name) and name not in wanted.named:
            _skip(console, str(why))
    if reason := _why_nothing(wanted, cells, plugins):
        _skip(console, f"{wanted.backend.name}: {reason}")
        return []
    reference = plugins.backend(REFERENCE_BACKEND)
    kind = next(one for one in GRIDS if one == grid)
    return list(checks_for_backend(wanted.backend, reference, cells, variants=sorted(wanted.only) or None, grid=kind))


def _check(wanted: _Wanted, checks: Sequence[Check], console: Console, *, verbose: bool) -> list[CheckResult]:
    """Run the checks, print those that fail and the sum, and return the results.

    There is none of a variant that turned out to be missing, as one that cannot be built.
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
            with console.status(escape(at)):
                result = run_check(check)
            if not result.passed and check.variant and (why := _missing(wanted.backend).get(check.variant)):
                lost.add(check.variant)
                if check.variant not in wanted.named:  # else it is the error in which all ends
                    _skip(console, str(why))
                continue
            results.append(result)
            if verbose or not result.passed:
                console.print(_line(name, result), soft_wrap=True)
    except KeyboardInterrupt:
        failed = sum(not result.passed for result in results)
        ran = f"{len(results)} of {counted(len(checks), 'check')} ran, {failed} failed: interrupted"
        console.print(f"[bold]{escape(name)}[/]  {ran}", soft_wrap=True)
        raise
    if any(result.variant or not result.passed for result in results):
        console.print(_sum(name, results), soft_wrap=True)
    return results


def _sum(name: str, results: Sequence[CheckResult]) -> str:
    failures, seconds = sum(not result.passed for result in results), sum(result.seconds for result in results)
    skipped = sum(result.skipped for result in results)
    verdict = (
        f"[red]{failures} of {len(results)} checks failed[/]"
        if failures
        else f"[green]{counted(len(results) - skipped, 'check')} ok[/]"
    )
    beside = f", {skipped} n/a" if skipped else ""
    return f"[bold]{escape(name)}[/]  {verdict}{beside}  [dim]{seconds:.0f} s[/]"


def _line(backend: str, result: CheckResult) -> str:
    word = "[yellow]n/a [/]" if result.skipped else "[green]ok  [/]" if result.passed else "[red]FAIL[/]"
    place = ":".join(part for part in (backend, result.variant) if part)
    about = f"{place} {result.cell} {result.name}" + (f": {result.message}" if result.message else "")
    return f"{word} {escape(printable(about))}"
