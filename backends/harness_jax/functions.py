"""The traced functions of one trainer: a training step, outputs, and gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from harness.contract import Model, Optimizer
from harness_jax.batch import Arrays
from harness_jax.network import LAYERS, Network, States, Weights
from harness_jax.update import clip, direction


class Progress(NamedTuple):
    """What a training step changes: the weights, the optimizer's moments and the number of updates."""

    weights: Weights
    moments: Any
    updates: Array


class Figures(NamedTuple):
    """What a training step reports: scalars."""

    loss: Array
    norm: Array
    clipped: Array


class Functions:
    """Pure functions of one model, rule and variant. Every array among their arguments is traced."""

    def __init__(self, model: Model, rule: Optimizer, variant: str, dropout_seed: int) -> None:
        self._network, self._rule = Network(model, LAYERS[variant]), rule
        self._direction = direction(rule)
        self._dropout_seed = dropout_seed % 2**32 if model.dropout else None

    def begin(self, weights: Weights) -> Progress:
        """Return the progress before the first update."""
        return Progress(weights, self._direction.init(weights), jnp.zeros((), jnp.int32))

    def step(self, progress: Progress, arrays: Arrays, state: States, rate: Array) -> tuple[Progress, States, Figures]:
        """Do one update at learning rate ``rate``."""
        differentiate = jax.value_and_grad(self._network.loss, has_aux=True)
        (loss, state), gradients = differentiate(progress.weights, None, arrays, state, self._key(progress.updates))
        gradients, norm, clipped = clip(self._rule, gradients)
        change, moments = self._direction.update(gradients, progress.moments, progress.weights)
        weights = jax.tree.map(lambda p, c: p - rate * c, progress.weights, change)
        return Progress(weights, moments, progress.updates + 1), state, Figures(loss, norm, clipped)

    def outputs(self, weights: Weights, inputs: Array, state: States) -> tuple[Array, States]:
        """Return logits or predictions (T, B, K) and the final state, dropout off."""
        return self._network.outputs(weights, inputs, state)

    def gradients(self, weights: Weights, arrays: Arrays, state: States) -> tuple[Array, Weights, Array]:
        """Return the loss, its gradient by parameter, and d loss / d h_t (layers, T, B, H), dropout off."""
        steps, size = arrays.weights.shape
        layers, _, hidden = state[0].shape
        probes = jnp.zeros((layers, steps, size, hidden), state[0].dtype)
        differentiate = jax.value_and_grad(self._network.loss, argnums=(0, 1), has_aux=True)
        (loss, _), (gradients, d_hidden) = differentiate(weights, probes, arrays, state, None)
        return loss, gradients, d_hidden

    def _key(self, updates: Array) -> Array | None:
        if self._dropout_seed is None:
            return None
        return jax.random.fold_in(jax.random.key(jnp.uint32(self._dropout_seed)), updates)
