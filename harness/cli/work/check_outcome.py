"""The requests of ``harness check`` that did not run: they must not look like a pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.cli.work.check_selection import ALL, Selection
from harness.contract import Cell, UsageError
from harness.contract.wording import counted

if TYPE_CHECKING:
    from harness.testing import CheckResult


NOBODY = "no backend asked for runs it"


@dataclass(frozen=True)
class Checked:
    """A backend whose checks have run.

    Attributes:
        selection: the backend and its selected variants.
        results: of its checks.
        missing: variants that cannot run here, each with its error.
        lost: (variant, cell) that turned out to be missing during the checks.
    """

    selection: Selection
    results: Sequence[CheckResult]
    missing: Mapping[str, UsageError]
    lost: Collection[tuple[str, str]]

    @property
    def ran(self) -> set[tuple[str, str]]:
        """Every (variant, cell) with at least one check."""
        results = [each for each in self.results if each.variant and not each.skipped]
        return {(each.variant, each.cell) for each in results}

    def why_not(self, variant: str | None = None, cell: str | None = None) -> Iterator[str]:
        """Yield why this backend ran nothing of a variant, a cell, or at all: lost, or all n/a."""

        def fits(name: str, of_cell: str) -> bool:
            return variant in (None, name) and cell in (None, of_cell)

        lost = {name for name, of_cell in self.lost if name in self.missing and fits(name, of_cell)}
        yield from (str(self.missing[name]) for name in sorted(lost))
        results = [each for each in self.results if each.variant and fits(each.variant, each.cell)]
        if results and not lost and all(result.skipped for result in results):
            first, *others = dict.fromkeys(result.message for result in results)
            engine = self.selection.backend.name + (f":{variant}" if variant else "")
            on_cell = f" on {cell}" if cell else ""
            more = f" (and {counted(len(others), 'other reason')})" if others else ""
            yield f"all checks of {engine}{on_cell} are n/a: {first}{more}"


def failures(results: Sequence[CheckResult]) -> int:
    """Return how many of the checks failed."""
    return sum(not result.passed for result in results)


def not_run(
    checked: Sequence[Checked], variants: Sequence[str], cells: Sequence[Cell], *, whole: bool
) -> list[str]:
    """Return the named variants and cells that did not run, each with its reason.

    If nothing was named, return that nothing was checked, if so.

    Args:
        checked: the backends that answered.
        variants: named for any backend.
        cells: named.
        whole: whether all backends answered. If not, what the others would have run is unknown.
    """
    problems = [problem for backend in checked for problem in _of_one_backend(backend, cells)]
    if not whole:
        return problems
    problems += _of_any_backend(checked, variants)
    if problems:
        return problems
    ran = {cell for backend in checked for _, cell in backend.ran}
    nobody = f"{NOBODY} so" if variants else NOBODY
    problems = [
        f"nothing was checked of the cell {name}: {_reasons(checked, cell=name) or nobody}"
        for name in (cell.name for cell in cells)
        if name not in ran
    ]
    if not (ran or problems or any(failures(backend.results) for backend in checked)):
        nothing = "none of the checks applies to what was asked for; see `harness list`"
        return [f"nothing was checked: {_reasons(checked) or nothing}"]
    return problems


def _reasons(
    checked: Sequence[Checked], variant: str | None = None, cell: str | None = None
) -> str:
    reasons = (reason for backend in checked for reason in backend.why_not(variant, cell))
    return "; ".join(dict.fromkeys(reasons))


def _of_one_backend(checked: Checked, cells: Sequence[Cell]) -> Iterator[str]:
    ran = {variant for variant, _ in checked.ran}
    names = ", ".join(cell.name for cell in cells)
    for variant in sorted(checked.selection.named):
        if variant in checked.missing:
            yield str(checked.missing[variant])
        elif variant not in ran:
            reason = _reasons([checked], variant) or f"it runs none of {names}"
            yield f"nothing was checked of {checked.selection.backend.name}:{variant}: {reason}"


def _of_any_backend(checked: Sequence[Checked], variants: Sequence[str]) -> Iterator[str]:
    """Yield the variants that did not run. One that a backend lost may run on another."""
    begun: set[str] = set()
    reported = {ALL}  # finished, or reported with the backend that it was named with
    for backend in checked:
        ran = {variant for variant, _ in backend.ran}
        begun |= ran
        reported |= backend.selection.named.union(ran - set(backend.missing))
    for variant in variants:
        if variant in reported:
            continue
        extent = "not all" if variant in begun else "nothing"
        missing = (each.missing[variant] for each in checked if variant in each.missing)
        reason = "; ".join(map(str, missing)) or _reasons(checked, variant) or f"{NOBODY} so"
        yield f"{extent} was checked as {variant}: {reason}"
