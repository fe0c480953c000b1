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
State = tuple[Array, ...]  # one array (layers, B, H) per name in Cell.states

Loss = Literal["cross_entropy", "squared_error"]


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
    from logits, or the squared error averaged over the K outputs. Dropout (training only) acts on
    the outputs of every layer but the last. The values that remain are scaled by
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

        Each layer has weight_ih, weight_hh, bias_ih and bias_hh; the readout comes last. A cell
        that is not recurrent has no ``weight_hh`` and no ``bias_hh``.
        """
        rows = len(self.cell.gates) * self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            width = self.inputs.size if layer == 0 else self.hidden
            shapes[f"weight_ih_l{layer}"] = (rows, width)
            if self.cell.recurrent:
                shapes[f"weight_hh_l{layer}"] = (rows, self.hidden)
            shapes[f"bias_ih_l{layer}"] = (rows,)
            if self.cell.recurrent:
                shapes[f"bias_hh_l{layer}"] = (rows,)
        shapes["weight_out"] = (self.outputs, self.hidden)
        shapes["bias_out"] = (self.outputs,)
        return shapes

    def parameter_count(self) -> int:
        """Return the number of trained scalars (two biases per gate, as in ``torch.nn``)."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes().values())
