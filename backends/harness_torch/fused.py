"""Variant ``fused``: the hand-derived BPTT of any cell, with kernels of their own for the well-known ones."""

from __future__ import annotations

from torch import Tensor

from harness.contract import Cell
from harness_torch.generic import GenericKernel
from harness_torch.kernel import run_kernel
from harness_torch.layer import LayerWeights, States
from harness_torch.tuned import tuned_kernel


class FusedLayer:
    """One layer. It keeps its buffers, so it is good for one forward and backward at a time."""

    def __init__(self, cell: Cell) -> None:
        self._kernel = tuned_kernel(cell) or GenericKernel(cell)

    def __call__(
        self, values: Tensor, weights: LayerWeights, state: States, probe: Tensor | None
    ) -> tuple[Tensor, States]:
        """Run the layer over all time steps."""
        return run_kernel(self._kernel, values, weights, state, probe)
