"""A cell as ``step(ops, zx, zh, state)`` and ``step_gradient``: for engines to be converted."""

from __future__ import annotations

from typing import Any

from harness.contract import Cell, Ops, Tensor
from harness.recurrence.derived import derive


class Classic:
    """The step of a cell with at most the product ``hh`` of h, and no vectors."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.recurrence, self.recurrent = cell, derive(cell), cell.recurrent

    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: Any) -> Any:
        """Return the new states."""
        return self.recurrence.step(ops, zx, state, (), lambda *_: zh)[0]

    def step_gradient(
        self, ops: Ops, zx: Tensor, zh: Tensor, state: Any, _new: Any, d_new: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """Return d_zx, d_zh and d_state."""
        products = () if zh is None else (zh,)
        gradient = self.recurrence.gradient(ops, zx, products, state, (), d_new, lambda *_: None)
        merged = len(self.recurrence.merged) == len(self.cell.gates)
        d_zh = None if zh is None else gradient.zx if merged else gradient.products[0]
        return gradient.zx, d_zh, gradient.state


def classic(cell: Cell) -> Classic:
    """Return the cell in the old form."""
    return Classic(cell)
