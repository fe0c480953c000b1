"""What every derived reverse adds to the gradients of single steps: products with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence import Recurrence
from harness_torch.recurrence.layer import States


def with_products(
    recurrence: Recurrence,
    d_state: Sequence[Any],
    d_products: Sequence[Tensor],
    weights: Sequence[Tensor],
    like: States,
) -> States:
    """Add to the gradient of each state that of the products that are taken of it.

    Args:
        recurrence: of the cell.
        d_state: along pointwise paths; a number, or broadcast to ``like``.
        d_products: per product (B, n*H).
        weights: per product (n*H, H).
        like: the states, for their shapes.
    """
    totals = [
        part if isinstance(part, Tensor) else torch.zeros_like(state)
        for part, state in zip(d_state, like, strict=True)
    ]
    for operand, d_product, weight in zip(recurrence.operands, d_products, weights, strict=True):
        if operand.op == "state":
            totals[operand.value] = torch.addmm(totals[operand.value], d_product, weight)
    return tuple(part.expand_as(state) for part, state in zip(totals, like, strict=True))


def product_gradients(
    cell: Cell, operands: Sequence[Tensor], d_products: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Return the gradients of the products' weights and biases, by name.

    Args:
        cell: declares the products.
        operands: per product, what it was taken of, (T, B, H).
        d_products: per product (T, B, n*H).
    """
    gradients = {}
    for product, operand, d_product in zip(cell.products, operands, d_products, strict=True):
        rows = d_product.flatten(0, 1)
        wide = operand.expand(*d_product.shape[:2], operand.shape[-1])
        gradients[f"weight_{product.name}"] = rows.t() @ wide.flatten(0, 1)
        if product.bias:
            gradients[f"bias_{product.name}"] = rows.sum(0)
    return gradients
