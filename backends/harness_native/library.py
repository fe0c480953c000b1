"""The built kernel through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
from ctypes import POINTER, Structure, c_double, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from harness.contract import Cell
from harness_native.build import Recipe, build
from harness_native.emit import cell_recipe
from harness_native.plan import MOST, plan_of

Pointers = c_void_p * MOST


class Layer(Structure):
    """``Layer`` of kernel.h, which says what each field is."""

    _fields_ = (
        *((name, c_int64) for name in ("is_double", "steps", "batch", "hidden", "threads")),
        *((name, c_void_p) for name in ("zx", "tokens", "gates", "d_direct", "d_total", "d_zx")),
        *((name, Pointers) for name in ("initial", "states", "d_final", "d_initial")),
        *((name, Pointers) for name in ("weight", "bias", "operand", "d_product")),
        *((name, Pointers) for name in ("d_weight", "d_bias", "vector", "d_vector", "kept")),
    )


class Product(Structure):
    """``Product`` of kernel.h, which says what each field is."""

    _fields_ = (
        *((name, c_int64) for name in ("is_double", "threads", "m", "n", "k")),
        *((name, c_int64) for name in ("transpose_a", "transpose_b", "accumulate", "stride")),
        *((name, c_void_p) for name in ("a", "b", "bias", "c")),
    )


class Adam(Structure):
    """``Adam`` of kernel.h, which says what each field is."""

    _fields_ = (
        *((name, c_int64) for name in ("is_double", "n")),
        *((name, c_double) for name in ("beta1", "beta2", "rate", "correction", "epsilon")),
    )


class Library:
    """The kernel's functions. Calls release Python's lock.

    Attributes:
        transpose, column_sums, cross_entropy, adam: as kernel.h says, on addresses.
    """

    def __init__(self, path: Path) -> None:
        self.handle = ctypes.CDLL(str(path))
        self.handle.harness_base.restype = c_void_p
        self.handle.harness_multiply.argtypes = [POINTER(Product)]
        self.handle.harness_multiply.restype = c_int
        pointer, number = c_void_p, c_int64
        self.transpose = self._function(
            "transpose", None, number, pointer, number, number, pointer, pointer
        )
        sizes = (number, number, number)
        self._sum_by_token = self._function(
            "sum_by_token", c_int, number, pointer, pointer, *sizes, pointer, pointer
        )
        self.cross_entropy = self._function(
            "cross_entropy", c_double, number, pointer, pointer, number, number, c_double
        )
        self.column_sums = self._function(
            "column_sums", None, number, pointer, number, number, pointer
        )
        self.adam = self._function("adam", None, POINTER(Adam), pointer, pointer, pointer, pointer)

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        function = self.handle[f"harness_{name}"]
        function.argtypes, function.restype = arguments, result
        return function

    def sum_by_token(self, *arguments: int | None) -> None:
        """Fill ``d_weight`` and ``d_bias``.

        Raises:
            MemoryError: there was no room for the sums.
        """
        _check(self._sum_by_token(*arguments))

    def multiply(self, product: Product) -> None:
        """Fill ``c``.

        Raises:
            MemoryError: there was no room for the packed factors.
        """
        _check(self.handle.harness_multiply(product))


def _check(status: int) -> None:
    if status != 0:
        raise MemoryError("no memory for what the kernel packs and sums")


class CellLibrary:
    """The recurrence of one cell. Calls release Python's lock.

    Attributes:
        plan: what it keeps, and where.
        number: the same for equal sources.
        facts: the address of its ``Cell``, see kernel.h.
    """

    def __init__(self, cell: Cell, kernel: Library, recipe: Recipe) -> None:
        self.plan, self.handle = plan_of(cell), ctypes.CDLL(str(build(recipe)))
        self.number = int(hashlib.sha256(recipe.text.encode()).hexdigest()[:15], 16)
        self.handle.harness_cell.restype = c_void_p
        self.facts: int = self.handle.harness_cell()
        self.handle.harness_connect.argtypes, self.handle.harness_connect.restype = [c_void_p], None
        self.handle.harness_connect(kernel.handle.harness_base())
        for name in ("forward", "reverse", "weight_gradients"):
            function = getattr(self.handle, f"harness_{name}")
            function.argtypes, function.restype = [POINTER(Layer)], c_int

    def forward(self, layer: Layer) -> None:
        """Fill states, gates, operands and what is kept.

        Raises:
            MemoryError: there was no room for the packed weights.
        """
        _check(self.handle.harness_forward(layer))

    def reverse(self, layer: Layer) -> None:
        """Fill every ``d_`` array that is a result.

        Raises:
            MemoryError: there was no room for the packed weights.
        """
        _check(self.handle.harness_reverse(layer))

    def weight_gradients(self, layer: Layer) -> None:
        """Fill ``d_weight`` and ``d_bias`` after ``reverse``, which may be called without them.

        Raises:
            MemoryError: there was no room for the packed factors.
        """
        _check(self.handle.harness_weight_gradients(layer))


def layer(shape: tuple[int, int, int], *, double: bool, threads: int) -> Layer:
    """Return a layer of ``shape`` (T, B, H) without arrays."""
    return Layer(double, *shape, threads)


def cell_library(cell: Cell) -> CellLibrary:
    """Return the recurrence of a cell, built on first use.

    Raises:
        UnavailableError: it cannot be built here.
        UnsupportedError: the kernel cannot run the cell; the message says why.
    """
    cached = _cells.get(id(cell))
    if cached is None or cached[0] is not cell:
        cached = _cells[id(cell)] = cell, CellLibrary(cell, library(), cell_recipe(cell))
    return cached[1]


_cells: dict[int, tuple[Cell, CellLibrary]] = {}  # by the identity of the cell


@cache
def library() -> Library:
    """Return the kernel, built on first use.

    Raises:
        UnavailableError: it cannot be built here.
    """
    return Library(build())
