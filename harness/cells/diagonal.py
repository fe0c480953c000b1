"""Cells whose recurrence is diagonal: each unit reads its own old state alone, by no product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Cell, CellState, Ops, Tensor


class IndRNN(Cell):
    """Independently recurrent network: h' = relu(zx + u * h), with u a learnt vector (H,).

    With zx = W x + b, (B, H). Li et al. 2018, eq. 2. u starts as U(0, 1). They draw it so too, and
    keep abs(u) below 2^(1/T), or so, while they train; nothing bounds it here.

    Oracle: ``rnn_relu`` with the recurrent weights diag(u).
    """

    name = "indrnn"
    gates = ("h",)
    products = ()
    vectors = ("u",)

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        return (ops.relu(zx + own.u * state.h),)

    def initial_vectors(
        self, hidden: int, rng: np.random.Generator
    ) -> Mapping[str, NDArray[np.floating]]:
        """Return u from U(0, 1): units with memories of different lengths."""
        return {"u": rng.uniform(0.0, 1.0, hidden)}


class SRU(Cell):
    """Simple recurrent unit: gates f r c s, no recurrent weights.

    With zx = W x + b, all (B, H), and learnt vectors v_f, v_r (H,)::

        f = sigmoid(zx_f + v_f * c)        r = sigmoid(zx_r + v_r * c)
        c' = f * c + (1 - f) * zx_c
        h' = r * c' + (1 - r) * zx_s

    Lei et al. 2018, eqs. 1 to 4. Deviations: zx_c and zx_s have a bias; the highway connection
    zx_s always has weights, where they take x itself if it is as wide as h; it is not rescaled.

    Oracle: torch autograd of the equations.
    """

    name = "sru"
    gates = ("f", "r", "c", "s")
    states = ("h", "c")
    products = ()
    vectors = ("v_f", "v_r")
    memory_gate = "f"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h', c')."""
        zx_f, zx_r, zx_c, zx_s = ops.split(zx, 4)
        f = ops.sigmoid(zx_f + own.v_f * state.c)
        r = ops.sigmoid(zx_r + own.v_r * state.c)
        c = f * state.c + (1.0 - f) * zx_c
        return r * c + (1.0 - r) * zx_s, c

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f without v_f * c, the share of c that one step keeps."""
        return ops.sigmoid(biases["f"])


class SignedDiagonal(Cell):
    """Linear diagonal network with eigenvalues in (-1, 1): h' = tanh(4 zx_a) * h + zx_b.

    With zx = W x + b, all (B, H): gates a b, no recurrent weights. A negative eigenvalue lets one
    unit alternate, so the cell can learn parity at any length (Grazzi et al. 2024,
    arXiv:2411.12537). The 4 brings eigenvalues near -1 and 1 within reach of small weights.

    Oracle: the sum over all inputs, each times the later eigenvalues.
    """

    name = "diagonal_signed"
    gates = ("a", "b")
    products = ()

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_a, zx_b = ops.split(zx, 2)
        return (ops.tanh(4.0 * zx_a) * state.h + zx_b,)


class PositiveDiagonal(Cell):
    """Linear diagonal network with eigenvalues in (0, 1): h' = sigmoid(8 zx_a) * h + zx_b.

    sigmoid(8 z) = (1 + tanh(4 z)) / 2: it is ``diagonal_signed`` with another range of eigenvalues,
    and cannot learn parity (Grazzi et al. 2024, theorem 1).

    Oracle: as for ``diagonal_signed``.
    """

    name = "diagonal_positive"
    gates = ("a", "b")
    products = ()

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h',)."""
        zx_a, zx_b = ops.split(zx, 2)
        return (ops.sigmoid(8.0 * zx_a) * state.h + zx_b,)

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return the eigenvalue, the share of h that one step keeps."""
        return ops.sigmoid(8.0 * biases["a"])
