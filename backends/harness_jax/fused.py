"""Variant ``fused``: the hand-derived BPTT of any cell as one ``custom_vjp`` per layer.

The forward scan keeps what ``step_gradient`` asks for; the reverse scan gives d_zx and d_zh, from which the weight's
gradient is one product over all time steps, and d loss / d h_t, which travels as the cotangent of the probe.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.contract import Cell
from harness_jax.ops import OPS, transposed

States = tuple[Array, ...]
Result = tuple[Array, States]
Kept = tuple[Array, Array, Array, States, States, Array | None]  # zx, weight_hh, zh, initial state, states, probe


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused(cell: Cell, zx: Array, weight_hh: Array, bias_hh: Array, state: States, probe: Array | None) -> Result:
    """Run one layer over all time steps; arguments and result as ``harness_jax.scan.scan``.

    The gradient is cut at the initial state (truncated BPTT). The probe is not added, only differentiated for.
    """
    return _forward(cell, zx, weight_hh, bias_hh, state, probe)[0]


def _forward(
    cell: Cell, zx: Array, weight_hh: Array, bias_hh: Array, state: States, probe: Array | None
) -> tuple[Result, Kept]:
    recurrent = transposed(weight_hh)

    def advance(state: States, zx_t: Array) -> tuple[States, tuple[Array, States]]:
        zh_t = state[0] @ recurrent + bias_hh
        state = cell.step(OPS, zx_t, zh_t, state)
        return state, (zh_t, state)

    final, (zh, states) = lax.scan(advance, state, zx)
    return (states[0], final), (zx, weight_hh, zh, state, states, probe)


def _backward(cell: Cell, kept: Kept, cotangent: tuple[Array, Any]) -> tuple[Any, ...]:
    zx, weight_hh, zh, start, states, probe = kept
    before = tuple(jnp.concatenate([first[None], part[:-1]]) for first, part in zip(start, states, strict=True))

    def retreat(d_state: States, now: tuple[Any, ...]) -> tuple[States, tuple[Array, Array | None, Array | None]]:
        zx_t, zh_t, state, new_state, d_output = now
        d_h = d_state[0] + d_output
        d_zx, d_zh, parts = cell.step_gradient(OPS, zx_t, zh_t, state, new_state, (d_h, *d_state[1:]))
        d_state = tuple(_full(part, d_h) for part in parts)
        d_state = (d_state[0] + d_zh @ weight_hh, *d_state[1:])
        return d_state, (d_zx, None if d_zh is d_zx else d_zh, None if probe is None else d_h)

    nothing = tuple(jnp.zeros_like(part) for part in start)
    _, (d_zx, d_zh, d_probe) = lax.scan(retreat, nothing, (zx, zh, before, states, cotangent[0]), reverse=True)
    rows = (d_zx if d_zh is None else d_zh).reshape(-1, zx.shape[-1])
    d_weight = rows.T @ before[0].reshape(-1, weight_hh.shape[1])
    return d_zx, d_weight, rows.sum(0), nothing, d_probe


def _full(part: Array | float, like: Array) -> Array:
    """Return an array where a cell gave the number that stands for one."""
    return part if isinstance(part, Array) else jnp.full_like(like, part)


fused.defvjp(_forward, _backward)
