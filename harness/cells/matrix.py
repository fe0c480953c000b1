"""Cells whose state is a matrix: a memory of pairs, written by outer products, read by a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Cell, CellState, Ops, Tensor

SMALLEST = 1e-6  # added to the square of a norm


class GatedDelta(Cell):
    """Gated delta rule: gates q k v a b, a state S that is a matrix (B, H, H).

    With zx = W x + b, all (B, H) but S, no recurrent weights::

        q, k = unit(silu(zx_q)), unit(silu(zx_k))        v = silu(zx_v)
        a, b = sigmoid(zx_a), sigmoid(zx_b)
        S' = a S + b (v - a (S k)) k^T       that is a S (I - b k k^T) + b v k^T with scalars a, b
        h' = S' q

    silu(z) = z sigmoid(z), and unit(z) = z / sqrt(z . z + 1e-6).

    Yang et al. 2024, arXiv:2412.06464, eq. 10. Deviations: one head; a and b have a value for each
    row of S, where theirs have one per head, and a is a sigmoid; no convolution before q, k and v,
    and no normalisation or gate after h.

    Oracle: torch autograd of the equations; for scalar a and b, the products of the matrices
    a (I - b k k^T).
    """

    name = "gated_delta"
    gates = ("q", "k", "v", "a", "b")
    states = ("h", "S")
    matrix_states = ("S",)
    products = ()
    memory_gate = "a"
    input_gate = "b"

    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return (h', S')."""
        z_q, z_k, z_v, z_a, z_b = ops.split(zx, 5)
        q, k = _unit(ops, _silu(ops, z_q)), _unit(ops, _silu(ops, z_k))
        a, b = ops.sigmoid(z_a), ops.sigmoid(z_b)
        kept = a * state.S
        written = b * (_silu(ops, z_v) - ops.contract(kept, k))
        S = kept + ops.outer(written, k)
        return ops.contract(S, q), S

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return a, the share of S that one step keeps if it writes nothing."""
        return ops.sigmoid(biases["a"])


def _silu(ops: Ops, z: Tensor) -> Tensor:
    return z * ops.sigmoid(z)


def _unit(ops: Ops, z: Tensor) -> Tensor:
    """Return z / |z|, (B, H); 0 at 0."""
    return z / ops.sqrt(ops.contract(z, z) + SMALLEST)
