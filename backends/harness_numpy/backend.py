"""What the NumPy backend says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
    UnknownNameError,
    UnsupportedError,
)
from harness_native import native_missing, native_variants, native_versions
from harness_numpy.products import product_chain
from harness_numpy.trainer import NumpyTrainer


class NumpyBackend(Backend):
    """NumPy on the CPU.

    ``vectorised``: products hoisted out of the time loop, any cell; in float64 everyone's reference.
    ``loop``: one time step after the other, any cell; the textbook's way, to read and to compare with.
    ``native``: the C kernel of ``harness_native``, where it can be built.
    """

    name = "numpy"
    checkpoints = True

    def availability(self) -> Available | Missing:
        """Return ``Available``: NumPy comes with the harness."""
        return Available()

    def versions(self) -> dict[str, str]:
        """Return the version of NumPy, and which compiler the kernel is built by."""
        return {"numpy": np.__version__, **native_versions()}

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return ``vectorised`` and ``loop``, which run any cell, and ``native`` where the kernel has it."""
        return ("vectorised", "loop", *native_variants(cell))

    def missing_variants(self) -> Mapping[str, Missing]:
        """Say why there is no ``native``."""
        return native_missing()

    def trainer(self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnsupportedError: the device is not ``cpu``.
        """
        if execution.variant not in self.variants(model.cell):
            raise UnknownNameError("variant of numpy", execution.variant, self.variants(model.cell))
        if execution.device != "cpu":
            raise UnsupportedError(f"numpy runs on the device cpu only, not on {execution.device}")
        return NumpyTrainer(model, optimizer, parameters, execution)

    def product_chain(self, start: Array, matrices: Sequence[Array], execution: Execution) -> Callable[[int], Array]:
        """Return the chain of products in this engine."""
        return product_chain(start, matrices, execution.dtype)
