"""Keras's layers on JAX, called without side effects inside JAX's transformations."""

from __future__ import annotations

import jax
import keras
from jax import Array

from harness.contract import Model
from harness_jax.traced import States, Traced, Tree
from harness_keras.stack import Stack, weights_of
from harness_peers.arrays import encoded


class KerasJaxNetwork(Traced):
    """One model in Keras. For d loss / d h_t a probe is added to each h_t of the same cells.

    Weights: the values of ``Stack.variables``.
    """

    own_weights = True

    def __init__(self, model: Model) -> None:
        self.model = model
        self._stack = Stack(model)

    def weights(self, parameters: dict[str, Array]) -> Tree:
        """Return the variables' values, in their order."""
        return weights_of(self.model, parameters)

    def outputs(
        self,
        weights: Tree,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Call the layers with these weights instead of their own; dropout comes from ``key``."""
        values = list(zip(self._stack.variables, weights, strict=True))
        if key is not None:
            seeds = [layer.seed_generator.state for layer in self._stack.dropouts]
            keys = jax.random.split(key, max(1, len(seeds)))
            values += [
                (seed, jax.random.key_data(own)) for seed, own in zip(seeds, keys, strict=False)
            ]
        with keras.StatelessScope(state_mapping=values):
            vectors = encoded(self.model, inputs, state[0].dtype)
            return self._stack(vectors, state, training=key is not None, probes=probes)
