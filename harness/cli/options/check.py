"""What ``harness check`` is asked for: backends, each with those of its variants that are wanted. Nothing runs here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape

from harness.contract import (
    Backend,
    BrokenAnswerError,
    Cell,
    Missing,
    UnavailableError,
    UnknownNameError,
    UsageError,
)
from harness.contract.checks import variant_error
from harness.contract.wording import printable
from harness.plugins import Plugins, query

if TYPE_CHECKING:
    from rich.console import Console

ALL = "all"  # as in BACKEND:all


@dataclass(frozen=True)
class Wanted:
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


def wanted_backends(
    plugins: Plugins, names: Sequence[str], variants: Sequence[str], console: Console
) -> list[Wanted]:
    """Return the backends with what was asked for of each.

    ``variants`` are those of any backend, ``all`` among them; a name of the form BACKEND:VARIANT is
    about that backend alone.

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


def _of_backend(backend: Backend, asked: Collection[str], variants: Sequence[str]) -> Wanted:
    named = frozenset(asked) - {ALL}
    everything = ALL in variants or (ALL in asked and not variants)
    return Wanted(backend, frozenset() if everything else named | {*variants}, named)


def _offered(backend: Backend, cells: Sequence[Cell]) -> set[str]:
    return {name for cell in cells for name in query.variants(backend, cell)}


def _known(backend: Backend, cells: Sequence[Cell]) -> set[str]:
    """Return the variants that are on offer, and those that are missing here."""
    return _offered(backend, cells).union(query.missing_variants(backend))


def _may_run(backends: Sequence[Backend], cells: Sequence[Cell], variant: str) -> bool:
    """Say whether one of the backends may have the variant; of one that fails to answer nobody knows."""
    try:
        return variant == ALL or any(variant in _known(backend, cells) for backend in backends)
    except BrokenAnswerError:  # told when its turn comes
        return True


def missing_here(backend: Backend) -> dict[str, UsageError]:
    """Return the variants that the backend cannot offer here, with what to say of each."""
    missing = query.missing_variants(backend)
    return {name: variant_error(backend.name, name, (), missing) for name in missing}


def why_nothing(wanted: Wanted, cells: Sequence[Cell], plugins: Plugins) -> str | None:
    """Return why there is nothing of a backend to check; None where there is, and where it runs no cell at all."""
    names = ", ".join(cell.name for cell in cells)
    if not (offered := _offered(wanted.backend, cells)):
        runs_any = _offered(wanted.backend, list(plugins.cells.values()))
        return f"it runs none of the cells {names}" if runs_any else None
    if not wanted.only or offered & wanted.only:
        return None
    return f"it runs {names} as none of {', '.join(sorted(wanted.only))}"


def tell_skipped(console: Console, what: str) -> None:
    """Say what will not be checked, and why."""
    console.print(f"[yellow]skipped[/] {escape(printable(what))}", soft_wrap=True)


def _usable(plugins: Plugins, console: Console) -> list[Backend]:
    for broken in plugins.broken:
        tell_skipped(console, str(broken))
    usable = []
    for backend in plugins.backends.values():
        answer = query.available_or_missing(backend)
        if isinstance(answer, Missing):
            tell_skipped(console, f"{backend.name}: {answer.reason}. Fix: {answer.fix}")
        else:
            usable.append(backend)
    if not usable:
        raise UnavailableError("no backend can run here; see `harness list backends`")
    return usable
