"""The built kernel through ctypes."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_double, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from harness.cells import GRU
from harness.contract import Cell
from harness_native.build import build
from harness_native.offer import CELLS


class Layer(Structure):
    """``Layer`` of kernel.h, which says what each field is."""

    _fields_ = (
        *((name, c_int64) for name in ("cell", "is_double", "steps", "batch", "hidden", "threads")),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("initial", c_void_p * 2),
        ("states", c_void_p * 2),
        *((name, c_void_p) for name in ("zx", "tokens", "gates", "zh_n", "d_direct")),
        ("d_final", c_void_p * 2),
        *((name, c_void_p) for name in ("d_total", "d_zx", "d_zh")),
        ("d_initial", c_void_p * 2),
        ("d_weight", c_void_p),
        ("d_bias", c_void_p),
    )


class Product(Structure):
    """``Product`` of kernel.h, which says what each field is."""

    _fields_ = (
        *((name, c_int64) for name in ("is_double", "threads", "m", "n", "k")),
        *((name, c_int64) for name in ("transpose_a", "transpose_b", "accumulate")),
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
        for function in (self.handle.harness_forward, self.handle.harness_reverse):
            function.argtypes, function.restype = [POINTER(Layer)], c_int
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

    def forward(self, layer: Layer) -> None:
        """Fill states and gates.

        Raises:
            MemoryError: there was no room for the packed weight.
        """
        _check(self.handle.harness_forward(layer))

    def reverse(self, layer: Layer) -> None:
        """Fill every ``d_`` array that is a result.

        Raises:
            MemoryError: there was no room for the packed weight.
        """
        _check(self.handle.harness_reverse(layer))

    def multiply(self, product: Product) -> None:
        """Fill ``c``.

        Raises:
            MemoryError: there was no room for the packed factors.
        """
        _check(self.handle.harness_multiply(product))


def number(cell: Cell) -> int:
    """Return the kernel's number of a cell."""
    return CELLS.index(type(cell))


def keeps_product(cell: Cell) -> bool:
    """Say whether the kernel keeps ``zh_n`` and gives d_zh apart from d_zx, as for a GRU."""
    return isinstance(cell, GRU)


def layer(cell: Cell, shape: tuple[int, int, int], *, double: bool, threads: int) -> Layer:
    """Return a layer of ``shape`` (T, B, H) without arrays."""
    return Layer(number(cell), double, *shape, threads)


def _check(status: int) -> None:
    if status != 0:
        raise MemoryError("no memory for what the kernel packs and sums")


@cache
def library() -> Library:
    """Return the kernel, built on first use.

    Raises:
        UnavailableError: it cannot be built here.
    """
    return Library(build())
