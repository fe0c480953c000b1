"""Pieces of the core's parameters, and one-hot inputs, for networks that JAX traces."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from harness.contract import Cell, Model


class LayerParameters(NamedTuple):
    """One layer's parameters in the core's arrangement, gates along the rows.

    Products of several operands are one ``weight_hh``; a bias that the cell lacks is zero.
    """

    weight_ih: Array  # (G*H, D)
    weight_hh: Array  # (G*H, H)
    bias_ih: Array  # (G*H,)
    bias_hh: Array  # (G*H,)

    def gates(self, count: int) -> list[LayerParameters]:
        """Return the parameters of each gate: the rows in ``count`` equal pieces."""
        return [
            LayerParameters(*pieces)
            for pieces in zip(*(jnp.split(part, count) for part in self), strict=True)
        ]

    @staticmethod
    def of(cell: Cell, parameters: dict[str, Array], layer: int) -> LayerParameters:
        """Return those of ``layer`` of a cell whose products have each gate once, in order."""
        weights = [parameters[f"weight_{each.name}_l{layer}"] for each in cell.products]
        bias_ih = parameters[f"bias_ih_l{layer}"]
        bias_hh = parameters.get(f"bias_hh_l{layer}", jnp.zeros_like(bias_ih))
        weight_ih = parameters[f"weight_ih_l{layer}"]
        return LayerParameters(weight_ih, jnp.concatenate(weights), bias_ih, bias_hh)


def joined(gates: list[LayerParameters]) -> LayerParameters:
    """Return the gates' parameters as one, in this order: the inverse of ``gates``."""
    return LayerParameters(*(jnp.concatenate(parts) for parts in zip(*gates, strict=True)))


def encoded(model: Model, inputs: Array, dtype: jnp.dtype) -> Array:
    """Return vectors (T, B, D), tokens one-hot; or tokens for the library's embedding."""
    if model.inputs.kind != "token" or model.embedding is not None:
        return inputs
    return jax.nn.one_hot(inputs, model.inputs.size, dtype=dtype)


def stacked(finals: list[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Return the layers' final states, each (layers, B, H), from one tuple of (B, H) per layer."""
    return tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))
