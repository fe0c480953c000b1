"""The only list of this backend's variants. To add one, write its module and an entry here.

Nothing is imported for a variant before it is used, and no cell is traced before ``takes`` is
asked: ``harness list`` must stay fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from harness.contract import Array, Cell, Missing, Model, Optimizer, Trial, UnsupportedError
from harness_native import build_native, native_missing, native_refusal
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.masks import Masks
from harness_numpy.recurrence.network import Network
from harness_numpy.update import Update

MakeNetwork = Callable[[Model, Flat, Flat, Masks, int], Network[Any]]


@dataclass(frozen=True)
class Engine:
    """The parts that a trainer takes from a variant.

    Attributes:
        network: makes the function and its gradient.
        update: makes the optimizer's arithmetic.
        compilations: counts how often this process has compiled; None: compiles nothing.
    """

    network: MakeNetwork
    update: Callable[[Optimizer, Array], Update] = Update
    compilations: Callable[[], int] | None = None


@dataclass(frozen=True)
class Variant:
    """A way of executing some cells.

    Attributes:
        engine: imports what the variant needs, and returns the parts.
        refusal: says why it cannot run a cell, or returns None.
        missing: says why it is not available here, without importing it, or returns None.
        build: builds what it needs for a cell; False if that failed: then ``missing`` says why.
    """

    engine: Callable[[], Engine]
    refusal: Callable[[Cell], str | None] = lambda _cell: None
    missing: Callable[[], Missing | None] = lambda: None
    build: Callable[[Cell], bool] = lambda _cell: True

    def runs(self, cell: Cell) -> bool:
        """Say whether the variant can execute ``cell`` here."""
        try:
            return self.refusal(cell) is None and self.missing() is None
        except UnsupportedError:  # its step cannot be traced: a trial of it says why
            return False


def unwritten(cell: Cell) -> str | None:
    """Return why NumPy and Numba code cannot be written for a cell, or None."""
    from harness.recurrence import derive

    return derive(cell).matrix_refusal("the writer of NumPy code")


def _vectorised() -> Engine:
    from harness_numpy.recurrence.hoisted import HoistedNetwork
    from harness_numpy.recurrence.layer import Recurrence, Shape, Stepwise
    from harness_numpy.written.generated import Vectorised

    def recurrence(cell: Cell, shape: Shape) -> Recurrence:
        return Vectorised(cell, shape) if unwritten(cell) is None else Stepwise(cell, shape)

    return Engine(partial(HoistedNetwork, recurrence=recurrence))


def _loop() -> Engine:
    from harness_numpy.recurrence.loop import LoopNetwork

    return Engine(LoopNetwork)


def _interpreted() -> Engine:
    from harness_numpy.recurrence.hoisted import HoistedNetwork
    from harness_numpy.recurrence.layer import Stepwise

    return Engine(partial(HoistedNetwork, recurrence=Stepwise))


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


# ``vectorised``: products hoisted out of the time loop, pointwise work in code written from the
# cell's graph. ``loop``: one time step after the other, as in a textbook. ``numba``: pointwise
# work, loss and Adam compiled. ``native``: the C kernel of ``harness_native``.
VARIANTS: Mapping[str, Variant] = {  # the plainest first
    "vectorised": Variant(_vectorised),
    "loop": Variant(_loop),
    "numba": Variant(_numba, unwritten, _no_numba),
    "native": Variant(_native, native_refusal, native_missing, build_native),
}
# The reference of all backends in float64, for proofs alone: the graph of the cell, interpreted.
REFERENCE = "reference"
INTERPRETED = Variant(_interpreted)
COMPILED = ("native", "numba")  # the faster first
# What a compiled variant saves against ``vectorised`` per time step, at least. LSTM, hidden/batch:
# 30 us at 100/1, 70 us at 128/32, 600 us at 512/64.
SAVED_SECONDS_PER_STEP = 2e-5
SAVED_SECONDS_PER_ELEMENT = 1.5e-8
NOMINAL_LENGTH = 64  # all lengths of a plan share a variant
LOADING_SECONDS = 1.0  # of compiled code from disk


def compiled_pays(trial: Trial) -> bool:
    """Say whether a trial of this size saves more time than loading compiled code takes."""
    time_step = SAVED_SECONDS_PER_STEP + SAVED_SECONDS_PER_ELEMENT * trial.batch * trial.hidden
    return trial.steps * trial.layers * NOMINAL_LENGTH * time_step > LOADING_SECONDS


def variant_of(name: str) -> Variant:
    """Return a variant, listed or not."""
    return INTERPRETED if name == REFERENCE else VARIANTS[name]
