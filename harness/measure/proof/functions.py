"""A cell's equations as functions of arrays. Each call is checked; errors name the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.cells.operations import OPS
from harness.contract import Array, Cell, HarnessError, LinearCell, PluginError
from harness.contract.errors import ParityError
from harness.contract.wording import error_text, shortened
from harness.plugins.validation import shape_and_dtype

Arrays = Sequence[Array]


@dataclass(frozen=True)
class Function:
    """One function of a cell, and the cell's vector-Jacobian product of it.

    Attributes:
        label: the cell, with its distribution.
        name: the method.
        gradient_name: the method that computes the gradient.
        arguments: the names of its arguments, such as ``zx``, ``zh`` and ``state h``.
        results: the names of its results, each (B, H).
        gates: the number of gates.
        hidden: H.
        forwards: arguments -> results.
        backwards: arguments, results, cotangents of the results -> cotangents of the arguments.
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
        results = self._call(self.name, self.forwards, arguments)
        self._check_count(self.name, results, self.results)
        shape, dtype = (len(arguments[0]), self.hidden), arguments[0].dtype
        names = self.tensors[: len(results)]
        return [
            self._checked(name, result, shape, dtype)
            for name, result in zip(names, results, strict=True)
        ]

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


def step_of(cell: Cell, label: str, hidden: int) -> Function:
    """Return ``step`` and ``step_gradient`` as a function."""
    products = ("zx", "zh") if cell.recurrent else ("zx",)
    states = tuple(f"state {name}" for name in cell.states)

    def split(arguments: Arrays) -> tuple[Array, Array | None, tuple[Array, ...]]:
        zh = arguments[1] if cell.recurrent else None
        return arguments[0], zh, tuple(arguments[len(products) :])

    def backwards(arguments: Arrays, values: Arrays, cotangents: Arrays) -> Any:
        parts = cell.step_gradient(OPS, *split(arguments), tuple(values), tuple(cotangents))
        if not isinstance(parts, tuple) or len(parts) != 3 or not isinstance(parts[2], tuple):  # noqa: PLR2004
            raise TypeError("it must return (d_zx, d_zh, d_state), and d_state must be a tuple")
        d_zx, d_zh, d_state = parts
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


def coefficients_of(
    cell: LinearCell, label: str, hidden: int, *, of_all_steps: bool = False
) -> Function:
    """Return ``coefficients`` and ``coefficients_gradient`` as a function.

    If ``of_all_steps``, the cell is called with (T, B, G*H) instead of (B, G*H).
    """

    def forwards(arguments: Arrays) -> Any:
        if of_all_steps:
            return tuple(part[:, 0] for part in cell.coefficients(OPS, arguments[0][:, None]))
        return cell.coefficients(OPS, arguments[0])

    def backwards(arguments: Arrays, _: Arrays, cotangents: Arrays) -> Any:
        return (cell.coefficients_gradient(OPS, arguments[0], *cotangents),)

    names = ("coefficients", "coefficients_gradient", ("zx",), ("a", "b"))
    return Function(label, *names, len(cell.gates), hidden, forwards, backwards)
