"""The LSTM (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000), and variants."""

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


class PeepholeLSTM(Cell):
    """LSTM whose gates also see the cell state, each unit its own: gates i f g o.

    All (B, H), with z = zx + zh (B, 4H) and a learnt vector p (H,) per sigmoid::

        i = sigmoid(z_i + p_i * c)      f = sigmoid(z_f + p_f * c)      g = tanh(z_g)
        c' = f * c + i * g
        o = sigmoid(z_o + p_o * c')     h' = o * tanh(c')

    Gers & Schmidhuber 2000; the equations are those of Greff et al. 2017, section II.A.

    Oracle: torch autograd of the equations.
    """

    name = "lstm_peephole"
    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    vectors = ("peephole_i", "peephole_f", "peephole_o")
    memory_gate = "f"
    input_gate = "i"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h', c')."""
        z_i, z_f, z_g, z_o = ops.split(zx + ops.product("hh", state.h), 4)
        i = ops.sigmoid(z_i + own.peephole_i * state.c)
        f = ops.sigmoid(z_f + own.peephole_f * state.c)
        c = f * state.c + i * ops.tanh(z_g)
        return ops.sigmoid(z_o + own.peephole_o * c) * ops.tanh(c), c

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f without its peephole, the share of c that one step keeps."""
        return ops.sigmoid(biases["f"])


class CoupledLSTM(Cell):
    """LSTM that admits as much as it forgets, i = 1 - f: gates f g o.

    All (B, H), with z = zx + zh (B, 3H)::

        f, o = sigmoid(z_f), sigmoid(z_o)        g = tanh(z_g)
        c' = f * c + (1 - f) * g
        h' = o * tanh(c')

    "CIFG" of Greff et al. 2017, without peepholes.

    Oracle: ``lstm`` with z_i = -z_f.
    """

    name = "lstm_coupled"
    gates = ("f", "g", "o")
    states = ("h", "c")
    memory_gate = "f"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h', c')."""
        z_f, z_g, z_o = ops.split(zx + ops.product("hh", state.h), 3)
        f = ops.sigmoid(z_f)
        c = f * state.c + (1.0 - f) * ops.tanh(z_g)
        return ops.sigmoid(z_o) * ops.tanh(c), c

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f, the share of c that one step keeps."""
        return ops.sigmoid(biases["f"])
