"""Variant ``scan``: ``lax.scan`` over a cell's ``step``, differentiated by JAX."""

from __future__ import annotations

from jax import Array, lax

from harness.contract import Cell
from harness.recurrence import step_of
from harness_jax.recurrence.weights import LayerOps, Weights, own

States = tuple[Array, ...]


def scan(
    cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None
) -> tuple[Array, States]:
    """Run one layer over all time steps, in the dtype of ``zx``.

    Args:
        cell: the equations.
        zx: (T, B, G*H) input products.
        weights: of the cell's products and its vectors, by parameter name without the layer.
        state: the initial state, each (B, H).
        probe: (T, B, H) zeros added to each h_t, so that their gradient is d loss / d h_t; or None.

    Returns:
        h (T, B, H) and the final state, each (B, H).
    """
    step, ops = step_of(cell), LayerOps(cell, weights)

    def advance(state: States, now: tuple[Array, Array | None]) -> tuple[States, Array]:
        zx_t, probe_t = now
        state = step(ops, zx_t, state, own(cell, weights, zx_t))
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        return state, state[0]

    final, hidden = lax.scan(advance, state, (zx, probe))
    return hidden, final
