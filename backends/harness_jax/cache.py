"""JAX's cache of compiled programs: for the programs of the proof, never for the timed step.

Parity, gradient flow and evaluation need the same programs in every launch of a trial, so these are
cached. The training step is compiled each time: otherwise its compile time would be that of reading
a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.contract import UnavailableError
from harness_native import cpu_digest, known_folder, private_folder

FOLDER = "JAX_COMPILATION_CACHE_DIR"
CACHE_SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    # JAX's own bound reads the status of every program when it adds one: 0.3 s for thousands.
    "JAX_COMPILATION_CACHE_MAX_SIZE": "-1",
}
MOST_BYTES = 256 * 2**20


def cache_variables() -> dict[str, str]:
    """Return the variables that make a process keep its programs in the user's cache, if any.

    A folder that the user has set is not changed. XLA's programs fit one kind of CPU, so each kind
    has its own folder.
    """
    if FOLDER in os.environ:
        return {}
    try:
        return CACHE_SETTINGS | {FOLDER: str(private_folder(_name()))}
    except UnavailableError:
        return {}


@cache
def bound_cache() -> None:
    """Shrink the user's cache to ``MOST_BYTES``, once per process, least recently used first.

    The time of use is the file system's: most record at most one reading per day.
    """
    folder = known_folder(_name())
    if folder is None or os.environ.get(FOLDER) != str(folder):
        return
    programs: list[_Program] = []
    with suppress(OSError), os.scandir(folder) as entries:
        programs.extend(program for entry in entries if (program := _program(entry)) is not None)
    excess = sum(program.size_bytes for program in programs) - MOST_BYTES
    for program in sorted(programs, key=lambda program: program.used):
        if excess <= 0:
            break
        with suppress(OSError):
            Path(program.path).unlink(missing_ok=True)  # another process may be first
            excess -= program.size_bytes


@dataclass(frozen=True)
class _Program:
    path: str
    size_bytes: int
    used: float  # when it was written or read


def _program(entry: os.DirEntry[str]) -> _Program | None:
    """Return size and age of a file; None for XLA's own folders, and for a file that is gone."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return _Program(entry.path, status.st_size, max(status.st_atime, status.st_mtime))


def _name() -> str:
    return f"xla-{cpu_digest()[:12]}"


@contextmanager
def uncached() -> Iterator[None]:
    """Compile without the cache inside this context: nothing is read from it or written to it."""
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
