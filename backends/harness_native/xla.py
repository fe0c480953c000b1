"""The kernel as custom calls of XLA: a shim built against the headers of the installed jaxlib."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_native.build import Recipe, build

if TYPE_CHECKING:
    from harness_native.library import CellLibrary

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


class Shim:
    """The built shim.

    Attributes:
        handlers: of all cells.
    """

    def __init__(self) -> None:
        self._shim = ctypes.CDLL(str(build(xla_recipe())))
        self._shim.harness_xla_connect.argtypes = [ctypes.c_int64, ctypes.c_void_p]
        self._connected: set[int] = set()
        self.handlers = Handlers(self._shim.harness_xla_forward, self._shim.harness_xla_reverse)

    def connect(self, cell: CellLibrary) -> int:
        """Make a cell known; return its number, which is the same in every process.

        Raises:
            MemoryError: there are too many cells.
        """
        if cell.number not in self._connected:
            if self._shim.harness_xla_connect(cell.number, cell.facts) != 0:
                raise MemoryError("this process has connected too many cells")
            self._connected.add(cell.number)
        return cell.number


@cache
def xla_shim() -> Shim:
    """Return the shim, built on first use.

    Raises:
        UnavailableError: it cannot be built here.
    """
    return Shim()
