"""The plain recurrent cell (Elman 1990), with tanh or a rectifier (Le, Jaitly & Hinton 2015)."""

from __future__ import annotations

from typing import Any

from harness.contract import Cell, CellState, Tensor


class RNN(Cell):
    """Plain recurrent network with tanh, as ``torch.nn.RNN``: h' = tanh(zx + zh).

    With zx = W_ih x + b_ih and zh = W_hh h + b_hh, (B, H).
    """

    name = "rnn"
    gates = ("h",)

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        return (ops.tanh(zx + ops.product("hh", state.h)),)


class ReluRNN(Cell):
    """Plain recurrent network with a rectifier: h' = relu(zx + zh).

    ``torch.nn.RNN(nonlinearity="relu")``; with ``--initialisation identity`` the IRNN.
    """

    name = "rnn_relu"
    gates = ("h",)

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        return (ops.relu(zx + ops.product("hh", state.h)),)
