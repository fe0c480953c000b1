"""The update rules of ``harness.contract.Optimizer``: optax's if it has the same, and clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from harness.contract import Optimizer

Tree = Any  # a dict of arrays by parameter name


def direction(rule: Optimizer) -> optax.GradientTransformation:
    """Return the transformation from clipped gradients to steps before the learning rate."""
    if rule.name == "sgd":
        return optax.trace(rule.momentum) if rule.momentum else optax.identity()
    if rule.name == "rmsprop":
        return _over_root(lambda s, g: rule.decay * s + (1 - rule.decay) * g * g, rule)
    if rule.name == "adagrad":
        return _over_root(lambda s, g: s + g * g, rule)
    outside, inside = (0.0, rule.epsilon) if rule.epsilon_in_root else (rule.epsilon, 0.0)
    return optax.scale_by_adam(rule.beta1, rule.beta2, outside, inside)


def clip(rule: Optimizer, gradients: Tree, shares: Tree | None = None) -> tuple[Tree, Array, Array]:
    """Return clipped gradients, their global norm before clipping, and whether clipping acted.

    ``shares`` is how often each entry counts in the norm; None means once.
    """
    largest = jnp.stack([jnp.max(jnp.abs(g)) for g in jax.tree.leaves(gradients)]).max()
    norm = _norm(gradients, largest, shares)
    if rule.clip_norm is not None:
        clipped, limit = norm > rule.clip_norm, rule.clip_norm
        # clip_norm / norm may be too small for float32, and XLA would then use 0.
        scaled = jax.tree.map(lambda g: jnp.where(clipped, g / norm * limit, g), gradients)
        return scaled, norm, clipped
    if rule.clip_value is not None:
        limit = rule.clip_value
        return jax.tree.map(lambda g: jnp.clip(g, -limit, limit), gradients), norm, largest > limit
    return gradients, norm, jnp.zeros((), bool)


def _norm(gradients: Tree, largest: Array, shares: Tree | None) -> Array:
    """Return the global norm, from squares that neither overflow nor all underflow.

    XLA sums in blocks; ``vdot`` of ten million numbers was off by 0.8 % in its older versions.
    """
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    squares = _weighted(
        lambda g, share: jnp.sum(_times(share, jnp.square(g / scale))), gradients, shares
    )
    return scale * jnp.sqrt(sum(jax.tree.leaves(squares)))


def moved(
    rule: Optimizer, weights: Tree, change: Tree, rate: Array, shares: Tree | None = None
) -> Tree:
    """Return the weights after one update; a weight that replaces two moves by both updates."""
    if rule.weight_decay:
        weights = jax.tree.map(lambda p: p - rate * rule.weight_decay * p, weights)
    steps = _weighted(lambda c, share: _times(share, rate * c), change, shares)
    return jax.tree.map(lambda p, step: p - step, weights, steps)


def _weighted(function: Callable[[Array, Any], Array], tree: Tree, shares: Tree | None) -> Tree:
    if shares is None:
        return jax.tree.map(lambda leaf: function(leaf, 1.0), tree)
    return jax.tree.map(function, tree, shares)


def _times(share: Any, array: Array) -> Array:
    if isinstance(share, float):
        return array if share == 1.0 else share * array
    return jnp.asarray(share, array.dtype) * array


def _over_root(
    accumulate: Callable[[Array, Array], Array], rule: Optimizer
) -> optax.GradientTransformation:
    """Return g over the root of s; optax's own rules add epsilon inside the root alone."""

    def start(parameters: Tree) -> Tree:
        return jax.tree.map(lambda p: jnp.full_like(p, rule.initial_square), parameters)

    def root(square: Array) -> Array:
        if rule.epsilon_in_root:
            return jnp.sqrt(square + rule.epsilon)
        return jnp.sqrt(square) + rule.epsilon

    def update(gradients: Tree, sums: Tree, _parameters: Tree = None) -> tuple[Tree, Tree]:
        sums = jax.tree.map(accumulate, sums, gradients)
        return jax.tree.map(lambda g, s: g / root(s), gradients, sums), sums

    return optax.GradientTransformation(start, update)
