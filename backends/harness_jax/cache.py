"""JAX's own cache of compiled programs, between processes: for the programs of the proof, never for the timed step.

Parity, gradient flow and evaluation need programs that every launch of a trial would compile again. They are kept.
The training step is compiled each time, or its compile time would be that of reading a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from harness.contract import UnavailableError
from harness_native import cpu_digest, private_folder

FOLDER = "JAX_COMPILATION_CACHE_DIR"
MOST_BYTES = 256 * 2**20


def cache_variables() -> dict[str, str]:
    """Return what makes a process keep its programs in the user's cache; nothing where there can be none.

    A folder that the user has set is left as it is. XLA's programs fit one kind of CPU, so each has a folder of its
    own.
    """
    folder = None if FOLDER in os.environ else _own_folder()
    # JAX's own bound reads what is known of each program whenever one is added: 0.3 s where there are thousands.
    return {} if folder is None else {FOLDER: str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


@cache
def bound_cache() -> None:
    """Bring the user's cache down to ``MOST_BYTES``, once per process: what was not used for longest goes first."""
    folder = _own_folder()
    if folder is None or os.environ.get(FOLDER) != str(folder):
        return
    with os.scandir(folder) as entries:
        found = [used for entry in entries if (used := _used(entry)) is not None]
    excess = sum(size for _, size, _ in found) - MOST_BYTES
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        Path(path).unlink(missing_ok=True)
        excess -= size


def _used(entry: os.DirEntry[str]) -> tuple[float, int, str] | None:
    """Return when the program was written or read, its bytes and its path; None of one that another process removed."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return max(status.st_atime, status.st_mtime), status.st_size, entry.path


def _own_folder() -> Path | None:
    try:
        return private_folder(f"xla-{cpu_digest()[:12]}")
    except UnavailableError:
        return None


@contextmanager
def uncached() -> Iterator[None]:
    """Compile anew what is compiled inside, and keep nothing of it."""
    import jax
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    config: Any = jax.config
    if not config.jax_enable_compilation_cache or config.jax_compilation_cache_dir is None:
        yield
        return
    config.update("jax_enable_compilation_cache", False)
    reset_cache()  # it remembers whether it is used
    try:
        yield
    finally:
        config.update("jax_enable_compilation_cache", True)
        reset_cache()
