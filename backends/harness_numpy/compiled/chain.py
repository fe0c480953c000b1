"""The time loop of any cell around its generated kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from harness.contract import Array, ArrayDtype, Cell
from harness_numpy.compiled.layout import Kernel
from harness_numpy.compiled.load import module
from harness_numpy.compiled.source import Plan, plan
from harness_numpy.recurrence.layer import Recurrence, Shape, Weights, joint_bias
from harness_numpy.recurrence.packed import Packed

FEW = 2  # sequences; up to here the compiled loop beats BLAS called per step (measured)
ROUND = 64  # columns
LINE = 64  # bytes of the cache
Call = Callable[..., Any]


@cache
def generated(cell: Cell) -> tuple[Plan, ModuleType]:
    """Return the plan of a cell and its compiled module."""
    planned = plan(cell)
    return planned, module(cell.name, planned.source)


class Compiled(Recurrence):
    """A loop whose kernels take arrays that never change; one call for few sequences.

    The kernels find their arrays by the names that their arguments have.
    """

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._plan, self._module = generated(cell)
        self._whole = shape.batch <= FEW or not cell.products
        self._ahead, self._back = [
            {index: product(index) for index in range(len(cell.products))}
            for product in (self._product_ahead, self._product_back)
        ]
        self._arrays = self._buffers()
        self._forward = self._calls(self._plan.ahead)
        self._backward = self._calls(self._plan.back)
        self._arguments = [
            [self._arrays[name] for name in names[1:]]
            for names in (self._plan.ahead_arguments, self._plan.back_arguments)
        ]

    def _product_ahead(self, index: int) -> Product:
        return Product(self.shape, 1, len(self.derived.pieces[index]), padded=self._whole)

    def _product_back(self, index: int) -> Product:
        return Product(self.shape, len(self.derived.pieces[index]), 1, padded=self._whole)

    def _buffers(self) -> dict[str, Array]:
        shape, cell, sizes = self.shape, self.cell, self._plan.sizes
        steps, batch, hidden = shape.steps, shape.batch, shape.hidden
        arrays = {
            "zx": self.zx,
            "kept": self._array(steps, batch, sizes["kept"] * hidden),
            "means": self._array(steps, batch, sizes["means"]),
            "scratch": self._array(sizes["scratch"] * hidden),
            "anchor": self._array(batch, sizes["anchor"] * hidden),
            "anchor_means": self._array(batch, sizes["anchor"]),
            "own": self._array(len(cell.vectors) * hidden),
            "unit": self._array(sizes["unit"] * hidden),
        }
        for state, name in enumerate(self._plan.states):
            arrays[f"state_{name}"] = self.states[state]
            arrays[f"d_state_{name}"] = np.zeros((batch, hidden), shape.dtype)
        for name, d_vector in zip(cell.vectors, self.d_vectors, strict=True):
            arrays[f"d_own_{name}"] = d_vector
        for index, name in enumerate(self._plan.products):
            ahead, back = self._ahead[index], self._back[index]
            arrays |= {
                f"product_{name}": ahead.out, f"ahead_{name}": ahead.matrix,
                f"back_{name}": back.out, f"behind_{name}": back.matrix,
                f"bias_{name}": self._array(len(self.derived.pieces[index]) * hidden),
                f"operand_{name}": self.operands[index],
                f"d_product_{name}": self.d_products[index],
            }  # fmt: skip
        return arrays

    def _calls(self, stages: Sequence[Kernel]) -> list[tuple[Call, list[Array], int | None]]:
        """Return each stage with its arrays but the first, and the product that follows."""
        return [
            (
                getattr(self._module, stage.name),
                [self._arrays[name] for name in stage.arrays[1:]],
                stage.product,
            )
            for stage in stages
        ]

    def input_bias(self, weights: Weights) -> Array:
        """Return all biases that only meet in zx plus a product."""
        return joint_bias(self.derived, weights)

    def forward(self, weights: Weights) -> None:
        """Take all steps."""
        arrays, hidden = self._arrays, self.shape.hidden
        for at, name in enumerate(self.cell.vectors):
            arrays["own"][at * hidden : (at + 1) * hidden] = weights[name]
        for index, product in enumerate(self.cell.products):
            self._ahead[index].load(weights[f"weight_{product.name}"].T)
            if product.bias:
                arrays[f"bias_{self._plan.products[index]}"][...] = weights[f"bias_{product.name}"]
        if self._plan.prepare is not None:
            self._module.prepare(arrays["own"], arrays["unit"])
        if self._whole:
            self._module.ahead(self.states[0], *self._arguments[0])
            return
        h = self.states[0]
        for t in range(self.shape.steps):
            for index in self._plan.outer:
                self._ahead[index].take(self.operands[index][t])
            for step, arguments, inner in self._forward:
                step(t, h, *arguments)
                if inner is not None:
                    self._ahead[inner].take(self.operands[inner][t])

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Take all steps back."""
        self._start_back(weights, d_hidden, d_final)
        if self._whole:
            self._module.back(d_hidden, *self._arguments[1])
        else:
            for t in reversed(range(self.shape.steps)):
                for step, arguments, inner in self._backward:
                    step(t, d_hidden, *arguments)
                    if inner is not None:
                        self._back[inner].take(self.d_products[inner][t])
                for index in self._plan.outer:
                    self._back[index].take(self.d_products[index][t])
        return self._end_back()

    def _start_back(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> None:
        for index, product in enumerate(self.cell.products):
            self._back[index].load(weights[f"weight_{product.name}"])
            self._back[index].out.fill(0)
        for d_vector in self.d_vectors:
            d_vector.fill(0)
        for state, name in enumerate(self._plan.states):
            self._arrays[f"d_state_{name}"][...] = (
                0 if state == 0 or d_final is None else d_final[state]
            )
        if d_final is not None:
            d_hidden[-1] += d_final[0]

    def _end_back(self) -> Sequence[Array]:
        """Return the gradients of the initial state: handed on, and through products."""
        d_initial = [self._arrays[f"d_state_{name}"] for name in self._plan.states]
        for index in self._plan.outer:
            d_initial[self.derived.operands[index].value] += self._back[index].columns_out
        return d_initial


class Product:
    """A learnt product of a step: ``out`` is overwritten by every call.

    Args:
        shape: of the layer.
        depth, width: of the matrix, in units of H.
        padded: for compiled code, rounded up to whole SIMD rounds: odd columns are slow.
    """

    def __init__(self, shape: Shape, depth: int, width: int, *, padded: bool) -> None:
        rows, columns = depth * shape.hidden, width * shape.hidden
        self._packed: Packed | None = None
        if padded:
            across = -(-columns // ROUND) * ROUND
            self.matrix = aligned(rows, across, shape.dtype)
            self.out = aligned(shape.batch, across, shape.dtype)
        else:
            self._packed = Packed(shape.batch, rows, columns, shape.dtype, threads=shape.threads)
            self.matrix, self.out = np.zeros((0, 0), shape.dtype), self._packed.out[0]
        self.columns_out = self.out[:, :columns]

    def load(self, matrix: Array) -> None:
        """Copy (K, N) in."""
        if self._packed is None:
            self.matrix[:, : matrix.shape[1]] = matrix
        else:
            self._packed.load(matrix)

    def take(self, x: Array) -> None:
        """Write ``x @ matrix`` to ``out``."""
        assert self._packed is not None  # noqa: S101
        self._packed(x)


def aligned(rows: int, columns: int, dtype: ArrayDtype) -> Array:
    """Return zeros whose rows start on cache lines, if columns fill whole lines."""
    size = rows * columns * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(rows, columns)
