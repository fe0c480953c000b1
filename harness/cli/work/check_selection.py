"""The backends and variants that ``harness check`` is asked for. Nothing runs here."""

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
from harness.contract.errors import with_fix
from harness.contract.wording import printable, split_engine
from harness.plugins import Plugins, query

if TYPE_CHECKING:
    from rich.console import Console

ALL = "all"  # as in BACKEND:all


@dataclass(frozen=True)
class Selection:
    """A backend to check, and its variants.

    Attributes:
        backend: the backend.
        only: the variants asked for; empty: all.
        named: those of them that were asked for as BACKEND:VARIANT.
    """

    backend: Backend
    only: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()

    def takes(self, variant: str) -> bool:
        """Say whether a variant of the backend was asked for."""
        return not self.only or variant in self.only


def selected_backends(
    plugins: Plugins, names: Sequence[str], variants: Sequence[str], console: Console
) -> list[Selection]:
    """Return the backends, each with its selected variants.

    ``variants`` hold for every backend and may contain ``all``. A name BACKEND:VARIANT selects a
    variant of that backend alone.

    Raises:
        UnknownNameError: a backend has no such variant.
    """
    asked: dict[str, set[str]] = {}
    cells = list(plugins.cells.values())
    for name in names:
        base, variant = split_engine(name)
        for backend in plugins.usable_backends(base):
            if variant is not None and not _may_run([backend], cells, variant):
                raise variant_error(backend.name, variant, _all_variants(backend, cells), {})
            asked.setdefault(backend.name, set()).add(ALL if variant is None else variant)
    backends = [plugins.backends[name] for name in asked] if names else _usable(plugins, console)
    for variant in variants:
        if not _may_run(backends, cells, variant):
            what = f"variant of backend {backends[0].name!r}:" if len(backends) == 1 else "variant"
            offered = set[str]().union(*(_all_variants(each, cells) for each in backends))
            raise UnknownNameError(what, variant, offered, "harness list backends")
    return [_of_backend(backend, asked.get(backend.name, set()), variants) for backend in backends]


def _of_backend(backend: Backend, asked: Collection[str], variants: Sequence[str]) -> Selection:
    named = frozenset(asked) - {ALL}
    everything = ALL in variants or (ALL in asked and not variants)
    return Selection(backend, frozenset() if everything else named | {*variants}, named)


def _offered(backend: Backend, cells: Sequence[Cell]) -> set[str]:
    return {name for cell in cells for name in query.variants(backend, cell)}


def _all_variants(backend: Backend, cells: Sequence[Cell]) -> set[str]:
    """Return the variants that a backend offers, and those that are missing here."""
    return _offered(backend, cells).union(query.missing_variants(backend))


def _may_run(backends: Sequence[Backend], cells: Sequence[Cell], variant: str) -> bool:
    """Say whether a backend may have the variant. A backend that fails to answer may."""
    try:
        return variant == ALL or any(variant in _all_variants(each, cells) for each in backends)
    except BrokenAnswerError:  # reported when the backend is checked
        return True


def missing_here(backend: Backend) -> dict[str, UsageError]:
    """Return the variants that the backend cannot run here, each with its error."""
    missing = query.missing_variants(backend)
    return {name: variant_error(backend.name, name, (), missing) for name in missing}


def why_nothing(selection: Selection, cells: Sequence[Cell], plugins: Plugins) -> str | None:
    """Return why a backend has nothing to check; None if it has, or if it runs no cell at all."""
    names = ", ".join(cell.name for cell in cells)
    if not (offered := _offered(selection.backend, cells)):
        runs_any = _offered(selection.backend, list(plugins.cells.values()))
        return f"it runs none of the cells {names}" if runs_any else None
    if not selection.only or offered & selection.only:
        return None
    return f"it runs {names} as none of {', '.join(sorted(selection.only))}"


def print_skipped(console: Console, what: str) -> None:
    """Print the reason for a check that is skipped."""
    console.print(f"[yellow]skipped[/] {escape(printable(what))}", soft_wrap=True)


def _usable(plugins: Plugins, console: Console) -> list[Backend]:
    for broken in plugins.broken:
        print_skipped(console, str(broken))
    usable = []
    for backend in plugins.backends.values():
        answer = query.available_or_missing(backend)
        if isinstance(answer, Missing):
            print_skipped(console, f"{backend.name}: {with_fix(answer.reason, answer.fix)}")
        else:
            usable.append(backend)
    if not usable:
        raise UnavailableError("no backend can run here; see `harness list backends`")
    return usable
