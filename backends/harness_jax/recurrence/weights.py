"""The learnt products and vectors of one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jax import Array

from harness.contract import Cell
from harness_jax.recurrence.ops import JaxOps, barred, transposed

Weights = Mapping[str, Array]  # by parameter name without its layer: ``weight_hh``


def own(cell: Cell, weights: Weights, like: Array) -> tuple[Array, ...]:
    """Return the vectors of the cell, each (H,), in the dtype of ``like``."""
    return tuple(weights[name].astype(like.dtype) for name in cell.vectors)


class LayerOps(JaxOps):
    """The operations of one layer: its products too.

    A weight (n*H, H) is transposed once, but rounded in each product and not before a time loop, so
    that its gradient is summed in its own dtype.
    """

    def __init__(self, cell: Cell, weights: Weights) -> None:
        self._products = {
            product.name: (
                transposed(weights[f"weight_{product.name}"]),
                weights.get(f"bias_{product.name}"),
            )
            for product in cell.products
        }

    def product(self, name: str, operand: Array) -> Array:
        """Return operand @ weight.T, plus the bias if there is one, in the operand's dtype."""
        weight, bias = self._products[name]
        result = operand @ weight.astype(operand.dtype)
        return result if bias is None else result + bias.astype(operand.dtype)


def weight_gradients(
    cell: Cell, weights: Weights, operands: Sequence[Array], d_products: Sequence[Array]
) -> dict[str, Array]:
    """Return the gradients of weights and biases in their own dtype: sums over all time steps.

    Args:
        cell: names the products.
        weights: of the layer.
        operands: per product, what it is taken of, (T, B, H).
        d_products: per product, (T, B, n*H).
    """
    gradients = {}
    for product, operand, d_product in zip(cell.products, operands, d_products, strict=True):
        weight, bias = f"weight_{product.name}", f"bias_{product.name}"
        rows, columns = (part.reshape(-1, part.shape[-1]) for part in (d_product, operand))
        # Without the barrier XLA turns this into rows.T @ columns, half as fast.
        by_column = jnp.matmul(columns.T, rows, preferred_element_type=weights[weight].dtype)
        gradients[weight] = barred(by_column).T
        if bias in weights:
            gradients[bias] = rows.sum(0, dtype=weights[bias].dtype)
    return gradients


def vector_gradients(
    cell: Cell, weights: Weights, parts: Sequence[Array | float]
) -> dict[str, Array]:
    """Return the gradients (H,) of the vectors from those of all time steps, (T, B, H) or 0.0."""
    return {
        name: jnp.zeros_like(weights[name])
        if isinstance(part, float)
        else part.sum((0, 1), dtype=weights[name].dtype)
        for name, part in zip(cell.vectors, parts, strict=True)
    }
