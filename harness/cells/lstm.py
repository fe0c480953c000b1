"""The LSTM (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000)."""

from __future__ import annotations

from collections.abc import Mapping

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

    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return (h', c')."""
        i, f, g, o = self._gates(ops, zx + zh)
        c = f * state[1] + i * g
        return o * ops.tanh(c), c

    def step_gradient(
        self,
        ops: Ops,
        zx: Tensor,
        zh: Tensor,
        state: CellState,
        new_state: CellState,
        d_new_state: CellState,
    ) -> tuple[Tensor, Tensor, CellState]:
        """Return the gradient; in total, d c' = d_c' + d_h' * o * (1 - tanh(c')^2)."""
        (_, c_old), (_, c), (d_h, d_c) = state, new_state, d_new_state
        i, f, g, o = self._gates(ops, zx + zh)
        tanh_c = ops.tanh(c)
        d_c = d_c + d_h * o * (1.0 - tanh_c * tanh_c)
        d_z = ops.concatenate(
            [
                d_c * g * i * (1.0 - i),
                d_c * c_old * f * (1.0 - f),
                d_c * i * (1.0 - g * g),
                d_h * tanh_c * o * (1.0 - o),
            ]
        )
        return d_z, d_z, (0.0, d_c * f)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f, the share of c that one step keeps."""
        return ops.sigmoid(biases["f"])

    @staticmethod
    def _gates(ops: Ops, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        z_i, z_f, z_g, z_o = ops.split(z, 4)
        return ops.sigmoid(z_i), ops.sigmoid(z_f), ops.tanh(z_g), ops.sigmoid(z_o)
