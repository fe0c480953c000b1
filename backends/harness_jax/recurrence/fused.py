"""Variant ``fused``: the hand-derived BPTT of any cell as one ``custom_vjp`` per layer.

The forward scan keeps the arrays that the kernel needs. The reverse scan gives d_zx, d_zh and d
loss / d h_t (the cotangent of the probe). The weight's gradient is then one product over all time
steps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.contract import Cell
from harness_jax.recurrence.kernels import Kept, Recurrent, kernel_of
from harness_jax.recurrence.ops import barred, transposed
from harness_jax.recurrence.scan import recurrent_product

States = tuple[Array, ...]
Result = tuple[Array, States]
# zx, weight_hh, bias_hh, the kernel's, initial state, states, probe
Residuals = tuple[Array, Array | None, Array | None, Kept, States, States, Array | None]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused(
    cell: Cell,
    zx: Array,
    weight_hh: Array | None,
    bias_hh: Array | None,
    state: States,
    probe: Array | None,
) -> Result:
    """Run one layer over all time steps; signature as ``harness_jax.recurrence.scan.scan``.

    The probe is not added; it only receives the gradient d loss / d h_t.
    """
    return _forward(cell, zx, weight_hh, bias_hh, state, probe)[0]


def _forward(
    cell: Cell,
    zx: Array,
    weight_hh: Array | None,
    bias_hh: Array | None,
    state: States,
    probe: Array | None,
) -> tuple[Result, Residuals]:
    kernel, recurrent = kernel_of(cell), None if weight_hh is None else transposed(weight_hh)

    def advance(state: States, zx_t: Array) -> tuple[States, tuple[Kept, States]]:
        state, kept = kernel.forward(zx_t, recurrent_product(state[0], recurrent, bias_hh), state)
        return state, (kept, state)

    final, (kept, states) = lax.scan(advance, state, zx)
    return (states[0], final), (zx, weight_hh, bias_hh, kept, state, states, probe)


def _backward(cell: Cell, residuals: Residuals, cotangent: tuple[Array, States]) -> tuple[Any, ...]:
    zx, weight_hh, bias_hh, kept, start, states, probe = residuals
    kernel, weight = kernel_of(cell), None if weight_hh is None else weight_hh.astype(zx.dtype)
    before = tuple(
        jnp.concatenate([first[None], part[:-1]]) for first, part in zip(start, states, strict=True)
    )
    factors = kernel.factors(zx, kept, before, states)

    def retreat(
        d_state: States, now: tuple[Any, ...]
    ) -> tuple[States, tuple[Kept, Recurrent, Array | None]]:
        factors_t, d_output = now
        d_h = d_state[0] + d_output
        d_parts, d_zh, d_state = kernel.backward(factors_t, (d_h, *d_state[1:]))
        if weight is not None:
            d_state = (d_state[0] + d_zh @ weight, *d_state[1:])
        return d_state, (d_parts, d_zh, None if probe is None else d_h)

    d_outputs, d_final = cotangent
    over = (factors, d_outputs)
    d_start, (d_parts, d_zh, d_probe) = lax.scan(retreat, d_final, over, reverse=True)
    d_weight, d_bias = _weight_gradients(before[0], d_zh, weight_hh, bias_hh)
    return kernel.d_zx(factors, d_parts, d_zh), d_weight, d_bias, d_start, d_probe


def _weight_gradients(
    before: Array, d_zh: Recurrent, weight_hh: Array | None, bias_hh: Array | None
) -> tuple[Array | None, Array | None]:
    """Return d_weight_hh (G*H, H) and d_bias_hh (G*H,) in their own dtype: sums over all steps."""
    if d_zh is None or weight_hh is None or bias_hh is None:
        return None, None
    rows, h = d_zh.reshape(-1, d_zh.shape[-1]), before.reshape(-1, before.shape[-1])
    # Without the barrier XLA turns this into rows.T @ h, half as fast.
    product = barred(jnp.matmul(h.T, rows, preferred_element_type=weight_hh.dtype))
    return product.T, rows.sum(0, dtype=bias_hh.dtype)


fused.defvjp(_forward, _backward)
