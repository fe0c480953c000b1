"""The GRU (Cho et al. 2014) as in cuDNN and ``torch.nn.GRU``: reset *after* the product with h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Cell, CellState, Ops, Tensor


class GRU(Cell):
    """Gated recurrent unit, as ``torch.nn.GRU``: gates r z n, reset after the product.

    All (B, H)::

        r = sigmoid(zx_r + zh_r)        z = sigmoid(zx_z + zh_z)
        n = tanh(zx_n + r * zh_n)
        h' = (1 - z) * n + z * h

    Deviation from Cho et al.: they reset h before the product, ``W_hn (r * h)``. Here it is
    ``r * (W_hn h + b_hn)``.
    """

    name = "gru"
    gates = ("r", "z", "n")
    memory_gate = "z"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_r, zx_z, zx_n = ops.split(zx, 3)
        zh_r, zh_z, zh_n = ops.split(ops.product("hh", state.h), 3)
        z = ops.sigmoid(zx_z + zh_z)
        n = ops.tanh(zx_n + ops.sigmoid(zx_r + zh_r) * zh_n)
        return (n + z * (state.h - n),)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return z, the share of h that one step keeps."""
        return ops.sigmoid(biases["z"])
