"""``harness check``: the conformance kit on installed backends, without pytest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import rich_click as click
from rich.markup import escape

from harness import answers
from harness.cli.main import NOT_OK, OK
from harness.cli.output import stdout_console
from harness.cli.types import WORDS, Named
from harness.contract import Backend, Cell, Missing, UnavailableError, UnknownNameError
from harness.contract.names import printable
from harness.plugins import Plugins, load_plugins

if TYPE_CHECKING:
    from rich.console import Console

    from harness.testing import Check, CheckResult

GRIDS: tuple[Literal["cover", "full", "none"], ...] = ("cover", "full", "none")
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
    backends = _backends(plugins, _joined(names), console)
    wanted = _wanted(backends, chosen, _joined(names), _joined(variants))
    failures = 0
    for backend in backends:
        checks = _checks(backend, plugins, chosen, wanted, grid)
        failures += _check(backend, checks, console, verbose=verbose)
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
    backends: Sequence[Backend], cells: Sequence[Cell], names: Sequence[str], variants: Sequence[str]
) -> list[str]:
    """Return the variants asked for, as BACKEND:VARIANT too; [] means all.

    Raises:
        UnavailableError: one cannot be had here.
        UnknownNameError: no chosen backend has it: checking nothing must not look like passing.
    """
    wanted = [*variants, *(variant for name in names if (variant := name.partition(":")[2]) not in {"", "all"})]
    offered = {name for backend in backends for cell in cells for name in answers.variants(backend, cell)}
    missing = {name: why for backend in backends for name, why in answers.missing_variants(backend).items()}
    for name in wanted:
        if name not in offered and name in missing:
            reason, cure = missing[name].reason, missing[name].cure
            raise UnavailableError(f"variant {name!r} cannot run here: {reason}. Cure: {cure}")
        if name not in offered:
            raise UnknownNameError("variant", name, offered, "harness list backends")
    return wanted


def _backends(plugins: Plugins, names: list[str], console: Console) -> Sequence[Backend]:
    if names:
        chosen = [backend for name in names for backend in plugins.usable_backends(name.partition(":")[0])]
        return list({backend.name: backend for backend in chosen}.values())
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


def _check(backend: Backend, checks: Sequence[Check], console: Console, *, verbose: bool) -> int:
    from harness.testing import run_check

    results = []
    for number, check in enumerate(checks, 1):
        with console.status(escape(f"{backend.name} [{number}/{len(checks)}] {check.label}")):
            result = run_check(check)
        results.append(result)
        if verbose or not result.passed:
            console.print(_line(backend, result), soft_wrap=True)
    failures = sum(not result.passed for result in results)
    verdict = (
        f"[red]{failures} of {len(results)} checks failed[/]" if failures else f"[green]{len(results)} checks ok[/]"
    )
    seconds = sum(result.seconds for result in results)
    console.print(f"[bold]{escape(backend.name)}[/]  {verdict}  [dim]{seconds:.0f} s[/]", soft_wrap=True)
    return failures


def _line(backend: Backend, result: CheckResult) -> str:
    word = "[yellow]n/a [/]" if result.skipped else "[green]ok  [/]" if result.passed else "[red]FAIL[/]"
    place = ":".join(part for part in (backend.name, result.variant) if part)
    about = f"{place} {result.cell} {result.name}" + (f": {result.message}" if result.message else "")
    return f"{word} {escape(printable(about))}"
