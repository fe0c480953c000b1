"""The cells of the harness, offered as a plugin like any other. No framework is imported here."""

from collections.abc import Sequence

from harness.cells.gru import GRU
from harness.cells.lstm import LSTM
from harness.cells.minimal import MinGRU, MinLSTM
from harness.cells.rnn import RNN, ReluRNN
from harness.contract import Cell, hookimpl

__all__ = ["GRU", "LSTM", "RNN", "MinGRU", "MinLSTM", "ReluRNN", "harness_cells"]


@hookimpl
def harness_cells() -> Sequence[Cell]:
    """Offer rnn, rnn_relu, lstm, gru, mingru and minlstm."""
    return [RNN(), ReluRNN(), LSTM(), GRU(), MinGRU(), MinLSTM()]
