"""The interface of a network that the trainer traces: a pure function of weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import jax.numpy as jnp
import optax
from jax import Array

from harness.contract import Model
from harness_jax.batch import Arrays

States = tuple[Array, ...]
Tree = Any  # weights as the library keeps them: arrays in dicts, lists or other pytrees


class Traced(ABC):
    """One model as one library computes it.

    Attributes:
        model: the function.
        own_weights: whether ``weights`` differs from the core's arrays by name; then ``Conversion``
            translates.
    """

    model: Model
    own_weights: ClassVar[bool] = False

    @property
    def may_fail(self) -> bool:
        """Whether a step may fail while it runs; the trainer then waits for each step."""
        return False

    def weights(self, parameters: dict[str, Array]) -> Tree:
        """Return the library's weights: each a sum of the core's parameters, or its negative."""
        return parameters

    @abstractmethod
    def outputs(
        self,
        weights: Tree,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Return logits or predictions (T, B, K) and the final state, each (layers, B, H).

        Args:
            weights: of ``weights``.
            inputs: (T, B) token ids or (T, B, D) vectors.
            state: the initial state, each (layers, B, H).
            key: random key of the dropout masks, or None for no dropout.
            probes: (layers, T, B, H) zeros whose gradient is d loss / d h_t, or None.
        """

    def loss(
        self, weights: Tree, probes: Array | None, arrays: Arrays, state: States, key: Array | None
    ) -> tuple[Array, States]:
        """Return the mean loss over the positions that count, and the final state."""
        outputs, final = self.outputs(weights, arrays.inputs, state, key, probes)
        return mean_loss(self.model, outputs, arrays), final


def mean_loss(model: Model, outputs: Array, arrays: Arrays) -> Array:
    """Return the mean loss of ``outputs`` (T, B, K) over the positions that count."""
    if model.loss == "cross_entropy":
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, arrays.targets)
    elif model.loss == "binary_cross_entropy":
        losses = optax.losses.sigmoid_binary_cross_entropy(outputs, arrays.targets).mean(-1)
    else:
        losses = jnp.square(outputs - arrays.targets).mean(-1)
    # A dot product: a fused sum may add one number at a time, and lost two digits when measured.
    return jnp.vdot(losses, arrays.weights)
