"""Numba's settings: one build per processor and number format, kept on disk, one thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config

from harness_native import private_folder

F = TypeVar("F", bound=Callable[..., Any])

# What may be assumed of numbers: fused multiply-adds; not that sums may be reordered, nor that
# nothing is NaN.
MATHS = {"contract", "arcp", "nsz"}
# What kernels call. Numba's cache compares only the file of the kernel itself.
CALLED = ("few.py", "functions.py", "jit.py")
_kernels: list[Any] = []


def compiled(function: F) -> F:
    """Decorate a kernel. Compiled code is kept in the user's folder, or in $NUMBA_CACHE_DIR.

    ``error_model``: a division by zero gives infinity, as in NumPy; a check would forbid SIMD.

    Raises:
        UnavailableError: there is no such folder.
    """
    settings: Any = config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(Path(before) / digest() if before else folder())
    try:
        kernel: Any = numba.njit(cache=True, fastmath=MATHS, error_model="numpy", nogil=True)(
            function
        )
    finally:
        settings.CACHE_DIR = before
    _kernels.append(kernel)
    compiled_function: F = kernel
    return compiled_function


def folder() -> Path:
    """Return where compiled code is kept.

    Raises:
        UnavailableError: there is no such folder.
    """
    path = private_folder("numba") / digest()
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@cache
def digest() -> str:
    """Return a hash of the code that kernels call."""
    here = Path(__file__).parent
    content = b"".join((here / name).read_bytes() for name in CALLED)
    return hashlib.sha256(content).hexdigest()[:16]


def compilations() -> int:
    """Return how many kernels this process has compiled; those loaded from disk do not count."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _kernels)
