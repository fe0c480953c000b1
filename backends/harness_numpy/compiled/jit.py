"""Numba's settings: one build per processor and number format, kept on disk, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import config

from harness_native import private_folder

F = TypeVar("F", bound=Callable[..., Any])

# What may be assumed of numbers: fused multiply-adds; not that sums may be reordered, nor that
# nothing is NaN.
MATHS = {"contract", "arcp", "nsz"}
_kernels: list[Any] = []


def compiled(function: F) -> F:
    """Decorate a kernel. Compiled code is kept in the user's folder, or in $NUMBA_CACHE_DIR.

    ``error_model``: a division by zero gives infinity, as in NumPy; a check would forbid SIMD.

    Raises:
        UnavailableError: there is no such folder.
    """
    settings: Any = config
    before, settings.CACHE_DIR = (
        settings.CACHE_DIR,
        settings.CACHE_DIR or str(private_folder("numba")),
    )
    try:
        kernel: Any = numba.njit(cache=True, fastmath=MATHS, error_model="numpy", nogil=True)(
            function
        )
    finally:
        settings.CACHE_DIR = before
    _kernels.append(kernel)
    compiled_function: F = kernel
    return compiled_function


def compilations() -> int:
    """Return how many kernels this process has compiled; those loaded from disk do not count."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _kernels)
