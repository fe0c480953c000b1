"""Numba's settings: one build per processor and number format, kept on disk, one thread.

Generated source is kept as well: one file per text in the user's cache, for Numba's own cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
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
CALLED = ("functions.py", "jit.py")
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


@cache
def module(name: str, source: str) -> Any:
    """Return the module of ``source``, loaded once per process.

    Raises:
        UnavailableError: there is no folder for compiled code.
    """
    content = hashlib.sha256(source.encode()).hexdigest()
    name = re.sub(r"\W", "_", f"{name}_{content[:24]}")
    path = folder() / f"{name}.py"
    if not path.exists():
        _write(path, source)
    spec: Any = importlib.util.spec_from_file_location(f"harness_numpy_generated.{name}", path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # Numba's cache names a kernel by its module
    spec.loader.exec_module(loaded)
    return loaded


def _write(path: Path, source: str) -> None:
    """Write all of it or nothing; a file that another process wrote meanwhile stays.

    Numba compiles again if the time of the file changes.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".py")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(source)
    with suppress(FileExistsError):
        os.link(name, path)
    Path(name).unlink()


def compilations() -> int:
    """Return how many kernels this process has compiled; those loaded from disk do not count."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _kernels)
