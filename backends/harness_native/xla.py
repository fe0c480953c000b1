"""The kernel as custom calls of XLA: a shim built against the headers of the installed jaxlib."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness_native.build import Recipe, build
from harness_native.library import library


@dataclass(frozen=True)
class Handlers:
    """Functions of XLA's typed foreign function interface, for ``jax.ffi.pycapsule``."""

    forward: Any
    reverse: Any


@cache
def xla_handlers(include_dir: str) -> Handlers:
    """Return the handlers, built on first use against the headers in ``include_dir``.

    Raises:
        UnavailableError: they cannot be built here.
    """
    kernel = library().handle
    shim = ctypes.CDLL(str(build(Recipe("xla.c", include_dir, "xla/ffi/api/c_api.h"))))
    shim.harness_xla_connect.restype = None
    shim.harness_xla_connect(kernel.harness_forward, kernel.harness_reverse)
    return Handlers(shim.harness_xla_forward, shim.harness_xla_reverse)
