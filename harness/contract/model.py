"""The trained function: input encoding -> stacked cells -> linear readout -> loss.

No framework is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.contract.cell import Cell

Array = NDArray[np.floating]
Parameters = dict[str, Array]  # by torch.nn name, e.g. weight_ih_l0 (G*H, D)
# One array per name in ``Cell.states``: (layers, B, H), or (layers, B, H, H) for a matrix.
State = tuple[Array, ...]

Loss = Literal["cross_entropy", "squared_error", "binary_cross_entropy"]


@dataclass(frozen=True)
class Inputs:
    """The input encoding: ``token`` ids (T, B), one-hot of ``size`` classes, or ``real`` (T, B, D).

    A backend may replace the product with a one-hot vector by a gather of columns of
    ``weight_ih``: it is the same function.
    """

    kind: Literal["token", "real"]
    size: int  # V for tokens, D for real vectors


@dataclass(frozen=True)
class Model:
    """One fully specified function, the same for every backend and variant.

    The loss is the mean over the positions where the batch's mask is True: cross-entropy in nats
    from logits; or, averaged over the K outputs, the squared error, or the binary cross-entropy in
    nats from logits (``torch.nn.functional.binary_cross_entropy_with_logits``). Dropout (training
    only) acts on the outputs of every layer but the last. The values that remain are scaled by
    1 / (1 - dropout), as in ``torch.nn.LSTM``.
    """

    cell: Cell
    inputs: Inputs
    hidden: int
    layers: int
    outputs: int  # K
    loss: Loss
    dropout: float = 0.0

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape in the order of ``torch.nn``.

        Each layer has weight_ih, a weight for each product of the cell (``weight_hh``), bias_ih,
        the biases of the products (``bias_hh``), and the cell's vectors; the readout comes last.
        """
        rows = len(self.cell.gates) * self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            width = self.inputs.size if layer == 0 else self.hidden
            shapes[f"weight_ih_l{layer}"] = (rows, width)
            products = {
                product: len(product.gates or self.cell.gates) * self.hidden
                for product in self.cell.products
            }
            for product, wide in products.items():
                shapes[f"weight_{product.name}_l{layer}"] = (wide, self.hidden)
            shapes[f"bias_ih_l{layer}"] = (rows,)
            for product, wide in products.items():
                if product.bias:
                    shapes[f"bias_{product.name}_l{layer}"] = (wide,)
            for vector in self.cell.vectors:
                shapes[f"{vector}_l{layer}"] = (self.hidden,)
        shapes["weight_out"] = (self.outputs, self.hidden)
        shapes["bias_out"] = (self.outputs,)
        return shapes

    def state_shapes(self, *leading: int) -> tuple[tuple[int, ...], ...]:
        """Return the shape of each state: (layers, leading..., H), or with (H, H) for a matrix."""
        shapes = self.cell.state_shapes(self.hidden)
        return tuple((self.layers, *leading, *shape) for shape in shapes)

    def recurrent_rows(self) -> int:
        """Return the rows of all products with the state in one layer: G*H for ``weight_hh``."""
        gates = self.cell.gates
        return sum(len(each.gates or gates) for each in self.cell.products) * self.hidden

    def parameter_count(self) -> int:
        """Return the number of trained scalars (two biases per gate, as in ``torch.nn``)."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes().values())
