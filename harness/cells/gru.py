"""The GRU (Cho et al. 2014): the reset after or before the product with h, and with one gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Cell, CellState, Ops, Product, Tensor


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


class InputBiasGRU(GRU):
    """GRU without recurrent biases, as ``flax.nnx.GRUCell``: gates r z n.

    All (B, H), with zh = W_hh h, without a bias::

        r = sigmoid(zx_r + zh_r)        z = sigmoid(zx_z + zh_z)
        n = tanh(zx_n + r * zh_n)
        h' = (1 - z) * n + z * h

    ``gru`` differs by b_hn alone, which r multiplies there.

    Oracle: ``flax.nnx.GRUCell``.
    """

    name = "gru_input_bias"
    products = (Product(bias=False),)


class ResetBeforeGRU(Cell):
    """GRU that resets h before the product, as Cho et al. 2014: gates r z n.

    All (B, H), with (zh_r, zh_z) = W_hh h (B, 2H); one bias per gate, in zx::

        r = sigmoid(zx_r + zh_r)        z = sigmoid(zx_z + zh_z)
        n = tanh(zx_n + W_hn (r * h))
        h' = (1 - z) * n + z * h

    Cho et al. 2014, eqs. 5 to 8, with biases.

    Oracles: ``keras.layers.GRU(reset_after=False)``, ``haiku.GRU`` (its z is 1 - z here).
    """

    name = "gru_reset_before"
    gates = ("r", "z", "n")
    products = (Product("hh", ("r", "z"), bias=False), Product("hn", ("n",), bias=False))
    memory_gate = "z"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_r, zx_z, zx_n = ops.split(zx, 3)
        zh_r, zh_z = ops.split(ops.product("hh", state.h), 2)
        z = ops.sigmoid(zx_z + zh_z)
        n = ops.tanh(zx_n + ops.product("hn", ops.sigmoid(zx_r + zh_r) * state.h))
        return (n + z * (state.h - n),)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return z, the share of h that one step keeps."""
        return ops.sigmoid(biases["z"])


class MGU(Cell):
    """Minimal gated unit, a GRU whose one gate resets and updates: gates f n.

    All (B, H); one bias per gate, in zx::

        f = sigmoid(zx_f + W_hh h)
        n = tanh(zx_n + W_hn (f * h))
        h' = (1 - f) * h + f * n

    Zhou et al. 2016, eqs. 6. In spite of its name, f is the share of the *new* value.

    Oracle: torch autograd of the equations.
    """

    name = "mgu"
    gates = ("f", "n")
    products = (Product("hh", ("f",), bias=False), Product("hn", ("n",), bias=False))
    memory_gate = "f"
    memory_sign = -1

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_f, zx_n = ops.split(zx, 2)
        f = ops.sigmoid(zx_f + ops.product("hh", state.h))
        n = ops.tanh(zx_n + ops.product("hn", f * state.h))
        return (state.h + f * (n - state.h),)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return 1 - f."""
        return ops.sigmoid(-biases["f"])
