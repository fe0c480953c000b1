"""Variant ``parallel``: all time steps of a linear cell at once, by an associative scan.

About log2 T rounds instead of T steps, and two or three times the arithmetic (Blelloch 1990).
Forwards h_t = a_t h_{t-1} + b_t; backwards the total d h_t = d output_t + a_{t+1} d h_{t+1} is the
same scan, reversed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.contract import Cell
from harness.recurrence import derive
from harness_jax.recurrence.ops import OPS
from harness_jax.recurrence.weights import Weights, own, vector_gradients

States = tuple[Array, ...]
Result = tuple[Array, States]
# zx, weights, a, h before each time step, probe
Residuals = tuple[Array, Weights, Array, Array, Array | None]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def parallel(cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None) -> Result:
    """Run one layer over all time steps; signature as ``harness_jax.recurrence.scan.scan``.

    Raises:
        TypeError: the cell is not linear in its state.
    """
    return _forward(cell, zx, weights, state, probe)[0]


def _forward(
    cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None
) -> tuple[Result, Residuals]:
    a, b = derive(cell).coefficients(OPS, zx, own(cell, weights, zx))
    h = _linear_scan(a, b.at[0].add(a[0] * state[0]))
    before = jnp.concatenate([state[0][None], h[:-1]])
    return (h, (h[-1],)), (zx, weights, a, before, probe)


def _backward(cell: Cell, residuals: Residuals, cotangent: tuple[Array, States]) -> tuple[Any, ...]:
    zx, weights, a, before, probe = residuals
    d_outputs, (d_final,) = cotangent
    after = jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])  # no step follows the last
    d_h = _linear_scan(after, d_outputs.at[-1].add(d_final), reverse=True)
    vectors = own(cell, weights, zx)
    gradient = derive(cell).gradient(OPS, zx, (), (before,), vectors, (d_h,), lambda *_: None)
    d_weights = vector_gradients(cell, weights, gradient.vectors)
    return gradient.zx, d_weights, (d_h[0] * a[0],), None if probe is None else d_h


def _linear_scan(a: Array, b: Array, *, reverse: bool = False) -> Array:
    """Return x (T, ...) with x_t = a_t x_{t-1} + b_t from x_{-1} = 0; reversed: from the last."""

    def combine(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    x: Array = lax.associative_scan(combine, (a, b), reverse=reverse)[1]
    return x


parallel.defvjp(_forward, _backward)
