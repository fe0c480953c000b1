"""The time loop of the tuned cells: per step one packed product and one pointwise function."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from harness.contract import Array, Cell
from harness_numpy.recurrence.layer import Recurrence, Shape, Weights
from harness_numpy.recurrence.packed import Packed


class FusedTimeLoop(Recurrence):
    """Buffers made once, products packed once per call; a subclass adds one cell's pointwise work.

    Args:
        cell, shape: as in ``Recurrence``.
        blocks: the number of pieces into which ``_step`` needs the columns of zh split.
    """

    def __init__(self, cell: Cell, shape: Shape, *, blocks: int = 1) -> None:
        super().__init__(cell, shape)
        rows, width = shape.batch, self.zx.shape[-1]
        self._ahead = Packed(
            rows, shape.hidden, width, shape.dtype, blocks=blocks, threads=shape.threads
        )
        self._back = Packed(rows, width, shape.hidden, shape.dtype, threads=shape.threads)
        self._zeros: Array = np.zeros((rows, shape.hidden), shape.dtype)
        self._h_at = list(self.states[0])

    def forward(self, weights: Weights) -> None:
        """Alternate the product and the pointwise step."""
        self._ahead.load(weights["weight_hh"].T)
        self._start(weights["bias_hh"])
        for t in range(self.shape.steps):
            self._step(t, self._ahead(self._h_at[t]))

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Alternate the pointwise gradient and the product, from the last step to the first."""
        self._back.load(weights["weight_hh"])
        recurrent, *others = [self._zeros] * len(self.states) if d_final is None else d_final
        self._start_back(others)
        d_zh_at = list(self.d_products[0])
        for t in reversed(range(self.shape.steps)):
            self._step_back(t, d_hidden, recurrent)
            recurrent = self._back(d_zh_at[t])[0]
        return self._end_back(recurrent)

    def _start(self, bias_hh: Array) -> None:
        """Get ready to go forward."""

    @abstractmethod
    def _step(self, t: int, zh: Array) -> None:
        """Write the states t + 1 from ``zx``, the states t and ``zh`` (blocks, B, G*H / blocks)."""

    @abstractmethod
    def _start_back(self, d_final: Sequence[Array]) -> None:
        """Get ready to go back, from the gradients of the final states other than h."""

    @abstractmethod
    def _step_back(self, t: int, d_hidden: Array, recurrent: Array) -> None:
        """Add to ``d_hidden[t]`` what came back through time; write the gradients of zx and zh."""

    @abstractmethod
    def _end_back(self, recurrent: Array) -> Sequence[Array]:
        """Return the gradients of the initial state."""
