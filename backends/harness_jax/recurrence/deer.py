"""Variant ``deer``: all time steps at once by Newton's method (Lim et al. 2024, arXiv:2309.12252).

A guess s' of all states is improved by solving the recurrence linearised around it, s_t =
f(s'_{t-1}) + J_t (s_{t-1} - s'_{t-1}), with an associative scan over pairs (J, b): for a state of S
numbers, O(S^2) memory and O(S^3 log T) work per time step and sequence. The gradient is one
reversed scan with the Jacobians at the solution, no iteration.

A guess is bounded by the states that the cell computes from the last guess; otherwise it may
overflow. If Newton's method does not converge, the step fails: a wrong state is never trained on.
Weights that are not finite (they diverged) are not a failure of the method: every state is then
NaN.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from harness.contract import Cell
from harness.recurrence import derive, step_of
from harness_jax.device import NOT_CONVERGED
from harness_jax.recurrence.ops import filled
from harness_jax.recurrence.weights import (
    LayerOps,
    Weights,
    own,
    vector_gradients,
    weight_gradients,
)

States = tuple[Array, ...]
Result = tuple[Array, States]

ITERATIONS = 100
# The largest |s_t - f(s_{t-1})| at the solution, in epsilons times max(1, |s|).
TOLERANCE_EPSILONS = 32.0


class Solution(NamedTuple):
    """States (T, B, S) of all time steps, and the Jacobians (T, B, S, S) there."""

    states: Array
    jacobians: Array


class Guess(NamedTuple):
    """A guess of all states, and the cell's answer to it.

    Attributes:
        states: (T, B, S).
        jacobians: (T, B, S, S) of each state by the state before it.
        following: (T, B, S), the cell's next state after the state before it.
        solved: whether ``following`` equals ``states``, within the tolerance.
        iterations: done so far.
    """

    states: Array
    jacobians: Array
    following: Array
    solved: Array
    iterations: Array


class Residuals(NamedTuple):
    """The arrays that the gradient needs."""

    zx: Array
    weights: Weights
    start: States
    solution: Solution
    probe: Array | None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def deer(cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None) -> Result:
    """Run one layer over all time steps; signature as ``harness_jax.recurrence.scan.scan``.

    Raises:
        RuntimeError: while running, if Newton's method has not converged.
    """
    return _forward(cell, zx, weights, state, probe)[0]


def _forward(
    cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None
) -> tuple[Result, Residuals]:
    solution = _solve(cell, zx, weights, state)
    states = _split(solution.states, state)
    result = states[0], tuple(part[-1] for part in states)
    return result, Residuals(zx, weights, state, solution, probe)


def _solve(cell: Cell, zx: Array, weights: Weights, state: States) -> Solution:
    """Iterate until every state follows from the one before it, or the iterations are used up."""
    start, ops = jnp.concatenate(state, -1), LayerOps(cell, weights)

    # (G*H,), (S,) -> (S,) twice: JAX differentiates the first.
    def step(zx: Array, before: Array) -> tuple[Array, Array]:
        old = tuple(jnp.split(before, len(state)))
        after = jnp.concatenate(step_of(cell)(ops, zx, old, own(cell, weights, zx)))
        return after, after

    linearised = jax.vmap(jax.vmap(jax.jacfwd(step, argnums=1, has_aux=True)))

    def evaluated(states: Array, iterations: Array) -> Guess:
        jacobians, following = linearised(zx, jnp.concatenate([start[None], states[:-1]]))
        # Compared one by one: XLA's maximum may lose a NaN.
        near = jnp.abs(following - states) <= _tolerance(following)
        return Guess(states, jacobians, following, near.all(), iterations)

    def improved(guess: Guess) -> Guess:
        # The state before the first time step does not change.
        change = _linear_scan(guess.jacobians, guess.following - guess.states)
        return evaluated(_contained(guess.states + change, guess.following), guess.iterations + 1)

    zeros = jnp.zeros((*zx.shape[:2], start.shape[-1]), zx.dtype)
    first = evaluated(zeros, jnp.zeros((), jnp.int32))
    inputs = (zx, start, *weights.values())
    finite = jnp.stack([jnp.isfinite(part).all() for part in inputs]).all()
    last = lax.while_loop(
        lambda guess: finite & ~guess.solved & (guess.iterations < ITERATIONS), improved, first
    )
    solved = lax.cond(last.solved | ~finite, lambda guess: guess.solved, _fail, last)
    # The answer must depend on the check, or XLA leaves it out. Inputs that are not finite have no
    # solution: all is NaN.
    return Solution(jnp.where(solved, last.following, jnp.nan), last.jacobians)


def _contained(states: Array, following: Array) -> Array:
    """Bound the new guess by 1 plus twice the largest number that the cell made of the old guess.

    Linearised around a wrong guess, a recurrence may expand at every time step, and overflow after
    some hundred. Each iteration makes at least one more of the first states right for good
    (Gonzalez et al. 2024, arXiv:2407.19115); from a bounded guess, the others mostly converge in a
    few iterations. States that really grow (an lstm that counts) are reached by doubling.
    """
    bound = 1.0 + 2.0 * jnp.abs(following).max()
    return jnp.where(jnp.isnan(states), following, jnp.clip(states, -bound, bound))


def _backward(cell: Cell, kept: Residuals, cotangent: tuple[Array, States]) -> tuple[Any, ...]:
    zx, weights = kept.zx, kept.weights
    states = _split(kept.solution.states, kept.start)
    before = tuple(
        jnp.concatenate([first[None], part[:-1]])
        for first, part in zip(kept.start, states, strict=True)
    )
    recurrence, ops, vectors = derive(cell), LayerOps(cell, weights), own(cell, weights, zx)

    def product(index: int, operand: Array) -> Array:
        return ops.product(cell.products[index].name, operand)

    def back(index: int, d_product: Array) -> Array:
        return d_product @ weights[f"weight_{cell.products[index].name}"]

    _, products = recurrence.step(ops, zx, before, vectors, product)
    d_after = _state_gradients(kept, cotangent)
    gradient = recurrence.gradient(ops, zx, products, before, vectors, d_after, back)
    d_start = [filled(part, d_after[0])[0] for part in gradient.state]
    for index, operand in enumerate(recurrence.operands):
        if operand.op == "state":
            d_start[operand.value] += back(index, gradient.products[index][0])
    values = recurrence.operand_values(ops, zx, products, before, vectors)
    operands = [filled(operand, d_after[0]) for operand in values]
    d_weights = weight_gradients(cell, weights, operands, gradient.products)
    d_weights |= vector_gradients(cell, weights, gradient.vectors)
    d_probe = None if kept.probe is None else d_after[0]
    return gradient.zx, d_weights, tuple(d_start), d_probe


def _state_gradients(kept: Residuals, cotangent: tuple[Array, States]) -> States:
    """Return the total d loss / d state of each time step, each (T, B, H)."""
    d_outputs, d_final = cotangent
    direct = jnp.concatenate([d_outputs, *(jnp.zeros_like(d_outputs) for _ in d_final[1:])], -1)
    direct = direct.at[-1].add(jnp.concatenate(d_final, -1))
    jacobians = kept.solution.jacobians.swapaxes(-1, -2)
    last = jnp.zeros_like(jacobians[:1])  # no time step follows
    after = jnp.concatenate([jacobians[1:], last])
    return _split(_linear_scan(after, direct, reverse=True), kept.start)


def _linear_scan(matrices: Array, vectors: Array, *, reverse: bool = False) -> Array:
    """Return x (T, B, S), x_t = matrices_t x_{t-1} + vectors_t from 0; reversed: from the last."""

    def combine(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        (first, b), (second, c) = earlier, later
        return second @ first, (second @ b[..., None])[..., 0] + c

    x: Array = lax.associative_scan(combine, (matrices, vectors), reverse=reverse)[1]
    return x


def _split(states: Array, like: States) -> States:
    return tuple(jnp.split(states, len(like), -1))


def _fail(last: Guess) -> Array:
    odd = (~(jnp.abs(last.following - last.states) <= _tolerance(last.following))).any(-1).sum()
    answer = jax.ShapeDtypeStruct((), jnp.bool_)  # type: ignore[no-untyped-call]
    failed: Array = jax.pure_callback(
        partial(_raise, last.states[..., 0].size), answer, odd, last.iterations
    )
    return failed


def _tolerance(following: Array) -> Array:
    epsilon = float(np.finfo(following.dtype).eps)
    return TOLERANCE_EPSILONS * epsilon * jnp.maximum(1.0, jnp.abs(following))


def _raise(states: int, odd: np.ndarray[Any, Any], iterations: np.ndarray[Any, Any]) -> np.bool_:
    raise RuntimeError(
        f"{NOT_CONVERGED}: after {int(iterations)} Newton iterations, {int(odd)} of {states} "
        "states (T x B) are not what the cell makes of the state before. "
        "Choose a serial variant: jax:fused"
    )


deer.defvjp(_forward, _backward)
