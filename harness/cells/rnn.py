"""The plain recurrent cell (Elman 1990), with tanh or a rectifier (Le, Jaitly & Hinton 2015)."""

from __future__ import annotations

from harness.contract import Cell, CellState, Ops, Tensor


class RNN(Cell):
    """Plain recurrent network with tanh, as ``torch.nn.RNN``: h' = tanh(zx + zh).

    With zx = W_ih x + b_ih and zh = W_hh h + b_hh, (B, H).
    """

    name = "rnn"
    gates = ("h",)

    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return (h',)."""
        return (ops.tanh(zx + zh),)

    def step_gradient(
        self,
        ops: Ops,
        zx: Tensor,
        zh: Tensor,
        state: CellState,
        new_state: CellState,
        d_new_state: CellState,
    ) -> tuple[Tensor, Tensor, CellState]:
        """Return d tanh = 1 - h'^2."""
        (h,), (d_h,) = new_state, d_new_state
        d_z = d_h * (1.0 - h * h)
        return d_z, d_z, (0.0,)


class ReluRNN(Cell):
    """Plain recurrent network with a rectifier: h' = relu(zx + zh).

    ``torch.nn.RNN(nonlinearity="relu")``; with ``--initialisation identity`` the IRNN.
    """

    name = "rnn_relu"
    gates = ("h",)

    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return (h',)."""
        return (ops.relu(zx + zh),)

    def step_gradient(
        self,
        ops: Ops,
        zx: Tensor,
        zh: Tensor,
        state: CellState,
        new_state: CellState,
        d_new_state: CellState,
    ) -> tuple[Tensor, Tensor, CellState]:
        """Return d relu = 1 where h' > 0."""
        (h,), (d_h,) = new_state, d_new_state
        d_z = d_h * ops.positive(h)
        return d_z, d_z, (0.0,)
