"""Variant ``deer``: a non-linear cell, all time steps at once by Newton's method (Lim et al. 2024, arXiv:2309.12252).

A guess of all states is improved by solving the recurrence linearised around it, s_t = f(s'_{t-1}) + J_t (s_{t-1} -
s'_{t-1}), with an associative scan over pairs (J, b): O(S^2) memory and O(S^3 log T) work per time step and sequence for
a state of S numbers. The gradient is one reversed scan with the Jacobians at the solution, no iteration.

Newton's method need not converge, and where it has not, the step fails: nothing is ever trained on a wrong state.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from harness.contract import Cell
from harness_jax.kernels import filled
from harness_jax.ops import OPS
from harness_jax.scan import recurrent_product

States = tuple[Array, ...]
Result = tuple[Array, States]

ITERATIONS = 100
TOLERANCE_EPSILONS = 32.0  # largest |s_t - f(s_{t-1})| at the solution, in epsilons times max(1, |s|)


class Solution(NamedTuple):
    """States (T, B, S) of all time steps, the Jacobians (T, B, S, S) there, how far off they are, and the iterations."""

    states: Array
    jacobians: Array
    residual: Array
    iterations: Array


class Residuals(NamedTuple):
    """What the gradient needs."""

    zx: Array
    weight_hh: Array
    bias_hh: Array
    start: States
    solution: Solution
    probe: Array | None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def deer(cell: Cell, zx: Array, weight_hh: Array, bias_hh: Array, state: States, probe: Array | None) -> Result:
    """Run one layer over all time steps; arguments and result as ``harness_jax.scan.scan``.

    Raises:
        RuntimeError: while running, where Newton's method has not converged.
    """
    return _forward(cell, zx, weight_hh, bias_hh, state, probe)[0]


def _forward(
    cell: Cell, zx: Array, weight_hh: Array, bias_hh: Array, state: States, probe: Array | None
) -> tuple[Result, Residuals]:
    solution = _solve(cell, zx, weight_hh, bias_hh, state)
    states = _split(solution.states, state)
    result = states[0], tuple(part[-1] for part in states)
    return result, Residuals(zx, weight_hh, bias_hh, state, solution, probe)


def _solve(cell: Cell, zx: Array, weight_hh: Array, bias_hh: Array, state: States) -> Solution:
    """Iterate until every state follows from the one before it, or the iterations are used up."""
    start, recurrent = jnp.concatenate(state, -1), weight_hh.T
    tolerance = TOLERANCE_EPSILONS * jnp.finfo(zx.dtype).eps

    def one(zx: Array, before: Array) -> tuple[Array, Array]:  # (G*H,), (S,) -> (S,) twice: JAX differentiates one
        state_before = tuple(jnp.split(before, len(state)))
        after = jnp.concatenate(
            cell.step(OPS, zx, recurrent_product(state_before[0], recurrent, bias_hh), state_before)
        )
        return after, after

    linearised = jax.vmap(jax.vmap(jax.jacfwd(one, argnums=1, has_aux=True)))

    def evaluate(states: Array) -> tuple[Array, Array, Array]:
        jacobians, following = linearised(zx, _before(start, states))
        residual = jnp.max(jnp.abs(following - states) / jnp.maximum(1.0, jnp.abs(following)))
        return jacobians, following, residual

    def unsolved(carry: tuple[Array, Array, Array, Array, Array]) -> Array:
        _, _, _, residual, count = carry
        return (count < ITERATIONS) & ~(residual <= tolerance)  # not a number is not solved

    def improve(carry: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        states, jacobians, following, _, count = carry
        change = _linear_scan(jacobians, following - states)  # of the states, from none before the first
        states = states + change
        return states, *evaluate(states), count + 1

    guess = jnp.zeros((*zx.shape[:2], start.shape[-1]), zx.dtype)
    carry = guess, *evaluate(guess), jnp.zeros((), jnp.int32)
    _, jacobians, following, residual, count = lax.while_loop(unsolved, improve, carry)
    checked = lax.cond(residual <= tolerance, lambda _: True, _fail, (residual, count))
    # The check must be needed, or XLA leaves it out.
    return Solution(jnp.where(checked, following, jnp.nan), jacobians, residual, count)


def _backward(cell: Cell, kept: Residuals, cotangent: tuple[Array, States]) -> tuple[Any, ...]:
    states = _split(kept.solution.states, kept.start)
    before = tuple(jnp.concatenate([first[None], part[:-1]]) for first, part in zip(kept.start, states, strict=True))
    zh = recurrent_product(before[0], kept.weight_hh.T, kept.bias_hh)
    d_states = _state_gradients(kept, cotangent)
    d_zx, d_zh, parts = cell.step_gradient(OPS, kept.zx, zh, before, states, d_states)
    d_start = tuple(filled(part, d_states[0])[0] for part in parts)
    d_start = (d_start[0] + d_zh[0] @ kept.weight_hh, *d_start[1:])
    rows, h = d_zh.reshape(-1, d_zh.shape[-1]), before[0].reshape(-1, before[0].shape[-1])
    return d_zx, rows.T @ h, rows.sum(0), d_start, None if kept.probe is None else d_states[0]


def _state_gradients(kept: Residuals, cotangent: tuple[Array, States]) -> States:
    """Return the total d loss / d state of each time step, each (T, B, H)."""
    d_outputs, d_final = cotangent
    direct = jnp.concatenate([d_outputs, *(jnp.zeros_like(d_outputs) for _ in d_final[1:])], -1)
    direct = direct.at[-1].add(jnp.concatenate(d_final, -1))
    jacobians = kept.solution.jacobians.swapaxes(-1, -2)
    after = jnp.concatenate([jacobians[1:], jnp.zeros_like(jacobians[:1])])  # the last time step has none after it
    return _split(_linear_scan(after, direct, reverse=True), kept.start)


def _linear_scan(matrices: Array, vectors: Array, *, reverse: bool = False) -> Array:
    """Return x (T, B, S) with x_t = matrices_t x_{t-1} + vectors_t from 0; reversed, from the last to the first."""

    def combine(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        (first, b), (second, c) = earlier, later
        return second @ first, (second @ b[..., None])[..., 0] + c

    x: Array = lax.associative_scan(combine, (matrices, vectors), reverse=reverse)[1]
    return x


def _before(start: Array, states: Array) -> Array:
    return jnp.concatenate([start[None], states[:-1]])


def _split(states: Array, like: States) -> States:
    return tuple(jnp.split(states, len(like), -1))


def _fail(found: tuple[Array, Array]) -> Array:
    failed: Array = jax.pure_callback(_raise, jax.ShapeDtypeStruct((), jnp.bool_), *found)
    return failed


def _raise(residual: np.ndarray[Any, Any], iterations: np.ndarray[Any, Any]) -> np.bool_:
    raise RuntimeError(
        f"jax:deer has not converged: after {int(iterations)} of at most {ITERATIONS} Newton iterations a state is "
        f"still off by {float(residual):.1e} from what the cell makes of the state before it. "
        "Choose a serial variant: jax:fused or jax:scan"
    )


deer.defvjp(_forward, _backward)
