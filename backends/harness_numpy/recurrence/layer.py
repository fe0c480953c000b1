"""One layer unrolled over time: the interface, and the plainest loop, which runs any cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.contract import Array, ArrayDtype, Cell
from harness.recurrence import Recurrence as Derived
from harness.recurrence import derive
from harness_numpy.recurrence.ops import NumpyOps

OPS = NumpyOps()
Weights = Mapping[str, Array]  # of one layer, named without its number: weight_hh, peephole_i


@dataclass(frozen=True)
class Shape:
    """The sizes of one unrolled layer, and how it may compute."""

    steps: int  # T
    batch: int  # B
    hidden: int  # H
    dtype: ArrayDtype
    threads: int = 1  # of BLAS


class Recurrence(ABC):
    """One layer unrolled over T steps, with buffers for one shape.

    Attributes:
        zx: (T, B, G*H) input products; after ``backward``, d loss / d zx. In between, the
            recurrence may use it for anything.
        states: (T + 1, B, H) per state of the cell, (T + 1, B, H, H) for a matrix; entry 0 is the
            state before the first step.
        operands: per product, what it was taken of, (T, B, H).
        d_products: per product, d loss / d product (T, B, n*H) after ``backward``; may be ``zx``
            itself, and in between it may hold anything.
        d_vectors: per vector, d loss / d vector of each sequence, (B, H), after ``backward``.
        d_others: per state except h, shaped as its T new values. ``backward`` of the loops in plain
            NumPy fills them with the total derivative d loss / d state; empty: not wanted.
    """

    def __init__(self, cell: Cell, shape: Shape) -> None:
        self.cell, self.shape, self.derived = cell, shape, derive(cell)
        rows = (shape.steps, shape.batch)
        self.zx = self._array(*rows, len(cell.gates) * shape.hidden)
        self.states: list[Array] = [
            np.zeros((shape.steps + 1, shape.batch, *sizes), shape.dtype)
            for sizes in cell.state_shapes(shape.hidden)
        ]
        self.operands = self._operands()
        self.d_products = [
            self.zx
            if is_sum_with_zx(self.derived, index)
            else self._array(*rows, len(pieces) * shape.hidden)
            for index, pieces in enumerate(self.derived.pieces)
        ]
        self.d_vectors = [self._array(shape.batch, shape.hidden) for _ in cell.vectors]
        self.d_others: Sequence[Array] = ()

    def _operands(self) -> list[Array]:
        """Return per product what it is taken of: states before or after the step, or a buffer."""
        shape, derived = self.shape, self.derived
        result = {node: s[1:] for node, s in zip(derived.after, self.states, strict=True)}
        # A new state may be an old one: this is there before the step.
        result |= {node: s[:-1] for node, s in zip(derived.before, self.states, strict=True)}
        for node in derived.operands:
            if node not in result:
                result[node] = self._array(shape.steps, shape.batch, shape.hidden)
        return [result[node] for node in derived.operands]

    def _array(self, *sizes: int) -> Array:
        return np.empty(sizes, self.shape.dtype)

    def input_bias(self, weights: Weights) -> Array:
        """Return the bias (G*H,) that is added to the input products before ``forward``.

        A recurrence may add the biases of products here that only meet zx in a sum.
        """
        return weights["bias_ih"]

    @abstractmethod
    def forward(self, weights: Weights) -> None:
        """Fill ``states`` from ``zx`` and the initial state."""

    @abstractmethod
    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Turn ``d_hidden`` into the total derivative, and fill the gradients of the attributes.

        Args:
            weights: as in ``forward``.
            d_hidden: (T, B, H), d loss / d h_t without this layer's recurrence; changed in place.
            d_final: d loss / d final state through the steps after these, each (B, H), never
                changed; None: zero.

        Returns:
            d loss / d initial state, each (B, H); may be a buffer that the next call overwrites.
        """

    def weight_gradients(self, out: Weights) -> None:
        """Fill the gradients of the products and vectors of ``out`` after ``backward``.

        Those of weight_ih and bias_ih are there already.
        """
        for product, d_product, operand in zip(
            self.cell.products, self.d_products, self.operands, strict=True
        ):
            d_rows = rows(d_product)
            np.matmul(d_rows.T, rows(operand), out=out[f"weight_{product.name}"])
            if product.bias and d_product is self.zx:
                out[f"bias_{product.name}"][...] = out["bias_ih"]
            elif product.bias:
                sum_rows(d_rows, out[f"bias_{product.name}"])
        for vector, d_vector in zip(self.cell.vectors, self.d_vectors, strict=True):
            sum_rows(d_vector, out[vector])


