"""The NumPy backend's metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from harness.contract import (
    RULE_OPTIONS,
    Array,
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
    UnsupportedError,
    check_dtype,
    check_variant,
)
from harness_native import native_source, native_versions
from harness_numpy.products import product_chain
from harness_numpy.trainer import NumpyTrainer
from harness_numpy.variants import COMPILED, REFERENCE, VARIANTS, compiled_pays, unwritten


class NumpyBackend(Backend):
    """NumPy on the CPU, in the variants of ``harness_numpy.variants``."""

    name = "numpy"
    checkpoints = True
    embeddings = True
    rule_options = RULE_OPTIONS
    languages = ("c", "numpy", "numba")

    def availability(self) -> Available | Missing:
        """Return ``Available``: NumPy comes with the harness."""
        return Available()

    def versions(self) -> dict[str, str]:
        """Return the versions of NumPy, of Numba if installed, and of the kernel's compiler."""
        versions = {"numpy": np.__version__, **native_versions()}
        with suppress(PackageNotFoundError):
            versions["numba"] = version("numba")
        return versions

    def source(self, cell: Cell, language: str) -> str:
        """Return the code of the variants ``native``, ``vectorised`` and ``numba``."""
        if language == "c":
            return native_source(cell)
        if reason := unwritten(cell):
            raise UnsupportedError(reason)
        if language == "numba":
            from harness_numpy.compiled.source import source as numba_source

            return numba_source(cell)
        from harness_numpy.written.generated import source

        return source(cell)

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the variants that run the cell here, ``vectorised`` first."""
        return tuple(name for name, variant in VARIANTS.items() if variant.runs(cell))

    def reference_variant(self, cell: Cell) -> str:
        """Return the loop that interprets what was derived from the cell: no code is written."""
        return REFERENCE

    def all_variants(self) -> tuple[str, ...]:
        """Return the variants that run some cell here."""
        return tuple(name for name, variant in VARIANTS.items() if variant.missing() is None)

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return the variants that lack something here: a library or a compiler."""
        reasons = {name: variant.missing() for name, variant in VARIANTS.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the fastest compiled variant if it saves more time than it takes to load.

        It is built if need be; if that fails, another is taken. The length of the trial does not
        count, so that all lengths of a plan share one variant.
        """
        if compiled_pays(trial):
            for name in COMPILED:
                if name in self.variants(cell) and VARIANTS[name].build(cell):
                    return name
        return "vectorised"

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Return why the trial's variant cannot run this cell, or None."""
        try:
            return (
                VARIANTS[trial.variant].refusal(model.cell) if trial.variant in VARIANTS else None
            )
        except UnsupportedError as error:  # the step cannot be traced
            return str(error)

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnavailableError: the variant cannot run here.
            UnsupportedError: the device is not ``cpu``.
            UsageError: it does not compute in this dtype.
        """
        if execution.device != "cpu":
            raise UnsupportedError(f"numpy runs on the device cpu only, not on {execution.device}")
        if execution.variant in self.variants(model.cell):
            VARIANTS[execution.variant].build(model.cell)  # if that fails, the check says why
        if execution.variant != REFERENCE:
            check_variant(self, model.cell, execution.variant)
        check_dtype(self, execution)
        return NumpyTrainer(model, optimizer, parameters, execution)

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array]:
        """Return the chain of products in this engine."""
        return product_chain(start, matrices, execution.dtype)
