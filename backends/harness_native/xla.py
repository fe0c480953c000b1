"""The kernel as custom calls of XLA: a shim built against the headers of the installed jaxlib."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness_native.build import Recipe, build
from harness_native.library import library

HEADER = "xla/ffi/api/c_api.h"


@dataclass(frozen=True)
class Handlers:
    """Functions of XLA's typed foreign function interface, for ``jax.ffi.pycapsule``."""

    forward: Any
    reverse: Any


def xla_recipe() -> Recipe:
    """Return how the shim is built; jaxlib is looked for and not imported."""
    spec = find_spec("jaxlib")
    folders = None if spec is None else spec.submodule_search_locations
    return Recipe("xla.c", str(Path(folders[0]) / "include") if folders else "", HEADER)


@cache
def xla_handlers() -> Handlers:
    """Return the handlers, built on first use.

    Raises:
        UnavailableError: they cannot be built here.
    """
    kernel = library().handle
    shim = ctypes.CDLL(str(build(xla_recipe())))
    shim.harness_xla_connect.restype = None
    shim.harness_xla_connect(kernel.harness_forward, kernel.harness_reverse)
    return Handlers(shim.harness_xla_forward, shim.harness_xla_reverse)