def is_sum_with_zx(derived: Derived, index: int) -> bool:
    """Say whether the cell reads product ``index`` only in sums of each piece with zx's."""
    pieces = range(len(derived.pieces[index]))
    alike = all(derived.merged.get(piece) == (index, piece) for piece in pieces)
    return alike and len(pieces) == len(derived.gates)


def joint_bias(derived: Derived, weights: Weights) -> Array:
    """Return bias_ih plus the biases of the pieces that are read only in a sum with zx's."""
    bias = weights["bias_ih"].reshape(len(derived.gates), -1).copy()
    for gate, (index, piece) in derived.merged.items():
        product = derived.cell.products[index]
        if product.bias:
            bias[gate] += weights[f"bias_{product.name}"].reshape(-1, bias.shape[1])[piece]
    return bias.reshape(-1)


def rows(array: Array) -> Array:
    """Return (T, B, n) as (T*B, n), a view if it is contiguous."""
    return array.reshape(-1, array.shape[-1])


def sum_rows(array: Array, out: Array) -> None:
    """Write the sum over the rows of (N, n) into (n,)."""
    np.dot(np.ones(len(array), array.dtype), array, out=out)


class Stepwise(Recurrence):
    """The time loop of any cell and its reverse: what was derived from the step, interpreted."""

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._products = [np.empty_like(self.zx) if d is self.zx else d for d in self.d_products]

    def forward(self, weights: Weights) -> None:
        """Step through time."""
        own = [weights[name] for name in self.cell.vectors]
        # A contiguous copy takes half the time of a view.
        transposed = [
            np.ascontiguousarray(weights[f"weight_{product.name}"].T)
            for product in self.cell.products
        ]
        for t in range(self.shape.steps):

            def product(index: int, operand: Array, t: int = t) -> Array:
                whole: Array = self.operands[index][t]
                out: Array = self._products[index][t]
                whole[...] = operand
                np.matmul(whole, transposed[index], out=out)
                stated = self.cell.products[index]
                if stated.bias:
                    out += weights[f"bias_{stated.name}"]
                return out

            after, _ = self.derived.step(OPS, self.zx[t], self._states_at(t), own, product)
            for states, value in zip(self.states, after, strict=True):
                states[t + 1] = value

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Step back through time."""
        own = [weights[name] for name in self.cell.vectors]
        matrices = [weights[f"weight_{product.name}"] for product in self.cell.products]
        d_states = [np.zeros_like(states[0]) for states in self.states]
        if d_final is not None:
            d_states = [part + final for part, final in zip(d_states, d_final, strict=True)]
        for d_vector in self.d_vectors:
            d_vector.fill(0)
        for t in reversed(range(self.shape.steps)):
            d_hidden[t] += d_states[0]
            for kept, d_other in zip(self.d_others, d_states[1:], strict=False):
                kept[t] = d_other
            result = self.derived.gradient(
                OPS,
                self.zx[t],
                [products[t] for products in self._products],
                self._states_at(t),
                own,
                (d_hidden[t], *d_states[1:]),
                lambda index, d_product: d_product @ matrices[index],
            )
            self.zx[t] = result.zx
            d_states = [
                np.zeros_like(states[0]) + part
                for states, part in zip(self.states, result.state, strict=True)
            ]
            for index, d_product in enumerate(result.products):
                self.d_products[index][t] = d_product
                if (operand := self.derived.operands[index]).op == "state":
                    d_states[operand.value] += d_product @ matrices[index]
            for d_vector, part in zip(self.d_vectors, result.vectors, strict=True):
                np.add(d_vector, part, out=d_vector)
        return d_states

    def _states_at(self, t: int) -> list[Array]:
        return [states[t] for states in self.states]
