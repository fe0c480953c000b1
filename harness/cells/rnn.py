"""The plain recurrent cell (Elman 1990), with tanh, a rectifier or a learnt leak."""

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

    ``torch.nn.RNN(nonlinearity="relu")``; with ``--initialisation identity`` the IRNN (Le, Jaitly &
    Hinton 2015).
    """

    name = "rnn_relu"
    gates = ("h",)

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        return (ops.relu(zx + ops.product("hh", state.h)),)


class Leaky(Cell):
    """Leaky integrator with a learnt leak per unit: h' = (1 - a) * h + a * tanh(zx + zh).

    With zx = W_ih x + b_ih and zh = W_hh h + b_hh, (B, H), and a = sigmoid(leak), (H,). Jaeger et
    al. 2007, eq. 2, whose leak is fixed; it is also a continuous-time network in steps of Euler's
    method, a = (time step) / (time constant). At the start a is near 1/2.

    Oracle: torch autograd of the equations.
    """

    name = "leaky"
    gates = ("h",)
    vectors = ("leak",)

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        a = ops.sigmoid(own.leak)
        return ((1.0 - a) * state.h + a * ops.tanh(zx + ops.product("hh", state.h)),)
