"""The GRU (Cho et al. 2014) as in cuDNN and ``torch.nn.GRU``: reset *after* the product with h."""

from __future__ import annotations

from collections.abc import Mapping

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

    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return (h',)."""
        _, z, n, _ = self._gates(ops, zx, zh)
        return (n + z * (state[0] - n),)

    def step_gradient(
        self,
        ops: Ops,
        zx: Tensor,
        zh: Tensor,
        state: CellState,
        new_state: CellState,
        d_new_state: CellState,
    ) -> tuple[Tensor, Tensor, CellState]:
        """Return the gradient; d_zx and d_zh differ in the n part, by the factor r."""
        (h,), (d_h,) = state, d_new_state
        r, z, n, zh_n = self._gates(ops, zx, zh)
        d_n = d_h * (1.0 - z) * (1.0 - n * n)
        d_z = d_h * (h - n) * z * (1.0 - z)
        d_r = d_n * zh_n * r * (1.0 - r)
        return ops.concatenate([d_r, d_z, d_n]), ops.concatenate([d_r, d_z, d_n * r]), (d_h * z,)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return z, the share of h that one step keeps."""
        return ops.sigmoid(biases["z"])

    @staticmethod
    def _gates(ops: Ops, zx: Tensor, zh: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        zx_r, zx_z, zx_n = ops.split(zx, 3)
        zh_r, zh_z, zh_n = ops.split(zh, 3)
        r = ops.sigmoid(zx_r + zh_r)
        return r, ops.sigmoid(zx_z + zh_z), ops.tanh(zx_n + r * zh_n), zh_n
