"""Variant ``native``: the recurrence of one layer in the C kernel of ``harness_native``."""

from __future__ import annotations

import numpy as np

from harness.contract import Array, Cell, Dtype
from harness_native import keeps_product, layer, library


class NativeRecurrence:
    """One layer unrolled over T steps in the kernel, with buffers and their addresses for one shape.

    Attributes:
        zx: (T, B, G*H) input products; after ``forward`` the gates, after ``backward`` d loss / d zx.
        states: (T + 1, B, H) per state of the cell; entry 0 is the state before the first step.
        d_zh: (T, B, G*H), d loss / d zh, after ``backward``; it is ``zx`` where the two are equal.
    """

    def __init__(self, cell: Cell, steps: int, batch: int, hidden: int, dtype: Dtype, threads: int = 1) -> None:
        self._kernel, gru = library(), keeps_product(cell)
        width = len(cell.gates) * hidden
        self.zx: Array = np.empty((steps, batch, width), dtype)
        self.states: list[Array] = [np.zeros((steps + 1, batch, hidden), dtype) for _ in cell.states]
        self.d_zh: Array = np.empty_like(self.zx) if gru else self.zx
        self._zh_n: Array = np.empty((steps, batch, hidden), dtype) if gru else self.zx
        self._layer = layer(cell, (steps, batch, hidden), double=dtype == "float64", threads=threads)
        self._point()

    def _point(self) -> None:
        layer = self._layer
        layer.zx = layer.gates = layer.d_zx = _address(self.zx)
        layer.d_zh, layer.zh_n = _address(self.d_zh), _address(self._zh_n)
        for index, states in enumerate(self.states):
            layer.initial[index], layer.states[index] = _address(states), _address(states[1:])

    def forward(self, weight_hh: Array, bias_hh: Array) -> None:
        """Fill ``states`` from ``zx`` and the initial state."""
        self._layer.weight, self._layer.bias = _address(weight_hh), _address(bias_hh)
        self._kernel.forward(self._layer)

    def backward(self, weight_hh: Array, d_hidden: Array) -> None:
        """Turn ``d_hidden`` (T, B, H), d loss / d h_t without this layer's recurrence, into the total derivative."""
        self._layer.weight = _address(weight_hh)
        self._layer.d_direct = self._layer.d_total = _address(d_hidden)
        self._kernel.reverse(self._layer)


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
