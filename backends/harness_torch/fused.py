"""Variant ``fused``: the hand-derived BPTT of any cell, with kernels of their own for the well-known ones."""

from __future__ import annotations

from torch import Tensor

from harness.contract import Cell
from harness_torch.generic import GenericKernel
from harness_torch.kernel import States, run_kernel
from harness_torch.layer import LayerWeights, input_product
from harness_torch.tuned import tuned_kernel


class FusedLayer:
    """One layer. It keeps its buffers, so it is good for one forward and backward at a time."""

    def __init__(self, cell: Cell) -> None:
        self._tuned = tuned_kernel(cell)
        self._kernel = self._tuned or GenericKernel(cell)

    def __call__(
        self, values: Tensor, weights: LayerWeights, state: States, probe: Tensor | None
    ) -> tuple[Tensor, States]:
        """Run the layer over all time steps."""
        if self._tuned is not None:
            weights = self._tuned.fold(weights)
        zx = input_product(values, weights.weight_ih, weights.bias_ih)
        return run_kernel(self._kernel, zx, weights.weight_hh, weights.bias_hh, state, probe)
