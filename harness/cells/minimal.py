"""The minimal GRU and LSTM (Feng et al. 2024): gates see only the input; linear in the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Cell, CellState, Ops, Tensor


class MinGRU(Cell):
    """Minimal gated recurrent unit: gates z h, no recurrent weights.

    With zx = W x + b, all (B, H)::

        z = sigmoid(zx_z)        g = zx_h
        h' = (1 - z) * h + z * g

    Feng et al. 2024, "Were RNNs All We Needed?" (arXiv:2410.01201), section 3.1, without their
    log-space form, which replaces g by a positive function of zx_h. As in that paper, and unlike
    in ``gru``, z is the share of the *new* value.
    """

    name = "mingru"
    gates = ("z", "h")
    products = ()
    memory_gate = "z"
    memory_sign = -1

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_z, g = ops.split(zx, 2)
        z = ops.sigmoid(zx_z)
        return ((1.0 - z) * state.h + z * g,)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return 1 - z."""
        return ops.sigmoid(-biases["z"])


class MinLSTM(Cell):
    """Minimal long short-term memory: gates f i h, no recurrent weights and no separate cell state.

    With zx = W x + b, all (B, H)::

        f, i = sigmoid(zx_f), sigmoid(zx_i)        g = zx_h
        f' = f / (f + i)                           i' = i / (f + i) = 1 - f'
        h' = f' * h + i' * g

    Feng et al. 2024 (arXiv:2410.01201), section 3.2, with the normalised gates that keep the scale
    of h independent of T, and without their log-space form. The quotient is taken as the logistic
    function of log f - log i: f / (f + i) itself is 0 / 0 where both gates round to 0.
    """

    name = "minlstm"
    gates = ("f", "i", "h")
    products = ()
    memory_gate = "f"
    input_gate = "i"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_f, zx_i, g = ops.split(zx, 3)
        log_ratio = ops.softplus(-zx_i) - ops.softplus(-zx_f)
        return (ops.sigmoid(log_ratio) * state.h + ops.sigmoid(-log_ratio) * g,)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f'."""
        return ops.sigmoid(ops.softplus(-biases["i"]) - ops.softplus(-biases["f"]))
