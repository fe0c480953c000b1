"""Which variant is held to be the fastest; the first line that fits decides.

For rnn, lstm and gru on a CPU as measured in ``results/measured/work-items.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell, LinearCell, Trial
from harness_native import native_unsupported

LIBRARY_CELLS: tuple[type[Cell], ...] = (RNN, ReluRNN, LSTM, GRU)  # whose equations torch.nn has
# Up to here the parallel scan is faster than T small steps (twice at 100, no longer at 4096; T =
# 1024 and 100).
NARROW = 512  # values of h in one time step


class Line(NamedTuple):
    """A variant and where it is the fastest."""

    variant: str
    fits: Callable[[Cell, Trial], bool]


def _on_gpu(trial: Trial) -> bool:
    return trial.device.startswith("cuda")


LINES = (
    # On a GPU nothing is measured yet: cuDNN, and for linear cells few launches instead of T.
    Line("library", lambda cell, trial: _on_gpu(trial) and type(cell) in LIBRARY_CELLS),
    Line("parallel", lambda cell, trial: _on_gpu(trial) and isinstance(cell, LinearCell)),
    Line(
        "native",
        lambda _cell, trial: native_unsupported("native", trial.device, trial.dtype) is None,
    ),
    Line(
        "parallel",
        lambda cell, trial: isinstance(cell, LinearCell) and trial.batch * trial.hidden <= NARROW,
    ),
    Line("library", lambda cell, trial: type(cell) is LSTM and trial.batch == 1),
    Line("fused", lambda _cell, _trial: True),
)


def fastest(cell: Cell, trial: Trial, offered: Sequence[str]) -> str:
    """Return the variant of those ``offered`` that ``torch:fastest`` takes.

    ``compiled`` never is: it compiles for a minute first.
    """
    return next(
        line.variant for line in LINES if line.variant in offered and line.fits(cell, trial)
    )
