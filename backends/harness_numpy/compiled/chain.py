"""The time loops of rnn, rnn_relu, lstm and gru around the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Array, Cell
from harness_numpy.compiled import cells, few
from harness_numpy.recurrence.fused_loop import FusedTimeLoop
from harness_numpy.recurrence.layer import Recurrence, Shape, Weights, joint_bias

FEW = 2  # sequences; up to here the compiled loop beats BLAS called per step (measured)
ROUND = 64  # columns
Kernel = Callable[..., Any]


class Compiled(FusedTimeLoop):
    """A loop whose kernels take arrays that never change; one call for few sequences.

    ``step``, ``back``, ``ahead`` and ``behind`` are the kernels of one cell, ``forward_arrays`` and
    ``backward_arrays`` what they take besides products and gradients, in their order.
    """

    kernels: tuple[Kernel, Kernel, Kernel, Kernel]

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._step_kernel, self._back_kernel, self._ahead_kernel, self._behind_kernel = self.kernels
        self._forward: tuple[Array, ...] = ()
        self._carried: tuple[Array, ...] = ()
        self._backward: tuple[Array, ...] = ()
        self._few = shape.batch <= FEW
        if self._few:
            self._ahead_padded, self._zh = self._padded(shape.hidden, self.zx.shape[-1])
            self._back_padded, self._recurrent = self._padded(self.zx.shape[-1], shape.hidden)

    def _padded(self, depth: int, columns: int) -> tuple[Array, Array]:
        """Return zeros (K, N) and (B, N), N rounded up to SIMD rounds: odd columns are slow."""
        width = -(-columns // ROUND) * ROUND
        return np.zeros((depth, width), self.shape.dtype), np.zeros(
            (self.shape.batch, width), self.shape.dtype
        )

    def input_bias(self, weights: Weights) -> Array:
        """Return both biases where they only meet in zx + zh."""
        return joint_bias(self.derived, weights)

    def forward(self, weights: Weights) -> None:
        """Take all steps."""
        if not self._few:
            super().forward(weights)
            return
        weight_hh = weights["weight_hh"]
        self._start(weights["bias_hh"])
        self._ahead_padded[:, : len(weight_hh)] = weight_hh.T
        self._ahead_kernel(self._ahead_padded, self._zh, self.zx, *self._forward)

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Take all steps back."""
        if not self._few:
            return super().backward(weights, d_hidden, d_final)
        self._back_padded[:, : self.shape.hidden] = weights["weight_hh"]
        recurrent = self._recurrent[:, : self.shape.hidden]
        recurrent[...] = 0 if d_final is None else d_final[0]
        self._start_back([self._zeros] * (len(self.states) - 1) if d_final is None else d_final[1:])
        self._behind_kernel(
            self._back_padded, self.zx, *self._backward, d_hidden, self._recurrent, *self._carried
        )
        return self._end_back(recurrent)

    def _step(self, t: int, zh: Array) -> None:
        self._step_kernel(t, self.zx, zh[0], *self._forward)

    def _step_back(self, t: int, d_hidden: Array, recurrent: Array) -> None:
        self._back_kernel(t, self.zx, *self._backward, d_hidden, recurrent, *self._carried)

    def _start_back(self, d_final: Sequence[Array]) -> None:
        for target, value in zip(self._carried, d_final, strict=True):
            target[...] = value

    def _end_back(self, recurrent: Array) -> Sequence[Array]:
        return [recurrent, *self._carried]


class CompiledRNN(Compiled):
    """``rnn``."""

    kernels = (cells.rnn_step, cells.rnn_back, few.rnn_ahead, few.rnn_behind)

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._forward = self._backward = (self.states[0],)


class CompiledReluRNN(CompiledRNN):
    """``rnn_relu``."""

    kernels = (cells.relu_step, cells.relu_back, few.relu_ahead, few.relu_behind)


class CompiledLSTM(Compiled):
    """``lstm``."""

    kernels = (cells.lstm_step, cells.lstm_back, few.lstm_ahead, few.lstm_behind)

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        h, c = self.states
        gates, tanh_c = np.empty_like(self.zx), np.empty_like(h[1:])
        self._forward, self._backward = (gates, h, c, tanh_c), (gates, c, tanh_c)
        self._carried = (np.empty_like(self._zeros),)


class CompiledGRU(Compiled):
    """``gru``."""

    kernels = (cells.gru_step, cells.gru_back, few.gru_ahead, few.gru_behind)

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        h, gates = self.states[0], np.empty_like(self.zx)
        self._bias_n = np.empty_like(h[0, 0])
        zh_n = np.empty_like(h[1:])
        self._forward, self._backward = (
            (self._bias_n, gates, zh_n, h),
            (self.d_products[0], gates, zh_n, h),
        )
        self._carried = (np.empty_like(self._zeros),)

    def _start(self, bias_hh: Array) -> None:
        self._bias_n[...] = bias_hh[-self.shape.hidden :]

    def _start_back(self, d_final: Sequence[Array]) -> None:
        self._carried[0].fill(0)

    def _end_back(self, recurrent: Array) -> Sequence[Array]:
        recurrent += self._carried[0]
        return [recurrent]


COMPILED: Mapping[type[Cell], Callable[[Cell, Shape], Recurrence]] = {
    RNN: CompiledRNN, ReluRNN: CompiledReluRNN, LSTM: CompiledLSTM, GRU: CompiledGRU,
}  # fmt: skip


def compiled_recurrence(cell: Cell, shape: Shape) -> Recurrence:
    """Return the compiled loop of one of the four cells."""
    return COMPILED[type(cell)](cell, shape)
