"""The ways of executing a model here, by name. A further one is a further entry; nothing is imported before its use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Array, Cell, Missing, Model, Optimizer
from harness_native import CELLS, native_missing
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.hoisted import HoistedNetwork
from harness_numpy.recurrence.loop import LoopNetwork
from harness_numpy.recurrence.masks import Masks
from harness_numpy.recurrence.network import Network
from harness_numpy.recurrence.tuned import vectorised
from harness_numpy.update import Update

MakeNetwork = Callable[[Model, Flat, Flat, Masks, int], Network[Any]]


@dataclass(frozen=True)
class Engine:
    """What a trainer is made of.

    Attributes:
        network: the function and its gradient.
        update: the optimizer's arithmetic.
        compilations: how often this process has compiled since it began; None: it compiles nothing.
    """

    network: MakeNetwork
    update: Callable[[Optimizer, Array], Update] = Update
    compilations: Callable[[], int] | None = None


@dataclass(frozen=True)
class Variant:
    """A way of executing some cells.

    Attributes:
        engine: imports what it needs and returns the parts.
        cells: those that it runs; None: any.
        missing: says why it cannot be offered here, without importing it.
    """

    engine: Callable[[], Engine]
    cells: tuple[type[Cell], ...] | None = None
    missing: Callable[[], Missing | None] = lambda: None

    def runs(self, cell: Cell) -> bool:
        """Say whether ``cell`` can be executed so, here."""
        return (self.cells is None or type(cell) in self.cells) and self.missing() is None


def _numba() -> Engine:
    from harness_numpy.compiled.jit import compilations
    from harness_numpy.compiled.network import CompiledUpdate, network

    return Engine(network, CompiledUpdate, compilations)


def _no_numba() -> Missing | None:
    if find_spec("numba") is None:
        return Missing("Numba is not installed", 'pip install "rnn-harness[numba]"')
    return None


def _native() -> Engine:
    from harness_numpy.native import NativeNetwork, native_update  # builds and loads the kernel

    return Engine(NativeNetwork, native_update)


VARIANTS: Mapping[str, Variant] = {
    "vectorised": Variant(lambda: Engine(partial(HoistedNetwork, recurrence=vectorised))),
    "loop": Variant(lambda: Engine(LoopNetwork)),
    "numba": Variant(_numba, (RNN, ReluRNN, LSTM, GRU), _no_numba),
    "native": Variant(_native, CELLS, lambda: native_missing().get("native")),
}
