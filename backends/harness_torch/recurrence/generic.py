"""The derived BPTT of any cell, operation by operation: step forwards, gradient backwards."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence import derive
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.gradients import product_gradients, with_products
from harness_torch.recurrence.kernel import Derivatives
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.ops import OPS, LayerOps


class GenericKernel:
    """Runs without a graph and keeps what the gradient needs; d weight is one product."""

    def __init__(self, cell: Cell) -> None:
        self._cell, self._recurrence, self.buffers = cell, derive(cell), Buffers()

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights as they are."""
        return weights

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run the step over all time steps."""
        ops, names = LayerOps(others), [product.name for product in self._cell.products]
        self._zx, self._others, self._states = self.buffers.steps("zx"), others, [state]
        self._own = tuple(others[name] for name in self._cell.vectors)
        self._products: list[States] = []
        for zx_t in self._zx:
            state, products = self._recurrence.step(
                OPS, zx_t, state, self._own, lambda index, x: ops.product(names[index], x)
            )
            self._products.append(products)
            self._states.append(state)
        hidden = torch.stack([each[0] for each in self._states[1:]])
        return hidden, tuple(part.clone() for part in state)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run the gradient from the last time step to the first."""
        totals, d_zx, d_products = [], [], []
        weights = [self._others[f"weight_{product.name}"] for product in self._cell.products]
        d_vectors = [d_hidden.new_zeros(d_hidden.shape[1:]) for _ in self._own]
        d_state = d_final
        for t in reversed(range(len(d_hidden))):
            d_state = (d_state[0] + d_hidden[t], *d_state[1:])
            totals.append(d_state[0])
            gradient = self._recurrence.gradient(
                OPS, self._zx[t], self._products[t], self._states[t], self._own, d_state,
                lambda index, d_product: d_product @ weights[index],
            )  # fmt: skip
            d_zx.append(gradient.zx)
            d_products.append(gradient.products)
            d_state = with_products(
                self._recurrence, gradient.state, gradient.products, weights, d_state[0]
            )
            d_vectors = [a + b for a, b in zip(d_vectors, gradient.vectors, strict=True)]
        return Derivatives(
            torch.stack(d_zx[::-1]),
            self._gradients(d_products[::-1])
            | {name: d.sum(0) for name, d in zip(self._cell.vectors, d_vectors, strict=True)},
            torch.stack(totals[::-1]),
            d_state,
        )

    def _gradients(self, d_products: list[States]) -> dict[str, Tensor]:
        before = tuple(map(torch.stack, zip(*self._states[:-1], strict=True)))
        products = tuple(map(torch.stack, zip(*self._products, strict=True)))
        operands = self._recurrence.operand_values(
            OPS, self.buffers["zx"], products, before, self._own
        )
        whole = map(torch.stack, zip(*d_products, strict=True))
        return product_gradients(self._cell, operands, tuple(whole))
