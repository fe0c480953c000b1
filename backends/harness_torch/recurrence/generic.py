"""The hand-derived BPTT of any cell: its ``step`` forwards, its ``step_gradient`` backwards."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence.classic import classic
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.kernel import Derivatives
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.loop import recurrent_product
from harness_torch.recurrence.ops import OPS


class GenericKernel:
    """Runs without a graph and keeps what ``step_gradient`` needs; d weight is one product."""

    def __init__(self, cell: Cell) -> None:
        self._cell, self.buffers = classic(cell), Buffers()

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights as they are."""
        return weights

    def forward(
        self, weight_hh: Tensor | None, bias_hh: Tensor | None, state: States
    ) -> tuple[Tensor, States]:
        """Run ``step`` over all time steps."""
        self._zx, self._weight, self._states = self.buffers.steps("zx"), weight_hh, [state]
        self._zh: list[Tensor | None] = []
        for zx_t in self._zx:
            zh = recurrent_product(state[0], weight_hh, bias_hh)
            state = self._cell.step(OPS, zx_t, zh, state)
            self._zh.append(zh)
            self._states.append(state)
        hidden = torch.stack([each[0] for each in self._states[1:]])
        return hidden, tuple(part.clone() for part in state)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run ``step_gradient`` from the last time step to the first."""
        totals, d_zx, d_zh, d_state = self._reverse(d_hidden.unbind(0), d_final)
        d_all = torch.stack(d_zx[::-1])
        if self._weight is None:
            return Derivatives(d_all, None, None, torch.stack(totals[::-1]), d_state)
        shared = all(a is b for a, b in zip(d_zx, d_zh, strict=True))
        d_zh_all = (d_all if shared else torch.stack(d_zh[::-1])).flatten(0, 1)
        h_before = torch.stack([state[0] for state in self._states[:-1]]).flatten(0, 1)
        return Derivatives(
            d_all, d_zh_all.t() @ h_before, d_zh_all.sum(0), torch.stack(totals[::-1]), d_state
        )

    def _reverse(
        self, d_hidden: tuple[Tensor, ...], d_state: States
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], States]:
        """Return the total d_h, d_zx and d_zh, last step first, and the initial state's."""
        totals, d_zx, d_zh = [], [], []
        for t in reversed(range(len(d_hidden))):
            d_h = d_state[0] + d_hidden[t]
            before, after = self._states[t], self._states[t + 1]
            d_zx_t, d_zh_t, parts = self._cell.step_gradient(
                OPS, self._zx[t], self._zh[t], before, after, (d_h, *d_state[1:])
            )
            totals.append(d_h)
            d_zx.append(d_zx_t)
            d_zh.append(d_zh_t)
            d_state = tuple(
                part if isinstance(part, Tensor) else torch.zeros_like(d_h) for part in parts
            )
            if self._weight is not None:
                d_state = (torch.addmm(d_state[0], d_zh_t, self._weight), *d_state[1:])
        return totals, d_zx, d_zh, d_state
