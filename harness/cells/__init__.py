"""The cells of the harness, offered as a plugin like any other. No framework is imported here."""

from collections.abc import Sequence

from harness.cells.diagonal import SRU, IndRNN, PositiveDiagonal, SignedDiagonal
from harness.cells.gru import GRU, MGU, InputBiasGRU, ResetBeforeGRU
from harness.cells.lstm import LSTM, CoupledLSTM, PeepholeLSTM
from harness.cells.matrix import GatedDelta
from harness.cells.minimal import MinGRU, MinLSTM
from harness.cells.rnn import RNN, Leaky, ReluRNN
from harness.contract import Cell, hookimpl

__all__ = [
    "GRU",
    "LSTM",
    "MGU",
    "RNN",
    "SRU",
    "CoupledLSTM",
    "GatedDelta",
    "IndRNN",
    "InputBiasGRU",
    "Leaky",
    "MinGRU",
    "MinLSTM",
    "PeepholeLSTM",
    "PositiveDiagonal",
    "ReluRNN",
    "ResetBeforeGRU",
    "SignedDiagonal",
    "harness_cells",
]


@hookimpl
def harness_cells() -> Sequence[Cell]:
    """Offer the plain cells, the LSTMs, the GRUs, and those without recurrent weights."""
    return [
        RNN(), ReluRNN(), Leaky(),
        LSTM(), PeepholeLSTM(), CoupledLSTM(),
        GRU(), ResetBeforeGRU(), InputBiasGRU(), MGU(),
        MinGRU(), MinLSTM(), IndRNN(), SRU(), SignedDiagonal(), PositiveDiagonal(),
        GatedDelta(),
    ]  # fmt: skip
