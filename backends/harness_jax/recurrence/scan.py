"""Variant ``scan``: ``lax.scan`` over a cell's ``step``, differentiated by JAX."""

from __future__ import annotations

from jax import Array, lax

from harness.contract import Cell
from harness.recurrence.classic import classic
from harness_jax.recurrence.ops import OPS, transposed

States = tuple[Array, ...]


def scan(
    cell: Cell,
    zx: Array,
    weight_hh: Array | None,
    bias_hh: Array | None,
    state: States,
    probe: Array | None,
) -> tuple[Array, States]:
    """Run one layer over all time steps, in the dtype of ``zx``.

    Args:
        cell: the equations.
        zx: (T, B, G*H) input products.
        weight_hh: (G*H, H); None for a cell that is not recurrent.
        bias_hh: (G*H,), or None with it.
        state: the initial state, each (B, H).
        probe: (T, B, H) zeros added to each h_t, so that their gradient is d loss / d h_t; or None.

    Returns:
        h (T, B, H) and the final state, each (B, H).
    """
    recurrent = None if weight_hh is None else transposed(weight_hh)

    def advance(state: States, now: tuple[Array, Array | None]) -> tuple[States, Array]:
        zx_t, probe_t = now
        state = classic(cell).step(
            OPS, zx_t, recurrent_product(state[0], recurrent, bias_hh), state
        )
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        return state, state[0]

    final, hidden = lax.scan(advance, state, (zx, probe))
    return hidden, final


def recurrent_product(h: Array, recurrent: Array | None, bias_hh: Array | None) -> Array | None:
    """Return zh (B, G*H) = h @ recurrent + bias_hh in the dtype of ``h``; None if not recurrent.

    The weight (H, G*H) is rounded here and not before the time loop, so that its gradient is summed
    in its own dtype.
    """
    if recurrent is None or bias_hh is None:
        return None
    return h @ recurrent.astype(h.dtype) + bias_hh.astype(h.dtype)
