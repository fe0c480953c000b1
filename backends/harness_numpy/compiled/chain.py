"""The time loop of any cell around its generated kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from harness.contract import Array, ArrayDtype, Cell
from harness_numpy.compiled.jit import module
from harness_numpy.compiled.source import Kernel, Program
from harness_numpy.recurrence.layer import Recurrence, Shape, Weights, joint_bias
from harness_numpy.recurrence.packed import Packed

FEW = 2  # sequences; up to here the compiled loop beats BLAS called per step (measured)
ROUND = 64  # columns
LINE = 64  # bytes of the cache


@cache
def generated(cell: Cell) -> tuple[Program, Any]:
    """Return the program of a cell and its compiled module."""
    program = Program(cell)
    return program, module(cell.name, program.source)


class Compiled(Recurrence):
    """A loop whose kernels find their arrays by the names that their arguments have."""

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._program, self._module = generated(cell)
        self._whole = shape.batch <= FEW or not cell.products
        counts = [len(pieces) for pieces in self.derived.pieces]
        self._ahead = [Product(shape, 1, count, padded=self._whole) for count in counts]
        self._back = [Product(shape, count, 1, padded=self._whole) for count in counts]
        self._arrays = self._buffers()

    def _buffers(self) -> dict[str, Array]:
        stages = self._program.stages
        steps, batch, hidden = self.shape.steps, self.shape.batch, self.shape.hidden
        arrays = {
            "zx": self.zx,
            "kept": self._array(steps, batch, stages.extra * hidden),
            "means": self._array(steps, batch, len(stages.means)),
            "d_means": self._array(batch, len(stages.d_means)),
            "scratch": self._array(max(len(stages.means), len(stages.d_means)), hidden),
            "held": self._array(len(stages.held), batch, hidden),
            "own": self._array(len(stages.own), hidden),
        }
        for at, name in enumerate(self._program.states):
            arrays[f"state_{name}"] = self.states[at]
            arrays[f"carry_{name}"] = self._array(batch, hidden)
        for at, name in enumerate(self._program.vectors):
            arrays[f"d_vector_{name}"] = self.d_vectors[at]
        for at, name in enumerate(self._program.products):
            arrays |= {
                f"product_{name}": self._ahead[at].out, f"matrix_{name}": self._ahead[at].matrix,
                f"back_{name}": self._back[at].out, f"back_matrix_{name}": self._back[at].matrix,
                f"bias_{name}": self._array(len(self.derived.pieces[at]) * hidden),
                f"operand_{name}": self.operands[at], f"d_product_{name}": self.d_products[at],
            }  # fmt: skip
        return arrays

    def input_bias(self, weights: Weights) -> Array:
        """Return all biases that only meet in zx plus a product."""
        return joint_bias(self.derived, weights)

    def forward(self, weights: Weights) -> None:
        """Take all steps."""
        for at, product in enumerate(self.cell.products):
            self._ahead[at].load(weights[f"weight_{product.name}"].T)
            if product.bias:
                bias = self._arrays[f"bias_{self._program.products[at]}"]
                bias[...] = weights[f"bias_{product.name}"]
        if self._program.stages.own:
            vectors = [weights[name] for name in self.cell.vectors]
            self._module.prepare(self._arrays["own"], *vectors)
        *parts, (whole, arrays, _) = self._calls(self._program.forward)
        if self._whole:
            whole(*arrays)
            return
        for t in range(self.shape.steps):
            for at in self._program.outer:
                self._ahead[at].take(self.operands[at][t])
            for part, arguments, products in parts:
                part(t, *arguments)
                for at in products:
                    self._ahead[at].take(self.operands[at][t])

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Take all steps back."""
        self._arrays["d_hidden"] = d_hidden
        for at, product in enumerate(self.cell.products):
            self._back[at].load(weights[f"weight_{product.name}"])
        for array in (*self.d_vectors, *(product.out for product in self._back)):
            array.fill(0)
        for state, (arrived, *_) in enumerate(self._arrivals()):
            arrived[...] = 0 if d_final is None else d_final[state]
        *parts, (whole, arrays, _) = self._calls(self._program.reverse)
        if self._whole:
            whole(*arrays)
        else:
            for t in reversed(range(self.shape.steps)):
                for part, arguments, products in parts:
                    part(t, *arguments)
                    for at in products:
                        self._back[at].take(self.d_products[at][t])
                for at in self._program.outer:
                    self._back[at].take(self.d_products[at][t])
        return [sum(arrived[1:], arrived[0]) for arrived in self._arrivals()]

    def _arrivals(self) -> Iterator[list[Array]]:
        """Yield per state the arrays whose sum is its gradient, one time step earlier."""
        for state, name in enumerate(self._program.states):
            carried = self._program.stages.carried[state]
            arrived = [self._arrays[f"carry_{name}"]] if carried else []
            operands = self.derived.operands
            fed = [at for at in self._program.outer if operands[at].value == state]
            yield arrived + [self._back[at].columns_out for at in fed]

    def _calls(self, kernels: Sequence[Kernel]) -> list[tuple[Any, list[Array], Sequence[int]]]:
        """Return each kernel with its arrays, and the products that follow."""
        return [
            (
                getattr(self._module, kernel.name),
                [self._arrays[name] for name in kernel.arrays],
                kernel.products,
            )
            for kernel in kernels
        ]


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
