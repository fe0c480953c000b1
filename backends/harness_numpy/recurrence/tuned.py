"""The cells of the harness, tuned in NumPy: in place, on contiguous gates, few operations.

Forwards the gates (T, G, B, H) are kept; backwards every factor that does not wait for a gradient
is taken for a block of time steps that fits the second-level cache. The equations are those of
``harness.cells``; tests compare the two.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Array, Cell
from harness_numpy.recurrence.fused_loop import FusedTimeLoop
from harness_numpy.recurrence.layer import Recurrence, Shape, Stepwise, Weights, joint_bias

BLOCK = 65_536  # elements of the factors of one block of time steps


class Tuned(FusedTimeLoop):
    """What the cells share: gates contiguous per time step, and factors block by block."""

    factors: int  # arrays (B, H) per time step

    def __init__(self, cell: Cell, shape: Shape) -> None:
        gates = len(cell.gates)
        super().__init__(cell, shape, blocks=gates)
        steps, batch, hidden = shape.steps, shape.batch, shape.hidden
        self._zx_at = list(self._by_gate(self.zx))
        self._block = max(1, min(steps, BLOCK // (self.factors * batch * hidden)))
        self._f: Array = np.empty((self._block, self.factors, batch, hidden), shape.dtype)
        self._scratch: Array = np.empty((batch, hidden), shape.dtype)

    def input_bias(self, weights: Weights) -> Array:
        """Return both biases where they only meet in zx + zh."""
        return joint_bias(self.derived, weights)

    def _by_gate(self, array: Array) -> Array:
        """Return (T, B, G*H) as (T, G, B, H), a view."""
        shape = self.shape
        return array.reshape(shape.steps, shape.batch, -1, shape.hidden).transpose(0, 2, 1, 3)

    def _step_back(self, t: int, d_hidden: Array, recurrent: Array) -> None:
        index = t % self._block
        if index == self._block - 1 or t == self.shape.steps - 1:
            start = t - index
            self._fill(start, t + 1, self._f[: index + 1].swapaxes(0, 1))
        d_h = d_hidden[t]
        d_h += recurrent
        self._apply(t, d_h, self._f[index])

    @abstractmethod
    def _fill(self, start: int, stop: int, factors: Array) -> None:
        """Write the factors (F, n, B, H) of the time steps ``start`` to ``stop``."""

    @abstractmethod
    def _apply(self, t: int, d_h: Array, factors: Array) -> None:
        """Write the gradients of zx and zh from the total ``d_h`` and this step's factors."""


class TunedRNN(Tuned):
    """h' = tanh(zx + zh), or a rectifier; d_z = d_h * (1 - h'^2), or d_h * [h' > 0]."""

    factors = 1

    def _step(self, t: int, zh: Array) -> None:
        h = np.add(zh[0], self.zx[t], out=self._h_at[t + 1])
        if isinstance(self.cell, ReluRNN):
            np.maximum(h, 0, out=h)
        else:
            np.tanh(h, out=h)

    def _start_back(self, d_final: Sequence[Array]) -> None:
        pass

    def _fill(self, start: int, stop: int, factors: Array) -> None:
        h = self.states[0][start + 1 : stop + 1]
        if isinstance(self.cell, ReluRNN):
            np.greater(h, 0, out=factors[0])
        else:
            np.multiply(h, h, out=factors[0])
            np.subtract(1, factors[0], out=factors[0])

    def _apply(self, t: int, d_h: Array, factors: Array) -> None:
        np.multiply(d_h, factors[0], out=self.zx[t])

    def _end_back(self, recurrent: Array) -> Sequence[Array]:
        return [recurrent]


