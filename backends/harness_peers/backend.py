"""The metadata of every peer. No library is imported here: ``harness list`` must stay fast."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import ClassVar

from harness.contract import (
    RULE_OPTIONS,
    Available,
    Backend,
    Cell,
    Execution,
    Missing,
    Model,
    Optimizer,
    Parameters,
    Trainer,
    Trial,
    UnavailableError,
    UnsupportedError,
    check_dtype,
    check_variant,
)
from harness.contract.errors import with_fix

FIX = 'pip install "rnn-harness[peers]"'


class Peer(Backend):
    """A library of recurrent layers.

    Attributes:
        title: the library's name in messages.
        libraries: import name -> distribution name of everything it runs on.
        cells: cell -> the library's variants that run it.
        fix: the command that installs the libraries.
    """

    groups = ("peers",)
    rule_options = RULE_OPTIONS  # those of torch or JAX: the harness updates their weights
    embeddings = True
    title: ClassVar[str]
    libraries: ClassVar[Mapping[str, str]]
    cells: ClassVar[Mapping[type[Cell], tuple[str, ...]]]
    fix: ClassVar[str] = FIX

    def availability(self) -> Available | Missing:
        """Look for the libraries without importing them."""
        reason = why_not(self.libraries)
        return Missing(reason, self.fix) if reason else Available()

    def versions(self) -> dict[str, str]:
        """Return the version of each library, by distribution name."""
        return {distribution: version(distribution) for distribution in self.libraries.values()}

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the library's own ways to run ``cell``; none if it has no such cell."""
        return self.cells.get(type(cell), ())

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say that the library has no such cell, lacks it in this variant, or ties no readout."""
        return self._why_not(model, trial.variant)

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnsupportedError: the library has no such cell, or the readout is tied.
            UnknownNameError: there is no such variant.
            UsageError: the device or dtype is not there, or the parameters do not fit the model.
            UnavailableError: a library cannot be imported.
        """
        if reason := self._why_not(model, execution.variant):
            raise UnsupportedError(reason)
        check_variant(self, model.cell, execution.variant)
        check_dtype(self, execution)
        self._import()
        return self._trainer(model, optimizer, parameters, execution)

    @abstractmethod
    def _trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer of a checked variant; the libraries are imported."""

    def _why_not(self, model: Model, variant: str) -> str | None:
        if model.tied_readout:
            return (
                f"{self.title}'s readout has a weight of its own in the harness: "
                "leave --tied-readout out"
            )
        return self._why_no_variant(model.cell, variant)

    def _why_no_variant(self, cell: Cell, variant: str) -> str | None:
        own = self.variants(cell)
        all_variants = {name for names in self.cells.values() for name in names}
        if own and (variant in own or variant not in all_variants):
            return None
        if own:
            return (
                f"{self.title} computes {cell.name} in {self.name}:{own[0]}, not in "
                f"{self.name}:{variant}"
            )
        names = ", ".join(kind.name for kind, variants in self.cells.items() if variants)
        return (
            f"{self.title} has no cell that computes {cell.name}; the harness runs {names} with it"
        )

    def _import(self) -> None:
        try:
            for library in self.libraries:
                import_module(library)
        except Exception as error:  # a broken installation may raise anything
            problem = f"{self.title} cannot be imported: {error}"
            raise UnavailableError(with_fix(problem, self.fix)) from error


def why_not(libraries: Mapping[str, str]) -> str | None:
    """Say which library is missing (import name -> distribution name); None if all are there."""
    for library, distribution in libraries.items():
        if find_spec(library) is None:
            return f"{distribution} is not installed"
        try:
            version(distribution)
        except PackageNotFoundError:
            return (
                f"a module named {library} is there, but no installed distribution {distribution}"
            )
    return None
