"""Variant ``fused``: the derived BPTT of any cell, on the fastest kernel that it has."""

from __future__ import annotations

from harness.contract import Cell
from harness.recurrence import derive
from harness_torch.recurrence.kernel import KernelLayer
from harness_torch.recurrence.linear import SerialKernel
from harness_torch.written.inplace import InPlaceKernel


def fused_layer(cell: Cell) -> KernelLayer:
    """Return a layer on the fastest kernel for ``cell``."""
    return KernelLayer(SerialKernel(cell) if derive(cell).linear else InPlaceKernel(cell))
