"""The LSTM (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Cell, CellState, Ops, Tensor


class LSTM(Cell):
    """Long short-term memory, as ``torch.nn.LSTM``: gates i f g o, no peepholes.

    All (B, H), with z = zx + zh (B, 4H)::

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)        g = tanh(z_g)
        c' = f * c + i * g
        h' = o * tanh(c')
    """

    name = "lstm"
    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    memory_gate = "f"
    input_gate = "i"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h', c')."""
        z_i, z_f, z_g, z_o = ops.split(zx + ops.product("hh", state.h), 4)
        c = ops.sigmoid(z_f) * state.c + ops.sigmoid(z_i) * ops.tanh(z_g)
        return ops.sigmoid(z_o) * ops.tanh(c), c

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f, the share of c that one step keeps."""
        return ops.sigmoid(biases["f"])
