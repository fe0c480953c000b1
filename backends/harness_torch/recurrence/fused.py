"""Variant ``fused``: the derived BPTT of any cell, on the fastest kernel that it has."""

from __future__ import annotations

from harness.contract import Cell
from harness.recurrence import derive
from harness_torch.recurrence.generic import GenericKernel
from harness_torch.recurrence.kernel import KernelLayer
from harness_torch.recurrence.linear import SerialKernel
from harness_torch.written.emit import Unwritable
from harness_torch.written.inplace import InPlaceKernel


def fused_layer(cell: Cell) -> KernelLayer:
    """Return a layer on the fastest kernel for ``cell``."""
    if derive(cell).linear:
        return KernelLayer(SerialKernel(cell))
    try:
        return KernelLayer(InPlaceKernel(cell))
    except Unwritable:
        return KernelLayer(GenericKernel(cell))
