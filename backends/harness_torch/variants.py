"""The only list of this backend's variants. To add one, write its module and an entry here.

No torch is imported before a variant is used, and no cell traced before ``takes`` is asked:
``harness list`` must stay fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell, Dtype, Missing, Model, Trial, UnsupportedError
from harness_native import (
    build_native,
    native_missing,
    native_refusal,
    native_runs,
    native_unsupported,
)
from harness_torch.recurrence.toolchain import COMPILER_FIX, why_no_compiler

if TYPE_CHECKING:
    import torch

    from harness_torch.network import MakeLayer, Stack, Weights

    MakeStack = Callable[[Model, Weights, torch.dtype], Stack]

LIBRARY_CELLS: tuple[type[Cell], ...] = (RNN, ReluRNN, LSTM, GRU)  # whose equations torch.nn has


@dataclass(frozen=True)
class Engine:
    """The parts that a trainer takes from a variant.

    Attributes:
        stack: makes the stacked cells of a model on a trainer's weights, in a dtype.
        takes_probes: whether the stack gives d loss / d h_t; if not, that of ``loop`` does.
        fits_graph: whether a CUDA graph can hold a training step.
        compilations: counts the programs that this process has compiled; None: compiles nothing.
    """

    stack: MakeStack
    takes_probes: bool = True
    fits_graph: bool = False
    compilations: Callable[[], int] | None = None


@dataclass(frozen=True)
class Variant:
    """A way of executing some cells.

    Attributes:
        engine: imports what the variant needs, and returns the parts.
        takes: whether it has the equations of a cell.
        unsupported: says why it cannot run a model on a device in a dtype, or returns None.
        missing: says why it is not available here, without importing it, or returns None.
        build: builds what it needs for a cell; False if that failed: then ``missing`` says why.
        library_layers: whether it runs the layers of ``torch.nn``, not this project's code.
    """

    engine: Callable[[], Engine]
    takes: Callable[[Cell], bool] = lambda _cell: True
    unsupported: Callable[[Model, str, Dtype], str | None] = lambda _model, _device, _dtype: None
    missing: Callable[[], Missing | None] = lambda: None
    build: Callable[[Cell], bool] = lambda _cell: True
    library_layers: bool = False

    def runs(self, cell: Cell) -> bool:
        """Say whether the variant can execute ``cell`` here."""
        try:
            return self.takes(cell) and self.missing() is None
        except UnsupportedError:  # its step cannot be traced: a trial of it says why
            return False


def _library() -> Engine:
    from harness_torch.network import LibraryStack

    return Engine(LibraryStack, takes_probes=False)


def _loop() -> Engine:
    from harness_torch.recurrence.loop import loop_layer

    return Engine(_layers(loop_layer))


def _fused() -> Engine:
    from harness_torch.recurrence.fused import fused_layer

    return Engine(_layers(fused_layer), fits_graph=True)


def _parallel() -> Engine:
    from harness_torch.recurrence.linear import parallel_layer

    return Engine(_layers(parallel_layer))


def _compiled() -> Engine:
    from harness_torch.recurrence.compiled import compilations, compiled_layer  # takes seconds

    return Engine(_layers(compiled_layer), compilations=compilations)


def _native() -> Engine:
    from harness_torch.recurrence.native import native_layer

    return Engine(_layers(native_layer))


def _layers(make_layer: MakeLayer) -> MakeStack:
    from harness_torch.network import CellStack

    return partial(CellStack, make_layer=make_layer)


def _in_library(cell: Cell) -> bool:
    return type(cell) in LIBRARY_CELLS


def _not_in_library(model: Model, _device: str, _dtype: Dtype) -> str | None:
    if _in_library(model.cell):
        return None
    return f"torch.nn has no {model.cell.name}: choose torch:fused or torch:loop"


def _has_fused(cell: Cell) -> bool:
    return no_fused(cell) is None


def no_fused(cell: Cell) -> str | None:
    """Return why the variant ``fused`` cannot run a cell, or None."""
    from harness.recurrence import derive

    return derive(cell).matrix_refusal("torch:fused")


def _is_linear(cell: Cell) -> bool:
    from harness.recurrence import derive

    return derive(cell).linear is not None


def _not_linear(model: Model, _device: str, _dtype: Dtype) -> str | None:
    if _is_linear(model.cell):
        return None
    name = model.cell.name
    return f"{name} is not linear in its state, so it has no parallel scan: choose torch:fused"


def _no_compiler() -> Missing | None:
    reason = why_no_compiler()
    return None if reason is None else Missing(reason, COMPILER_FIX)


def _not_native(model: Model, device: str, dtype: Dtype) -> str | None:
    return native_refusal(model.cell) or native_unsupported(device, dtype)


# ``library``: ``torch.nn.RNN``, ``LSTM`` or ``GRU`` (oneDNN or cuDNN underneath). ``loop``: the
# cell's ``step`` under autograd. ``fused``: BPTT derived from the step, written as a kernel of few
# operations. ``parallel``: all time steps at once by an associative scan. ``compiled``:
# ``torch.compile`` of a few time steps. ``native``: the C kernel of ``harness_native``.
VARIANTS: Mapping[str, Variant] = {  # the plainest first
    "library": Variant(_library, _in_library, _not_in_library, library_layers=True),
    "loop": Variant(_loop),
    "fused": Variant(_fused, _has_fused, lambda model, _device, _dtype: no_fused(model.cell)),
    "parallel": Variant(_parallel, _is_linear, _not_linear),
    "compiled": Variant(_compiled, missing=_no_compiler),
    "native": Variant(
        _native,
        native_runs,
        _not_native,
        native_missing,
        build_native,
    ),
}

# Up to this many values of h in one time step, the parallel scan is faster than T small steps
# (twice as fast at 100, not at 4096; T = 1024 and 100).
NARROW = 512


def _on_gpu(trial: Trial) -> bool:
    return trial.device.startswith("cuda")


# When a variant is the fastest. The first that is available and fits decides. On a CPU as measured
# in ``results/measured/work-items.md`` for rnn, lstm and gru; on a GPU nothing is measured yet:
# cuDNN, and for linear cells few launches instead of T. Never ``compiled``: it compiles for a
# minute first.
FASTEST: Mapping[str, Callable[[Cell, Trial], bool]] = {
    "native": lambda _cell, trial: native_unsupported(trial.device, trial.dtype) is None,
    "parallel": lambda _cell, trial: _on_gpu(trial) or trial.batch * trial.hidden <= NARROW,
    "library": lambda cell, trial: _on_gpu(trial) or (type(cell) is LSTM and trial.batch == 1),
    "fused": lambda _cell, _trial: True,
    "loop": lambda _cell, _trial: True,
}


def fastest(cell: Cell, trial: Trial, offered: Sequence[str]) -> str:
    """Return the variant of those ``offered`` that ``torch:fastest`` takes."""
    return next(name for name, fits in FASTEST.items() if name in offered and fits(cell, trial))
