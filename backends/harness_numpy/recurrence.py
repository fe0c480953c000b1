"""The one time loop and its reverse: it runs every cell, and repeats no equation of any."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from harness.contract import Array, Cell, Dtype
from harness_numpy.ops import NumpyOps

OPS = NumpyOps()


class Unrolled(Protocol):
    """One layer unrolled over T steps, as the network uses it; attributes and methods as ``Recurrence``."""

    zx: Array
    states: list[Array]

    def forward(self, weight_hh: Array, bias_hh: Array) -> None:
        """Fill ``states``."""

    def backward(self, weight_hh: Array, d_hidden: Array) -> None:
        """Fill the gradients."""

    @property
    def d_zh(self) -> Array:
        """Return d loss / d zh."""


class MakeRecurrence(Protocol):
    """Makes the buffers of one layer for one shape."""

    def __call__(self, cell: Cell, steps: int, batch: int, hidden: int, dtype: Dtype) -> Unrolled:
        """Return them."""


class Recurrence:
    """One layer unrolled over T steps, with buffers for one shape.

    Attributes:
        zx: (T, B, G*H) input products; after ``backward``, d loss / d zx.
        states: (T + 1, B, H) per state of the cell; entry 0 is the state before the first step.
    """

    def __init__(self, cell: Cell, steps: int, batch: int, hidden: int, dtype: Dtype) -> None:
        self._cell = cell
        rows = len(cell.gates) * hidden
        self.zx: Array = np.empty((steps, batch, rows), dtype)
        self._zh: Array = np.empty((steps, batch, rows), dtype)
        self.states: list[Array] = [np.zeros((steps + 1, batch, hidden), dtype) for _ in cell.states]
        self._d_h: Array = np.empty((batch, hidden), dtype)
        self._zeros: Array = np.zeros((batch, hidden), dtype)
        self._zx_at, self._zh_at = list(self.zx), list(self._zh)  # views per time step, made once
        self._states_at = list(zip(*self.states, strict=True))
        self._shared = False

    def forward(self, weight_hh: Array, bias_hh: Array) -> None:
        """Fill ``states`` from ``zx`` and the initial state."""
        step, transposed = self._cell.step, weight_hh.T
        for t, zh in enumerate(self._zh_at):
            before = self._states_at[t]
            np.add(np.matmul(before[0], transposed, out=zh), bias_hh, out=zh)
            for target, value in zip(self._states_at[t + 1], step(OPS, self._zx_at[t], zh, before), strict=True):
                target[...] = value

    def backward(self, weight_hh: Array, d_hidden: Array) -> None:
        """Turn ``d_hidden`` (T, B, H), d loss / d h_t without this layer's recurrence, into the total derivative.

        The products ``zx`` and ``zh`` are overwritten by their gradients.
        """
        recurrent: Array | float = 0.0
        d_others = [self._zeros] * (len(self.states) - 1)
        for t in reversed(range(len(self._zx_at))):
            d_h, zx, zh = d_hidden[t], self._zx_at[t], self._zh_at[t]
            d_h += recurrent
            d_zx, d_zh, (direct, *others) = self._cell.step_gradient(
                OPS, zx, zh, self._states_at[t], self._states_at[t + 1], (d_h, *d_others)
            )
            recurrent = np.matmul(d_zh, weight_hh, out=self._d_h)
            if isinstance(direct, np.ndarray):
                recurrent += direct
            d_others = [other if isinstance(other, np.ndarray) else self._zeros for other in others]
            self._keep(zx, zh, d_zx, d_zh)

    def _keep(self, zx: Array, zh: Array, d_zx: Array, d_zh: Array) -> None:
        zx[...] = d_zx
        self._shared = d_zh is d_zx
        if not self._shared:
            zh[...] = d_zh

    @property
    def d_zh(self) -> Array:
        """Return (T, B, G*H), d loss / d zh, after ``backward``; it is ``zx`` where the cell gives both as one."""
        return self.zx if self._shared else self._zh
