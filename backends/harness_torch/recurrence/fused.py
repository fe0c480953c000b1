"""Layers on hand-derived kernels: variant ``fused`` for any cell, ``parallel`` for those linear in their state."""

from __future__ import annotations

from torch import Tensor

from harness.contract import Cell, LinearCell
from harness_torch.recurrence.generic import GenericKernel
from harness_torch.recurrence.kernel import Kernel, run_kernel
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.linear import ScanKernel, SerialKernel
from harness_torch.recurrence.tuned import tuned_kernel


class KernelLayer:
    """One layer on a kernel. It keeps its buffers, so it is good for one forward and backward at a time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __call__(
        self, values: Tensor, weights: LayerWeights, state: States, probe: Tensor | None
    ) -> tuple[Tensor, States]:
        """Run the layer over all time steps."""
        return run_kernel(self._kernel, values, weights, state, probe)


def fused_layer(cell: Cell) -> KernelLayer:
    """Return a layer on the fastest kernel for ``cell``."""
    linear = SerialKernel(cell) if isinstance(cell, LinearCell) else None
    return KernelLayer(tuned_kernel(cell) or linear or GenericKernel(cell))


def parallel_layer(cell: Cell) -> KernelLayer:
    """Return a layer that takes all time steps at once.

    Raises:
        TypeError: the cell is not linear in its state.
    """
    if not isinstance(cell, LinearCell):
        raise TypeError(f"{cell.name} is not linear in its state")
    return KernelLayer(ScanKernel(cell))


def compiled_layer(cell: Cell) -> KernelLayer:
    """Return a layer whose time steps ``torch.compile`` compiles."""
    from harness_torch.recurrence.compiled import (
        CompiledKernel,
    )  # the compiler takes seconds to import

    return KernelLayer(CompiledKernel(cell))
