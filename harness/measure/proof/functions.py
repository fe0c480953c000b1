"""A cell's equations as functions of arrays. Each call is checked; errors name the cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.cells.operations import OPS, NumpyOps
from harness.contract import Array, Cell, HarnessError, PluginError, Product
from harness.contract.errors import ParityError
from harness.contract.wording import error_text, shortened
from harness.plugins.validation import shape_and_dtype
from harness.recurrence import derive, step_of

Arrays = Sequence[Array]


@dataclass(frozen=True)
class Function:
    """One function of a cell, and the cell's vector-Jacobian product of it.

    Attributes:
        label: the cell, with its distribution.
        name: the method.
        gradient_name: the method that computes the gradient.
        arguments: the names of its arguments, such as ``zx``, ``zh`` and ``state h``.
        results: the names of its results, each (B, H); a matrix is (B, H*H).
        hidden: H.
        matrices: the arguments that are matrices, each (B, H*H), and the results that are.
        forwards: arguments -> results.
        backwards: arguments, results, cotangents of the results -> cotangents of the arguments.
        gates_of: the gates of zx, then of each product.
    """

    label: str
    name: str
    gradient_name: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    hidden: int
    matrices: frozenset[str]
    forwards: Callable[[Arrays], Any]
    backwards: Callable[[Arrays, Arrays, Arrays], Any]
    gates_of: tuple[tuple[int, ...], ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the results, then of the gradients."""
        return (
            *(f"{name} of {self.name}" for name in self.results),
            *(f"d_{name} of {self.gradient_name}" for name in self.arguments),
        )

    def value(self, arguments: Arrays) -> list[Array]:
        """Return the results, each checked."""
        results = self._call(self.name, self.forwards, arguments)
        self._check_count(self.name, results, self.results)
        rows, dtype = len(arguments[0]), arguments[0].dtype
        labels = self.tensors[: len(results)]
        return [
            self._checked(label, result, (rows, self.width(name)), dtype)
            for label, name, result in zip(labels, self.results, results, strict=True)
        ]

    def width(self, name: str) -> int:
        """Return the numbers per sequence of a state or result."""
        return self.hidden * self.hidden if name in self.matrices else self.hidden

    def gradient(self, arguments: Arrays, values: Arrays, cotangents: Arrays) -> list[Array]:
        """Return the gradient for each argument, checked; a plain number becomes an array."""
        parts = self._call(self.gradient_name, self.backwards, arguments, values, cotangents)
        self._check_count(self.gradient_name, parts, self.arguments)
        names, gradient = self.tensors[len(self.results) :], list[Array]()
        for name, argument, part in zip(names, arguments, parts, strict=True):
            if isinstance(part, (int, float)):
                gradient.append(np.full_like(argument, part))
            else:
                gradient.append(self._checked(name, part, argument.shape, argument.dtype))
        return gradient

    def _call(self, name: str, function: Callable[..., Any], *groups: Arrays) -> Any:
        arrays = [array for group in groups for array in group]
        before = [array.copy() for array in arrays]
        try:
            with np.errstate(all="ignore"):
                results = function(*groups)
        except (HarnessError, MemoryError):
            raise
        except Exception as error:
            why = shortened(error_text(error), 500)
            raise PluginError(
                f"{self.label}: {name} raised {why} (hidden {self.hidden})"
            ) from error
        for old, new in zip(before, arrays, strict=True):
            if not np.array_equal(old, new, equal_nan=True):
                raise ParityError(
                    f"{self.label}: {name} changes its arguments in place. Return new arrays"
                )
        return results

    def _check_count(self, what: str, results: Any, names: tuple[str, ...]) -> None:
        if not isinstance(results, tuple) or len(results) != len(names):
            got = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
            raise PluginError(
                f"{self.label}: {what} must return a tuple of {', '.join(names)}, got {got}"
            )

    def _checked(self, what: str, result: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        if not isinstance(result, np.ndarray) or (result.shape, result.dtype) != (shape, dtype):
            raise PluginError(
                f"{self.label}: {what} must be an array {shape} {dtype}, "
                f"got {shape_and_dtype(result)}"
            )
        return result


class _GivenProducts(NumpyOps):
    """Products that are given; keeps what they would have been taken of."""

    def __init__(self, products: Mapping[str, Array]) -> None:
        self._products, self.operands = products, dict[str, Array]()

    def product(self, name: str, operand: Array) -> Array:
        """Return the given product."""
        self.operands[name] = operand
        return self._products[name]


def step_function(cell: Cell, label: str, hidden: int) -> Function:
    """Return the pointwise part of a step, and its derived gradient, as a function.

    Its arguments are zx, the products, the states and the vectors, a row of each per sequence; its
    results are the new states, and the operands that the step computes. The cell's own code
    computes them, on arrays; the gradient is derived from its trace.
    """
    recurrence = derive(cell)
    cell_products = [product.name for product in cell.products]
    names = [f"product {name}" for name in cell_products]
    states = [f"state {name}" for name in cell.states]
    matrices = {f"state {name}" for name in cell.matrix_states}
    shapes = cell.state_shapes(hidden)
    ends = np.cumsum([1, len(names), len(states)])
    inner = [at for at, operand in enumerate(recurrence.operands) if operand.op != "state"]

    def shaped(state: Arrays) -> Arrays:
        return [part.reshape(-1, *shape) for part, shape in zip(state, shapes, strict=True)]

    def parts(arguments: Arrays) -> tuple[Array, Arrays, Arrays, Arrays]:
        return (
            arguments[0],
            arguments[1 : ends[1]],
            shaped(arguments[ends[1] : ends[2]]),
            arguments[ends[2] :],
        )

    def forwards(arguments: Arrays) -> Any:
        zx, products, state, own = parts(arguments)
        ops = _GivenProducts(dict(zip(cell_products, products, strict=True)))
        new = step_of(cell)(ops, zx, tuple(state), tuple(own))
        return (*_flat(new), *(ops.operands[cell_products[at]] for at in inner))

    def backwards(arguments: Arrays, _: Arrays, cotangents: Arrays) -> Any:
        zx, products, state, own = parts(arguments)
        d_new, d_operands = (
            shaped(cotangents[: len(states)]),
            dict(zip(inner, cotangents[len(states) :], strict=True)),
        )
        gradient = recurrence.gradient(
            OPS, zx, products, state, own, d_new, lambda index, _: d_operands[index]
        )
        return (gradient.zx, *gradient.products, *_flat(gradient.state), *gradient.vectors)

    return Function(
        label,
        "step",
        "the derived gradient",
        ("zx", *names, *states, *(f"vector {name}" for name in cell.vectors)),
        (
            *(f"new {name}" for name in states),
            *(f"operand of {cell.products[at].name}" for at in inner),
        ),
        hidden,
        frozenset(matrices | {f"new {name}" for name in matrices}),
        forwards,
        backwards,
        tuple(
            tuple(cell.gates.index(gate) for gate in product.gates or cell.gates)
            for product in (Product("zx"), *cell.products)
        ),
    )


def _flat(parts: Any) -> Any:
    """Return the matrices among arrays (B, H, H) as (B, H*H)."""
    if not isinstance(parts, tuple):
        return parts
    return tuple(
        part.reshape(len(part), -1) if isinstance(part, np.ndarray) and part.ndim == 3 else part  # noqa: PLR2004
        for part in parts
    )


def stated_gradient(cell: Cell, label: str, hidden: int) -> Function | None:
    """Return the step with the gradient that the cell states by hand; None: it states none.

    ``step_gradient(ops, zx, zh, state, new_state, d_new_state)`` returns d_zx, d_zh and d_state, a
    tuple. Engines never call it.

    Raises:
        PluginError: it has no place for what the cell learns besides the product ``hh`` of h.
    """
    by_hand: Any = getattr(cell, "step_gradient", None)
    if by_hand is None:
        return None
    function, count = step_function(cell, label, hidden), len(cell.products)
    if cell.vectors or count > 1 or len(function.results) > len(cell.states):
        raise PluginError(
            f"{label}: step_gradient cannot be compared, because the cell learns more than the "
            "product hh of h. Delete it: the gradient is derived from step"
        )

    def backwards(arguments: Arrays, values: Arrays, cotangents: Arrays) -> Any:
        zh = arguments[1] if count else None
        state = tuple(arguments[1 + count :])
        stated = by_hand(OPS, arguments[0], zh, state, tuple(values), tuple(cotangents))
        if not isinstance(stated, tuple) or len(stated) != 3 or not isinstance(stated[2], tuple):  # noqa: PLR2004
            raise TypeError("it must return (d_zx, d_zh, d_state), and d_state must be a tuple")
        return (stated[0], *((stated[1],) if count else ()), *stated[2])

    return replace(function, gradient_name="step_gradient", backwards=backwards)
