"""Variant ``scan``: ``lax.scan`` over a cell's ``step``, differentiated by JAX."""

from __future__ import annotations

from jax import Array, lax

from harness.contract import Cell
from harness_jax.ops import OPS, transposed

States = tuple[Array, ...]


def scan(
    cell: Cell, zx: Array, weight_hh: Array, bias_hh: Array, state: States, probe: Array | None
) -> tuple[Array, States]:
    """Run one layer over all time steps.

    Args:
        cell: the equations.
        zx: (T, B, G*H) input products.
        weight_hh: (G*H, H).
        bias_hh: (G*H,).
        state: the initial state, each (B, H).
        probe: (T, B, H) zeros added to each h_t, so that their gradient is d loss / d h_t; or None.

    Returns:
        h (T, B, H) and the final state, each (B, H).
    """
    recurrent = transposed(weight_hh)

    def advance(state: States, now: tuple[Array, Array | None]) -> tuple[States, Array]:
        zx_t, probe_t = now
        state = cell.step(OPS, zx_t, state[0] @ recurrent + bias_hh, state)
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        return state, state[0]

    final, hidden = lax.scan(advance, state, (zx, probe))
    return hidden, final
