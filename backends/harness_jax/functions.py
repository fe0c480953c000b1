"""The traced functions of one trainer: a training step, outputs, and gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from harness.contract import Optimizer, Parameters
from harness_jax.batch import Arrays
from harness_jax.batch_sharding import OVER_BATCH, OVER_HIDDEN_BATCH, SHARE, WHOLE, BatchSharding
from harness_jax.conversion import Conversion, Named
from harness_jax.traced import States, Traced, Tree
from harness_jax.update import clip, direction, moved


class Progress(NamedTuple):
    """The state of training: the weights, the optimizer's moments and the number of updates."""

    weights: Tree
    moments: Any
    updates: Array


class Figures(NamedTuple):
    """What a training step reports: scalars."""

    loss: Array
    norm: Array
    clipped: Array


class Functions:
    """Pure functions of one network and rule. Every array among their arguments is traced.

    Losses and gradients are sums over the shares of a batch: each position is weighted by its share
    in the mean.
    """

    def __init__(
        self, network: Traced, rule: Optimizer, dropout_seed: int, sharding: BatchSharding
    ) -> None:
        self._network, self._rule, self._sharding = network, rule, sharding
        self._conversion = Conversion(network) if network.own_weights else None
        self._shares = None if self._conversion is None else self._conversion.shares
        self._direction = direction(rule)
        self._dropout_seed = dropout_seed % 2**32 if network.model.dropout else None

    def begin(self, parameters: Named) -> Progress:
        """Return the progress before the first update."""
        weights = self._network.weights(parameters)
        return Progress(weights, self._direction.init(weights), jnp.zeros((), jnp.int32))

    def step(
        self, progress: Progress, arrays: Arrays, state: States, rate: Array
    ) -> tuple[Progress, States, Figures]:
        """Do one update at learning rate ``rate``."""
        size = arrays.weights.shape[1]
        differentiate = self._sharding.over_batch(
            self._differentiate,
            size,
            (WHOLE, OVER_BATCH, OVER_BATCH, WHOLE, SHARE),
            (WHOLE, OVER_BATCH, WHOLE),
        )
        key, shares = self._key(progress.updates), self._sharding.shares(size)
        loss, state, gradients = differentiate(progress.weights, arrays, state, key, shares)
        gradients, norm, clipped = clip(self._rule, gradients, self._shares)
        change, moments = self._direction.update(gradients, progress.moments, progress.weights)
        weights = moved(self._rule, progress.weights, change, rate, self._shares)
        return Progress(weights, moments, progress.updates + 1), state, Figures(loss, norm, clipped)

    def outputs(self, weights: Tree, inputs: Array, state: States) -> tuple[Array, States]:
        """Return logits or predictions (T, B, K) and the final state, dropout off."""
        in_specs, out_specs = (WHOLE, OVER_BATCH, OVER_BATCH), (OVER_BATCH, OVER_BATCH)
        run = self._sharding.over_batch(self._network.outputs, inputs.shape[1], in_specs, out_specs)
        outputs, final = run(weights, inputs, state)
        return outputs, final

    def parameters(self, weights: Tree, loaded: Parameters) -> Named:
        """Return the parameters by name, from the weights and what was loaded; may compile."""
        return weights if self._conversion is None else self._conversion.parameters(weights, loaded)

    def gradients(self, weights: Tree, arrays: Arrays, state: States) -> tuple[Array, Named, Array]:
        """Return the loss, gradients by parameter, and d loss / d h_t (layers, T, B, H)."""
        in_specs, out_specs = (WHOLE, OVER_BATCH, OVER_BATCH), (WHOLE, WHOLE, OVER_HIDDEN_BATCH)
        run = self._sharding.over_batch(
            self._all_gradients, arrays.weights.shape[1], in_specs, out_specs
        )
        loss, named, d_hidden = run(weights, arrays, state)
        return loss, named, d_hidden

    def _differentiate(
        self, weights: Tree, arrays: Arrays, state: States, key: Array | None, share: Array | None
    ) -> tuple[Array, States, Tree]:
        """Return loss, final state and gradients of a share, with its own dropout masks."""
        if key is not None and share is not None:
            key = jax.random.fold_in(key, share[0])
        differentiate = jax.value_and_grad(self._network.loss, has_aux=True)
        (loss, state), gradients = differentiate(weights, None, arrays, state, key)
        return loss, state, gradients

    def _all_gradients(
        self, weights: Tree, arrays: Arrays, state: States
    ) -> tuple[Array, Named, Array]:
        """Return loss, gradients by parameter and hidden gradients of a share."""
        steps, size = arrays.weights.shape
        layers, _, hidden = state[0].shape
        probes = jnp.zeros((layers, steps, size, hidden), arrays.weights.dtype)
        differentiate = jax.value_and_grad(self._network.loss, argnums=(0, 1), has_aux=True)
        (loss, _), (gradients, d_hidden) = differentiate(weights, probes, arrays, state, None)
        named = gradients if self._conversion is None else self._conversion.gradients(gradients)
        return loss, named, d_hidden

    def _key(self, updates: Array) -> Array | None:
        if self._dropout_seed is None:
            return None
        return jax.random.fold_in(jax.random.key(jnp.uint32(self._dropout_seed)), updates)
