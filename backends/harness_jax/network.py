"""The function: input product -> stacked cells -> readout -> loss. Pure, to be traced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax import Array

from harness.contract import Cell, Model
from harness_jax.batch import Arrays
from harness_jax.fused import fused
from harness_jax.native import native
from harness_jax.scan import scan

States = tuple[Array, ...]
Weights = dict[str, Array]
Layer = Callable[[Cell, Array, Array, Array, States, Array | None], tuple[Array, States]]

LAYERS: dict[str, Layer] = {"scan": scan, "fused": fused, "native": native}


@dataclass(frozen=True)
class Network:
    """One model executed by one kind of layer."""

    model: Model
    layer: Layer

    def outputs(
        self, weights: Weights, inputs: Array, state: States, key: Array | None = None, probes: Array | None = None
    ) -> tuple[Array, States]:
        """Return logits or predictions (T, B, K) and the final state, each (layers, B, H).

        Args:
            weights: by name.
            inputs: (T, B) token ids or (T, B, D) vectors.
            state: the initial state, each (layers, B, H).
            key: random key of the dropout masks, or None for no dropout.
            probes: (layers, T, B, H) zeros whose gradient is d loss / d h_t, or None.
        """
        values, finals = inputs, []
        for index in range(self.model.layers):
            weight_ih, weight_hh, bias_ih, bias_hh = (
                weights[f"{name}_l{index}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            zx = _input_product(values, weight_ih, bias_ih)
            start = tuple(part[index] for part in state)
            probe = None if probes is None else probes[index]
            values, final = self.layer(self.model.cell, zx, weight_hh, bias_hh, start, probe)
            finals.append(final)
            if key is not None and index < self.model.layers - 1:
                values = _dropout(values, self.model.dropout, jax.random.fold_in(key, index))
        readout = values @ weights["weight_out"].T + weights["bias_out"]
        return readout, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))

    def loss(
        self, weights: Weights, probes: Array | None, arrays: Arrays, state: States, key: Array | None
    ) -> tuple[Array, States]:
        """Return the mean loss over the positions that count, and the final state."""
        outputs, final = self.outputs(weights, arrays.inputs, state, key, probes)
        if self.model.loss == "cross_entropy":
            losses = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, arrays.targets)
        else:
            losses = jnp.square(outputs - arrays.targets).mean(-1)
        # a dot product: a fused sum adds one by one, 40 times less exact
        # A dot product: a sum, once fused, may add one by one, and was seen to lose two digits.
        return jnp.vdot(losses, arrays.weights), final


def _input_product(inputs: Array, weight_ih: Array, bias_ih: Array) -> Array:
    """Return zx (T, B, G*H) for all time steps at once; for tokens (T, B), a gather of biased columns of the weight."""
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        return inputs @ weight_ih.T + bias_ih
    return (weight_ih.T + bias_ih)[inputs]


def _dropout(values: Array, rate: float, key: Array) -> Array:
    kept = jax.random.bernoulli(key, 1.0 - rate, values.shape)
    return jnp.where(kept, values / (1.0 - rate), 0.0)
