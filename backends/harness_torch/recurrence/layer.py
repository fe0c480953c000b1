"""One layer: from values below to h of all time steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from harness.contract import Cell

States = tuple[Tensor, ...]
# See ``harness_torch.recurrence.loop.loop``.
Recurrence = Callable[
    [Cell, Tensor, Mapping[str, Tensor], States, Tensor | None], tuple[Tensor, States]
]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weights of one layer.

    Attributes:
        weight_ih: (G*H, D).
        bias_ih: (G*H,).
        others: name without the layer -> weight: ``weight_NAME`` (n*H, H) and ``bias_NAME`` (n*H,)
            of each product of the cell, and its vectors (H,).
    """

    weight_ih: Tensor
    bias_ih: Tensor
    others: Mapping[str, Tensor]


class Layer(Protocol):
    """Runs one layer over all time steps."""

    def __call__(
        self, values: Tensor, weights: LayerWeights, state: States, probe: Tensor | None
    ) -> tuple[Tensor, States]:
        """Return h (T, B, H) and the final state, each (B, H).

        Args:
            values: (T, B) token ids, or (T, B, D): vectors, or h of the layer below.
            weights: of this layer.
            state: the initial state, each (B, H).
            probe: (T, B, H) zeros whose gradient is d loss / d h_t, or None.
        """


class ProductLayer:
    """The input product for all time steps at once, then a recurrence over it."""

    def __init__(self, cell: Cell, recurrence: Recurrence) -> None:
        self._cell, self._recurrence = cell, recurrence

    def __call__(
        self, values: Tensor, weights: LayerWeights, state: States, probe: Tensor | None
    ) -> tuple[Tensor, States]:
        """Run the layer over all time steps."""
        zx = input_product(values, weights.weight_ih, weights.bias_ih)
        return self._recurrence(self._cell, zx, weights.others, state, probe)


def input_product(inputs: Tensor, weight_ih: Tensor, bias_ih: Tensor) -> Tensor:
    """Return zx (T, B, G*H) for all time steps at once; for tokens, a gather of biased columns."""
    if inputs.is_floating_point():
        return functional.linear(inputs, weight_ih, bias_ih)
    rows = (weight_ih.t() + bias_ih).contiguous()  # strided rows take eight times as long
    return functional.embedding(inputs, rows)
