"""What the NumPy backend says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from harness.contract import (
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
from harness_native import native_is_built, native_versions, settle_native
from harness_numpy.products import product_chain
from harness_numpy.trainer import NumpyTrainer
from harness_numpy.variants import VARIANTS

COMPILED = ("native", "numba")  # the faster first
# What they save against ``vectorised`` per time step, at least; lstm: 100/1 30 us, 128/32 70 us,
# 512/64 600 us.
SAVED_SECONDS_PER_STEP = 2e-5
SAVED_SECONDS_PER_ELEMENT = 1.5e-8
NOMINAL_LENGTH = 64
LOADING_SECONDS = 1.0  # of compiled code from disk


class NumpyBackend(Backend):
    """NumPy on the CPU.

    ``vectorised``: products hoisted out of the time loop, any cell; in float64 everyone's
    reference. ``loop``: one time step after the other, any cell; the textbook's way, to read and to
    compare with. ``numba``: pointwise work, loss and Adam compiled, for rnn, rnn_relu, lstm and
    gru; needs Numba. ``native``: the C kernel of ``harness_native``, where it can be built.
    """

    name = "numpy"
    checkpoints = True

    def availability(self) -> Available | Missing:
        """Return ``Available``: NumPy comes with the harness."""
        return Available()

    def versions(self) -> dict[str, str]:
        """Return the version of NumPy, Numba's where it is installed, and which compiler the kernel is built by."""
        found = {"numpy": np.__version__, **native_versions()}
        with suppress(PackageNotFoundError):
            found["numba"] = version("numba")
        return found

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return ``vectorised`` and ``loop``, which run any cell, and ``numba`` and ``native`` for those they have."""
        return tuple(name for name, variant in VARIANTS.items() if variant.runs(cell))

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return those whose libraries are not installed, or that cannot be built."""
        found = {name: variant.missing() for name, variant in VARIANTS.items()}
        return {name: missing for name, missing in found.items() if missing is not None}

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the fastest compiled variant where a trial of this size would earn back loading it.

        The length does not count, so that all lengths of a plan share one variant. The kernel is
        built to find out whether it can be: if not, another is taken here, and ``native`` is
        missing from then on.
        """
        time_step = SAVED_SECONDS_PER_STEP + SAVED_SECONDS_PER_ELEMENT * trial.batch * trial.hidden
        saved = trial.steps * trial.layers * NOMINAL_LENGTH * time_step
        offered = self.variants(cell) if saved > LOADING_SECONDS else ()
        usable = (
            name for name in COMPILED if name in offered and (name != "native" or native_is_built())
        )
        return next(usable, "vectorised")

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnavailableError: there is, but not here.
            UnsupportedError: the device is not ``cpu``.
            UsageError: it does not compute in this dtype.
        """
        if execution.device != "cpu":
            raise UnsupportedError(f"numpy runs on the device cpu only, not on {execution.device}")
        settle_native(execution.variant, model.cell)
        check_variant(self, model.cell, execution.variant)
        check_dtype(self, execution)
        return NumpyTrainer(model, optimizer, parameters, execution)

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array]:
        """Return the chain of products in this engine."""
        return product_chain(start, matrices, execution.dtype)
