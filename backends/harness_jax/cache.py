"""JAX's own cache of compiled programs, between processes: for the programs of the proof, never for the timed step.

Parity, gradient flow and evaluation need programs that every launch of a trial would compile again. They are kept.
The training step is compiled each time, or its compile time would be that of reading a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from harness.contract import UnavailableError
from harness_native import cpu_digest, private_folder

FOLDER = "JAX_COMPILATION_CACHE_DIR"
MOST_BYTES = 256 * 2**20  # the oldest programs go first


def cache_variables() -> dict[str, str]:
    """Return what makes a process keep its programs in the user's cache; nothing where there can be none.

    A folder that the user has set is left as it is. XLA's programs fit one kind of CPU, so each has a folder of its
    own.
    """
    if FOLDER in os.environ:
        return {}
    try:
        folder = private_folder(f"xla-{cpu_digest()[:12]}")
    except UnavailableError:
        return {}
    variables = {FOLDER: str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    if find_spec("filelock") is not None:  # JAX needs it to bound the size
        variables["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(MOST_BYTES)
    return variables


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
