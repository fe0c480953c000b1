"""Variant ``vectorised``: NumPy code written from the graph of a cell, one module per graph.

Backwards, every factor that does not wait for a gradient is taken for a block of time steps that
fits the second-level cache; per step an anchor times a factor remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.contract import Array, Cell
from harness.recurrence import derive
from harness.recurrence.statements.slots import Slot
from harness_numpy.recurrence.layer import OPS, Recurrence, Shape, Weights, joint_bias
from harness_numpy.recurrence.packed import Packed
from harness_numpy.written.emit import program

BLOCK = 65_536  # elements of the factors of one block of time steps


def source(cell: Cell) -> str:
    """Return the module that runs the cell."""
    return program(derive(cell)).source


class Vectorised(Recurrence):
    """One layer in the code written for its cell.

    Attributes:
        buffers: name -> (T, n, B, H), or (n, B, H) of one time step; factors have a block for T.
    """

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._program = program(self.derived)
        batch, hidden = shape.batch, shape.hidden
        widths = [len(pieces) for pieces in self.derived.pieces]
        kind, threads = shape.dtype, shape.threads
        self._ahead = [
            Packed(batch, hidden, n * hidden, kind, blocks=n, threads=threads) for n in widths
        ]
        self._behind = [Packed(batch, n * hidden, hidden, kind, threads=threads) for n in widths]
        factors = self._program.buffers.get("factor", Slot("factor")).last
        self._block = max(1, min(shape.steps, BLOCK // (factors * batch * hidden)))
        self.buffers = self._all_buffers()
        self._forward_rows = self._rows("forward")
        self._d_hidden: Array = np.empty(0)  # of which ``_backward_rows`` has views
        self._blocks = [
            (start, [self._of_block(slot, start) for slot in self._slots("factors")])
            for start in range(0, shape.steps, self._block)
        ]

    def _all_buffers(self) -> dict[str, Array]:
        steps, batch, hidden = self.shape.steps, self.shape.batch, self.shape.hidden
        zx = self._by_gate(self.zx)
        buffers = {"zx": zx, "d_zx": zx}
        for at, product in enumerate(self.cell.products):
            buffers[f"product_{product.name}"] = self._ahead[at].out
            buffers[f"back_{product.name}"] = self._behind[at].out
            buffers[f"d_product_{product.name}"] = self._by_gate(self.d_products[at])
            buffers[f"operand_{product.name}"] = self.operands[at][:, None]
            buffers[f"rows_{product.name}"] = self.d_products[at][:, None]
        for name, states in zip(self.cell.states, self.states, strict=True):
            buffers[f"state_{name}"] = states[:, None]
            buffers[f"d_state_{name}"] = self._array(1, batch, hidden)
        for name, d_vector in zip(self.cell.vectors, self.d_vectors, strict=True):
            buffers[f"d_vector_{name}"] = d_vector[None]
        for name, slot in self._program.buffers.items():
            time = [steps if name.startswith("kept") else self._block] if slot.timed else []
            buffers[name] = self._array(*time, slot.last, batch, hidden if slot.wide else 1)
        return buffers

    def _by_gate(self, array: Array) -> Array:
        """Return (T, B, G*H) as (T, G, B, H), a view."""
        shape = self.shape
        return array.reshape(shape.steps, shape.batch, -1, shape.hidden).transpose(0, 2, 1, 3)

    def _slots(self, function: str) -> Sequence[Slot]:
        return self._program.functions[function].slots

    def _view(self, slot: Slot) -> Array:
        """Return a slot of all time steps, or of one."""
        array = self.buffers[slot.buffer]
        if slot.timed and slot.buffer.startswith("state_"):
            array = array[slot.shift : slot.shift + self.shape.steps]
        parts = slot.first if slot.last - slot.first == 1 else slice(slot.first, slot.last)
        return array[:, parts] if slot.timed else array[parts]

    def _of_block(self, slot: Slot, start: int) -> Array:
        stop = min(start + self._block, self.shape.steps)
        view = self._view(slot)
        return view[start:stop] if len(view) == self.shape.steps else view[: stop - start]

    def _rows(self, function: str) -> list[tuple[Array, ...]]:
        return self._program.rows(function, self.shape.steps, self._by_step)

    def _by_step(self, slot: Slot) -> Sequence[Array]:
        """Return the views of each time step; those of a block come again and again."""
        if slot.buffer.startswith("d_state_"):
            d_hidden = list(self._d_hidden)
            return d_hidden if slot.shift else [self.buffers[slot.buffer][0], *d_hidden[:-1]]
        views = list(self._view(slot))
        return [views[t % len(views)] for t in range(self.shape.steps)]

    def input_bias(self, weights: Weights) -> Array:
        """Return bias_ih and the biases of products that only meet zx in a sum."""
        return joint_bias(self.derived, weights)

    def _arguments(self, weights: Weights) -> dict[str, Any]:
        """Return what no time step changes."""
        fixed = self._program.units(OPS, [weights[name] for name in self.cell.vectors])
        for name, (kind, *what) in self._program.fixed.items():
            if kind == "ahead":
                fixed[name] = self._ahead[what[0]]
            elif kind == "behind":
                fixed[name] = self._behind[what[0]]
            elif kind == "each":
                fixed[name] = np.array(what[0], self.shape.dtype)[:, None, None]
            elif kind == "bias":
                bias, at = what
                fixed[name] = weights[bias].reshape(-1, self.shape.hidden)[at]
        return fixed

    def forward(self, weights: Weights) -> None:
        """Pack the products and run the loop."""
        for product, packed in zip(self.cell.products, self._ahead, strict=True):
            packed.load(weights[f"weight_{product.name}"].T)
        views = map(self._view, self._slots("forward"))
        self._program.run("forward", self._arguments(weights), self._forward_rows, *views)

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Pack the products and run the loop back."""
        for product, packed in zip(self.cell.products, self._behind, strict=True):
            packed.load(weights[f"weight_{product.name}"])
        d_states = [self.buffers[f"d_state_{name}"][0] for name in self.cell.states]
        for at, d_state in enumerate(d_states):
            d_state[...] = 0.0 if d_final is None or at == 0 else d_final[at]
        if d_final is not None:
            d_hidden[-1] += d_final[0]
        for d_vector in self.d_vectors:
            d_vector.fill(0)
        if d_hidden is not self._d_hidden:
            self._d_hidden = d_hidden
            self._backward_rows = self._rows("backward")
        fixed, slots = (
            self._arguments(weights),
            [self._view(slot) for slot in self._slots("backward")],
        )
        for start, block in reversed(self._blocks):
            self._program.run("factors", fixed, *block)
            for rows in self._steps(start, d_states):
                self._program.run("backward", fixed, rows, *slots)
        return d_states

    def _steps(self, start: int, d_states: Sequence[Array]) -> Iterator[list[tuple[Array, ...]]]:
        """Yield the time steps of a block: all; or one by one, keeping their gradients."""
        rows = self._backward_rows[start : start + self._block]
        if not self.d_others:
            yield rows
            return
        for at in reversed(range(len(rows))):
            for d_other, d_state in zip(self.d_others, d_states[1:], strict=True):
                d_other[start + at] = d_state
            yield rows[at : at + 1]
