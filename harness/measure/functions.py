"""A cell's equations as functions from arrays to arrays, each call checked; whatever goes wrong is the cell's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.cells.operations import OPS
from harness.contract import Array, Cell, HarnessError, LinearCell, PluginError
from harness.contract.errors import ParityError
from harness.contract.names import error_text, shortened

Arrays = Sequence[Array]


@dataclass(frozen=True)
class Function:
    """One function of a cell, and the vector-Jacobian product that the cell states for it.

    Attributes:
        label: the cell, with its distribution.
        name: the method.
        gradient_name: the method that states the gradient.
        arguments: ``zx``, ``zh`` and ``state`` with its name, as far as the method has them.
        results: by name, each (B, H).
        gates: how many.
        hidden: H.
        forwards: from arguments to results.
        backwards: from arguments, results and their cotangents to the arguments' cotangents.
    """

    label: str
    name: str
    gradient_name: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    gates: int
    hidden: int
    forwards: Callable[[Arrays], Any]
    backwards: Callable[[Arrays, Arrays, Arrays], Any]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the results, then of the gradients."""
        return (
            *(f"{name} of {self.name}" for name in self.results),
            *(f"d_{name} of {self.gradient_name}" for name in self.arguments),
        )

    def value(self, arguments: Arrays) -> list[Array]:
        """Return the results, each checked."""
        found = self._call(self.name, self.forwards, arguments)
        shape = (len(arguments[0]), self.hidden)
        self._count(self.name, found, self.results)
        return [
            self._array(name, one, shape, arguments[0].dtype)
            for name, one in zip(self.tensors[: len(found)], found, strict=True)
        ]

    def gradient(self, arguments: Arrays, values: Arrays, cotangents: Arrays) -> list[Array]:
        """Return the gradient by each argument, each checked; a plain number becomes an array."""
        found = self._call(self.gradient_name, self.backwards, arguments, values, cotangents)
        self._count(self.gradient_name, found, self.arguments)
        return [
            np.full_like(argument, one)
            if isinstance(one, (int, float))
            else self._array(name, one, argument.shape, argument.dtype)
            for name, argument, one in zip(self.tensors[len(self.results) :], arguments, found, strict=True)
        ]

    def _call(self, name: str, function: Callable[..., Any], *groups: Arrays) -> Any:
        before = [array.copy() for group in groups for array in group]
        try:
            with np.errstate(all="ignore"):
                found = function(*groups)
        except (HarnessError, MemoryError):
            raise
        except Exception as error:
            why = shortened(error_text(error), 500)
            raise PluginError(f"{self.label}: {name} raised {why} (hidden {self.hidden})") from error
        after = [array for group in groups for array in group]
        if not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(before, after, strict=True)):
            raise ParityError(f"{self.label}: {name} changes its arguments in place. Return new arrays")
        return found

    def _count(self, what: str, found: Any, names: tuple[str, ...]) -> None:
        if not isinstance(found, tuple) or len(found) != len(names):
            got = f"{len(found)} values" if isinstance(found, tuple) else type(found).__name__
            raise PluginError(f"{self.label}: {what} must return a tuple of {', '.join(names)}, got {got}")

    def _array(self, what: str, found: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (shape, dtype):
            got = f"{found.shape} {found.dtype}" if isinstance(found, np.ndarray) else type(found).__name__
            raise PluginError(f"{self.label}: {what} must be an array {shape} {dtype}, got {got}")
        return found


def step_of(cell: Cell, label: str, hidden: int) -> Function:
    """Return ``step`` with ``step_gradient``."""
    products = ("zx", "zh") if cell.recurrent else ("zx",)
    states = tuple(f"state {name}" for name in cell.states)

    def split(arguments: Arrays) -> tuple[Array, Array | None, tuple[Array, ...]]:
        zh = arguments[1] if cell.recurrent else None
        return arguments[0], zh, tuple(arguments[len(products) :])

    def backwards(arguments: Arrays, values: Arrays, cotangents: Arrays) -> Any:
        found = cell.step_gradient(OPS, *split(arguments), tuple(values), tuple(cotangents))
        if not isinstance(found, tuple) or len(found) != 3 or not isinstance(found[2], tuple):  # noqa: PLR2004
            raise TypeError("it must return (d_zx, d_zh, d_state), and d_state must be a tuple")
        d_zx, d_zh, d_state = found
        if not cell.recurrent and d_zh is not None:
            raise TypeError("d_zh must be None for a cell without recurrent product")
        return (d_zx, *((d_zh,) if cell.recurrent else ()), *d_state)

    return Function(
        label,
        "step",
        "step_gradient",
        (*products, *states),
        tuple(f"new {name}" for name in states),
        len(cell.gates),
        hidden,
        lambda arguments: cell.step(OPS, *split(arguments)),
        backwards,
    )


def coefficients_of(cell: LinearCell, label: str, hidden: int, *, of_all_steps: bool = False) -> Function:
    """Return ``coefficients`` with ``coefficients_gradient``; asked for in (T, B, G*H) where ``of_all_steps``."""

    def forwards(arguments: Arrays) -> Any:
        if of_all_steps:
            return tuple(part[:, 0] for part in cell.coefficients(OPS, arguments[0][:, None]))
        return cell.coefficients(OPS, arguments[0])

    def backwards(arguments: Arrays, _: Arrays, cotangents: Arrays) -> Any:
        return (cell.coefficients_gradient(OPS, arguments[0], *cotangents),)

    names = ("coefficients", "coefficients_gradient", ("zx",), ("a", "b"))
    return Function(label, *names, len(cell.gates), hidden, forwards, backwards)
