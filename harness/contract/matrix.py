"""A matrix per sequence inside a step, in the arrays of any engine."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True, eq=False)
class Matrix:
    """An array (..., H, H) in the arithmetic of a step, where an array (..., H) is for its rows.

    So ``f * S`` scales row i of S by f_i. Only ``+ - * /`` are there; a step gets the matrix states
    of its cell in this form, and ``Ops.outer`` returns it.
    """

    array: Any
    __array_ufunc__ = None  # NumPy's arrays leave their arithmetic with it to this class

    def __add__(self, other: Any) -> Matrix:
        return Matrix(self.array + by_row(other))

    def __sub__(self, other: Any) -> Matrix:
        return Matrix(self.array - by_row(other))

    def __rsub__(self, other: Any) -> Matrix:
        return Matrix(by_row(other) - self.array)

    def __mul__(self, other: Any) -> Matrix:
        return Matrix(self.array * by_row(other))

    def __truediv__(self, other: Any) -> Matrix:
        return Matrix(self.array / by_row(other))

    def __rtruediv__(self, other: Any) -> Matrix:
        return Matrix(by_row(other) / self.array)

    def __neg__(self) -> Matrix:
        return Matrix(-self.array)

    __radd__, __rmul__ = __add__, __mul__


def by_row(value: Any) -> Any:
    """Return a number or the array of a matrix as it is, (..., H) as (..., H, 1)."""
    if isinstance(value, Matrix):
        return value.array
    return value if isinstance(value, Real) else value[..., None]
