"""What ``harness check`` was asked for and did not run: that must not look like passing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.cli.options.check import ALL, Wanted
from harness.contract import Cell, UsageError
from harness.contract.wording import counted

if TYPE_CHECKING:
    from harness.testing import CheckResult


NOBODY = "no backend asked for runs it"


@dataclass(frozen=True)
class Checked:
    """A backend whose checks have run.

    Attributes:
        wanted: the backend, and what was asked for of it.
        results: what its checks found.
        missing: those of its variants that cannot be had here, with what to say of each.
        lost: the variants, with the cells, that turned out to be missing while they were checked.
    """

    wanted: Wanted
    results: Sequence[CheckResult]
    missing: Mapping[str, UsageError]
    lost: Collection[tuple[str, str]]

    @property
    def ran(self) -> set[tuple[str, str]]:
        """The variants with the cells of which something was checked."""
        return {
            (result.variant, result.cell)
            for result in self.results
            if result.variant and not result.skipped
        }

    def why_not(self, variant: str | None = None, cell: str | None = None) -> Iterator[str]:
        """Yield why nothing ran of a variant, a cell, or at all, as far as this backend had it: lost, or all n/a."""
        lost = {
            name
            for name, place in self.lost
            if name in self.missing and _fits(name, place, variant, cell)
        }
        yield from (str(self.missing[name]) for name in sorted(lost))
        results = [
            one
            for one in self.results
            if one.variant and _fits(one.variant, one.cell, variant, cell)
        ]
        if results and not lost and all(one.skipped for one in results):
            first, *others = dict.fromkeys(one.message for one in results)
            place = f"{self.wanted.backend.name}:{variant}" if variant else self.wanted.backend.name
            place += f" on {cell}" if cell else ""
            more = f" (and {counted(len(others), 'other reason')})" if others else ""
            yield f"all checks of {place} are n/a: {first}{more}"


def _fits(variant: str, cell: str, asked: str | None, asked_cell: str | None) -> bool:
    return asked in (None, variant) and asked_cell in (None, cell)


def failures(results: Sequence[CheckResult]) -> int:
    """Return how many of the checks failed."""
    return sum(not result.passed for result in results)


def not_run(
    checked: Sequence[Checked], variants: Sequence[str], cells: Sequence[Cell], *, whole: bool
) -> list[str]:
    """Return what was named and has not run, each with the reason; where all has, whether anything was checked.

    Args:
        checked: the backends that answered.
        variants: those that were named of any backend.
        cells: those that were named.
        whole: whether all backends answered; else nobody knows what the others would have run.
    """
    problems = [problem for one in checked for problem in _named_of_a_backend(one, cells)]
    if not whole:
        return problems
    problems += _of_any_backend(checked, variants)
    if problems:
        return problems
    ran = {cell for one in checked for _, cell in one.ran}
    nobody = f"{NOBODY} so" if variants else NOBODY
    problems = [
        f"nothing was checked of the cell {cell.name}: {_reasons(checked, cell=cell.name) or nobody}"
        for cell in cells
        if cell.name not in ran
    ]
    if not (ran or problems or any(failures(one.results) for one in checked)):
        why = (
            _reasons(checked)
            or "none of the checks applies to what was asked for; see `harness list`"
        )
        return [f"nothing was checked: {why}"]
    return problems


def _reasons(
    checked: Sequence[Checked], variant: str | None = None, cell: str | None = None
) -> str:
    return "; ".join(dict.fromkeys(why for one in checked for why in one.why_not(variant, cell)))


def _named_of_a_backend(one: Checked, cells: Sequence[Cell]) -> Iterator[str]:
    ran = {variant for variant, _ in one.ran}
    for variant in sorted(one.wanted.named):
        if variant in one.missing:
            yield str(one.missing[variant])
        elif variant not in ran:
            why = (
                _reasons([one], variant)
                or f"it runs none of {', '.join(cell.name for cell in cells)}"
            )
            yield f"nothing was checked of {one.wanted.backend.name}:{variant}: {why}"


def _of_any_backend(checked: Sequence[Checked], variants: Sequence[str]) -> Iterator[str]:
    """Yield what of the variants did not run; one that a backend lost is no problem where another ran it."""
    begun = {variant for one in checked for variant, _ in one.ran}
    done = {variant for one in checked for variant, _ in one.ran if variant not in one.missing}
    told = {ALL, *done}.union(*(one.wanted.named for one in checked))
    for variant in variants:
        if variant not in told:
            what = (
                f"not all was checked as {variant}"
                if variant in begun
                else f"nothing was checked as {variant}"
            )
            why = "; ".join(str(one.missing[variant]) for one in checked if variant in one.missing)
            yield f"{what}: {why or _reasons(checked, variant) or f'{NOBODY} so'}"
