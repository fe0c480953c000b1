"""Numba's settings: compiled once per processor and number format, kept on disk, never more than one thread."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config

F = TypeVar("F", bound=Callable[..., Any])

# What may be assumed of numbers: fused multiply-adds; not that sums may be reordered, nor that nothing is NaN.
MATHS = {"contract", "arcp", "nsz"}
_kernels: list[Any] = []


def compiled(function: F) -> F:
    """Decorate a kernel. ``error_model``: a division by zero gives infinity, as in NumPy; a check would forbid SIMD."""
    settings: Any = config
    before, settings.CACHE_DIR = settings.CACHE_DIR, settings.CACHE_DIR or str(cache_directory())
    try:
        kernel: Any = numba.njit(cache=True, fastmath=MATHS, error_model="numpy", nogil=True)(function)
    finally:
        settings.CACHE_DIR = before
    _kernels.append(kernel)
    compiled_function: F = kernel
    return compiled_function


def compilations() -> int:
    """Return how many kernels this process has compiled; one that was loaded from disk does not count."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _kernels)


def cache_directory() -> Path:
    """Return a directory for compiled code that can be written to; ``NUMBA_CACHE_DIR`` goes before it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for candidate in (home / "rnn-harness" / "numba", Path(tempfile.gettempdir()) / f"rnn-harness-numba-{os.getuid()}"):
        try:
            candidate.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(candidate, os.W_OK) and candidate.stat().st_uid == os.getuid():
            return candidate
    return Path(tempfile.mkdtemp(prefix="rnn-harness-numba-"))