class TunedLSTM(Tuned):
    """Gates i f g o with sigmoid(z) = (1 + tanh(z / 2)) / 2, so that one tanh serves all four.

    Back, with t = tanh(c'): d_c' += d_h * o * (1 - t^2), and d_z = d_c' * (g i(1-i), c f(1-f), i
    (1-g^2)) and d_h * t o(1-o); d_c = d_c' * f.
    """

    factors = 5

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        steps, batch, hidden = shape.steps, shape.batch, shape.hidden
        self._gates: Array = np.empty((steps, 4, batch, hidden), shape.dtype)
        self._tanh_c: Array = np.empty((steps, batch, hidden), shape.dtype)
        self._d_c: Array = np.empty((batch, hidden), shape.dtype)
        self._scale = np.array([0.5, 0.5, 1, 0.5], shape.dtype)[:, None, None]
        self._shift = np.array([0.5, 0.5, 0, 0.5], shape.dtype)[:, None, None]

    def _step(self, t: int, zh: Array) -> None:
        gates, c, new, tanh_c = (
            self._gates[t],
            self.states[1][t],
            self.states[1][t + 1],
            self._tanh_c[t],
        )
        np.add(zh, self._zx_at[t], out=gates)
        gates *= self._scale
        np.tanh(gates, out=gates)
        gates *= self._scale
        gates += self._shift
        i, f, g, o = gates
        np.multiply(f, c, out=new)
        new += np.multiply(i, g, out=self._scratch)
        np.tanh(new, out=tanh_c)
        np.multiply(o, tanh_c, out=self._h_at[t + 1])

    def _start_back(self, d_final: Sequence[Array]) -> None:
        self._d_c[...] = d_final[0]

    def _fill(self, start: int, stop: int, factors: Array) -> None:
        gates, tanh_c = self._gates[start:stop].swapaxes(0, 1), self._tanh_c[start:stop]
        i, _, g, o = gates
        by_c, slopes = factors[4], factors[:4]
        np.multiply(gates, gates, out=slopes)
        np.subtract(1, slopes[2], out=slopes[2])
        np.subtract(gates[:2], slopes[:2], out=slopes[:2])
        np.subtract(o, slopes[3], out=slopes[3])
        for slope, other in zip(slopes, (g, self.states[1][start:stop], i, tanh_c), strict=True):
            np.multiply(slope, other, out=slope)
        np.multiply(tanh_c, tanh_c, out=by_c)
        np.subtract(1, by_c, out=by_c)
        by_c *= o

    def _apply(self, t: int, d_h: Array, factors: Array) -> None:
        d_z, d_c = self._zx_at[t], self._d_c
        for kept in self.d_others:
            kept[t] = d_c
        d_c += np.multiply(d_h, factors[4], out=self._scratch)
        np.multiply(factors[:3], d_c, out=d_z[:3])
        np.multiply(factors[3], d_h, out=d_z[3])
        d_c *= self._gates[t, 1]

    def _end_back(self, recurrent: Array) -> Sequence[Array]:
        return [recurrent, self._d_c]


class TunedGRU(Tuned):
    """Gates r z n; all gradients are d_h times a factor, since nothing but h is carried.

    Back: d_n = d_h (1-z)(1-n^2), d_z = d_h (h-n) z(1-z), d_r = d_n zh_n r(1-r); zh_n gets d_n r;
    d_h' = d_h z.
    """

    factors = 4

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        steps, batch, hidden = shape.steps, shape.batch, shape.hidden
        self._gates: Array = np.empty((steps, 3, batch, hidden), shape.dtype)
        self._zh_n: Array = np.empty((steps, batch, hidden), shape.dtype)
        self._d_zh_at = list(self._by_gate(self.d_products[0]))
        self._direct: Array = np.zeros((batch, hidden), shape.dtype)
        self._bias_n: Array = np.zeros(hidden, shape.dtype)

    def _start(self, bias_hh: Array) -> None:
        self._bias_n[...] = bias_hh[2 * self.shape.hidden :]

    def _step(self, t: int, zh: Array) -> None:
        gates, zh_n, zx, h, new = (
            self._gates[t],
            self._zh_n[t],
            self._zx_at[t],
            self._h_at[t],
            self._h_at[t + 1],
        )
        r_z, (r, z, n) = gates[:2], gates
        np.add(zh[:2], zx[:2], out=r_z)
        r_z *= 0.5
        np.tanh(r_z, out=r_z)
        r_z *= 0.5
        r_z += 0.5
        np.add(zh[2], self._bias_n, out=zh_n)
        np.multiply(r, zh_n, out=n)
        n += zx[2]
        np.tanh(n, out=n)
        np.subtract(h, n, out=new)
        new *= z
        new += n

    def _start_back(self, d_final: Sequence[Array]) -> None:
        self._direct.fill(0)

    def _fill(self, start: int, stop: int, factors: Array) -> None:
        r, z, n = self._gates[start:stop].swapaxes(0, 1)
        by_r, by_z, by_n, by_zh_n = factors
        np.subtract(1, z, out=by_z)
        np.multiply(n, n, out=by_n)
        np.subtract(1, by_n, out=by_n)
        by_n *= by_z
        by_z *= z
        by_z *= np.subtract(self.states[0][start:stop], n, out=by_r)
        np.multiply(by_n, r, out=by_zh_n)
        np.subtract(1, r, out=by_r)
        by_r *= by_zh_n
        by_r *= self._zh_n[start:stop]

    def _apply(self, t: int, d_h: Array, factors: Array) -> None:
        d_h += self._direct
        d_zx, d_zh = self._zx_at[t], self._d_zh_at[t]
        np.multiply(factors[:3], d_h, out=d_zx)
        d_zh[:2] = d_zx[:2]
        np.multiply(factors[3], d_h, out=d_zh[2])
        np.multiply(d_h, self._gates[t, 1], out=self._direct)

    def _end_back(self, recurrent: Array) -> Sequence[Array]:
        recurrent += self._direct
        return [recurrent]


TUNED: Mapping[type[Cell], Callable[[Cell, Shape], Recurrence]] = {
    RNN: TunedRNN, ReluRNN: TunedRNN, LSTM: TunedLSTM, GRU: TunedGRU,
}  # fmt: skip


def vectorised(cell: Cell, shape: Shape) -> Recurrence:
    """Return the tuned loop of a cell that has one, else the loop over its ``step``."""
    return TUNED.get(type(cell), Stepwise)(cell, shape)
