"""The trained function: input encoding or embedding -> stacked cells -> linear readout -> loss.

No framework is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.contract.cell import Cell
from harness.contract.errors import UnsupportedError

Array = NDArray[np.floating]
Parameters = dict[str, Array]  # by torch.nn name, e.g. weight_ih_l0 (G*H, D)
# One array per name in ``Cell.states``: (layers, B, H), or (layers, B, H, H) for a matrix.
State = tuple[Array, ...]

Loss = Literal["cross_entropy", "squared_error", "binary_cross_entropy"]


@dataclass(frozen=True)
class Inputs:
    """The input encoding: ``token`` ids (T, B), one-hot of ``size`` classes, or ``real`` (T, B, D).

    With ``Model.embedding`` tokens are rows of a table instead. Without, a backend may replace the
    product with a one-hot vector by a gather of columns of
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

    An embedding of width E is a trained table ``embedding`` (V, E), as ``torch.nn.Embedding``: the
    first layer reads the row of each token, so ``weight_ih_l0`` is (G*H, E). With a tied readout
    (Press & Wolf 2017) the table is also the readout's weight: there is no ``weight_out``, and the
    gradient of the table is the sum of both uses.

    Raises:
        UnsupportedError: an embedding of real inputs; or a tied readout without an embedding of
            width H, or with K other than V.
    """

    cell: Cell
    inputs: Inputs
    hidden: int
    layers: int
    outputs: int  # K
    loss: Loss
    dropout: float = 0.0
    embedding: int | None = None  # E
    tied_readout: bool = False

    def __post_init__(self) -> None:
        """Check that embedding and readout fit the inputs and outputs."""
        if self.embedding is not None and self.inputs.kind != "token":
            raise UnsupportedError(
                "an embedding needs tokens, and this task has real inputs: leave --embedding out"
            )
        if self.tied_readout and self.embedding != self.hidden:
            raise UnsupportedError(tied_problem(self.embedding, self.hidden))
        if self.tied_readout and self.outputs != self.inputs.size:
            raise UnsupportedError(
                f"a tied readout needs as many outputs as tokens, and this task has {self.outputs} "
                f"outputs and {self.inputs.size} tokens: leave --tied-readout out"
            )

    @property
    def input_width(self) -> int:
        """The width of what the first layer reads: E; without an embedding V or D."""
        return self.inputs.size if self.embedding is None else self.embedding

    @property
    def readout_weight(self) -> str:
        """The name of the readout's weight (K, H)."""
        return "embedding" if self.tied_readout else "weight_out"

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape in the order of ``torch.nn``.

        The embedding comes first, if there is one. Each layer has weight_ih, a weight for each
        product of the cell (``weight_hh``), bias_ih, the biases of the products (``bias_hh``), and
        the cell's vectors; the readout comes last.
        """
        rows = len(self.cell.gates) * self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding is not None:
            shapes["embedding"] = (self.inputs.size, self.embedding)
        for layer in range(self.layers):
            width = self.input_width if layer == 0 else self.hidden
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
        if not self.tied_readout:
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


def tied_problem(embedding: int | None, hidden: int) -> str:
    """Return what is wrong with a tied readout whose embedding does not have width H."""
    width = "no embedding" if embedding is None else f"an embedding of width {embedding}"
    return (
        f"a tied readout needs an embedding as wide as the hidden state, and there is {width} for "
        f"{hidden} hidden units: give --embedding {hidden}"
    )
