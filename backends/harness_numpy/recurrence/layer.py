"""One layer unrolled over time: the interface, and the plainest loop, which runs any cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.contract import Array, ArrayDtype, Cell
from harness.recurrence.classic import classic
from harness_numpy.recurrence.ops import NumpyOps

OPS = NumpyOps()


@dataclass(frozen=True)
class Shape:
    """The sizes of one unrolled layer, and how it may compute."""

    steps: int  # T
    batch: int  # B
    hidden: int  # H
    dtype: ArrayDtype
    threads: int = 1  # of BLAS


class Recurrence(ABC):
    """One layer unrolled over T steps, with buffers for one shape.

    Attributes:
        zx: (T, B, G*H) input products; after ``backward``, d loss / d zx. In between, the
            recurrence may use it for anything.
        states: (T + 1, B, H) per state of the cell; entry 0 is the state before the first step.
        d_others: (T, B, H) per state except h. ``backward`` of the loops in plain NumPy fills them
            with the total derivative d loss / d state; empty: not wanted.
    """

    def __init__(self, cell: Cell, shape: Shape) -> None:
        self.cell, self.shape = cell, shape
        self.zx: Array = np.empty(
            (shape.steps, shape.batch, len(cell.gates) * shape.hidden), shape.dtype
        )
        self.states: list[Array] = [
            np.zeros((shape.steps + 1, shape.batch, shape.hidden), shape.dtype) for _ in cell.states
        ]
        self.d_others: Sequence[Array] = ()

    def input_bias(self, bias_ih: Array, bias_hh: Array | None) -> Array:
        """Return the bias (G*H,) that is added to the input products before ``forward``.

        A recurrence whose gates use only zx + zh may add ``bias_hh`` here, once for all steps.
        """
        return bias_ih

    @abstractmethod
    def forward(self, weight_hh: Array | None, bias_hh: Array | None) -> None:
        """Fill ``states`` from ``zx`` and the initial state. No weight and bias: not recurrent."""

    @abstractmethod
    def backward(
        self, weight_hh: Array | None, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Turn ``d_hidden`` into the total derivative, ``zx`` into its gradient, and give ``d_zh``.

        Args:
            weight_hh: (G*H, H), as in ``forward``.
            d_hidden: (T, B, H), d loss / d h_t without this layer's recurrence; changed in place.
            d_final: d loss / d final state through the steps after these, each (B, H), never
                changed; None: zero.

        Returns:
            d loss / d initial state, each (B, H); may be a buffer that the next call overwrites.
        """

    @property
    @abstractmethod
    def d_zh(self) -> Array | None:
        """Return d loss / d zh (T, B, G*H) after ``backward``, or None; may be ``zx`` itself."""


class Stepwise(Recurrence):
    """The time loop and its reverse for every cell, through its ``step`` and ``step_gradient``."""

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._classic = classic(cell)
        self._zh: Array | None = np.empty_like(self.zx) if cell.recurrent else None
        self._zeros: Array = np.zeros((shape.batch, shape.hidden), shape.dtype)
        self._d_h: Array = np.empty_like(self._zeros)
        self._zx_at = list(self.zx)  # views per time step, made once
        self._zh_at: list[Array | None] = (
            [None] * shape.steps if self._zh is None else list(self._zh)
        )
        self._states_at = list(zip(*self.states, strict=True))
        self._shared = False

    def forward(self, weight_hh: Array | None, bias_hh: Array | None) -> None:
        """Step through time."""
        # A contiguous copy takes half the time of a view.
        transposed = None if weight_hh is None else np.ascontiguousarray(weight_hh.T)
        for t, zh in enumerate(self._zh_at):
            before = self._states_at[t]
            if zh is not None and transposed is not None and bias_hh is not None:
                np.add(np.matmul(before[0], transposed, out=zh), bias_hh, out=zh)
            after = self._classic.step(OPS, self._zx_at[t], zh, before)
            for target, value in zip(self._states_at[t + 1], after, strict=True):
                target[...] = value

    def backward(
        self, weight_hh: Array | None, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Step back through time."""
        zeros = [self._zeros] * len(self.states)
        recurrent, *d_others = zeros if d_final is None else d_final
        for t in reversed(range(len(self._zx_at))):
            d_h, zx, zh = d_hidden[t], self._zx_at[t], self._zh_at[t]
            d_h += recurrent
            for kept, d_other in zip(self.d_others, d_others, strict=False):
                kept[t] = d_other
            d_zx, d_zh, (direct, *others) = self._classic.step_gradient(
                OPS, zx, zh, self._states_at[t], self._states_at[t + 1], (d_h, *d_others)
            )
            recurrent = self._d_h
            recurrent[...] = direct
            if weight_hh is not None:
                recurrent += d_zh @ weight_hh
            d_others = [other if isinstance(other, np.ndarray) else self._zeros for other in others]
            self._keep(zx, zh, d_zx, d_zh)
        return [recurrent, *d_others]

    def _keep(self, zx: Array, zh: Array | None, d_zx: Array, d_zh: Array | None) -> None:
        zx[...] = d_zx
        self._shared = d_zh is d_zx
        if zh is not None and not self._shared:
            zh[...] = d_zh

    @property
    def d_zh(self) -> Array | None:
        """Return d loss / d zh."""
        return self.zx if self._shared else self._zh
