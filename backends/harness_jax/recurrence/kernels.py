"""The pointwise work of one time step and of its reverse for ``fused``: generic, or tuned.

A tuned kernel says the same as the cell, in the form that XLA's CPU code runs fastest (measured on
AVX-512, H = 128, B = 32): all gates of a step as one elementwise operation on (B, G*H), since a
loop over slices of it is not vectorised; and the derivative of everything that does not depend on
later time steps taken for all of them at once.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell
from harness.recurrence.classic import classic
from harness_jax.recurrence.ops import OPS

States = tuple[Array, ...]
Kept = Any  # arrays, each (B, ...) in one time step and (T, B, ...) over all
Recurrent = Any  # zh or its gradient, (B, G*H); None for a cell that is not recurrent


class Kernel(Protocol):
    """The pointwise work of a cell; each state is (B, H)."""

    def forward(self, zx: Array, zh: Recurrent, state: States) -> tuple[States, Kept]:
        """Return the next state, and what the reverse step needs besides the states."""

    def factors(self, zx: Array, kept: Kept, before: States, after: States) -> Kept:
        """Return what ``backward`` takes, all steps at once; ``before``, ``after`` are states."""

    def backward(self, factors: Kept, d_state: States) -> tuple[Kept, Recurrent, States]:
        """Return ``(d_parts, d_zh, d_state)`` of one step, without the product with weight_hh."""

    def d_zx(self, factors: Kept, d_parts: Kept, d_zh: Recurrent) -> Array:
        """Return d_zx (T, B, G*H) for all time steps at once."""


class AnyKernel:
    """A cell's own ``step`` and ``step_gradient``."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def forward(self, zx: Array, zh: Recurrent, state: States) -> tuple[States, Kept]:
        """Keep zh, for ``step_gradient``."""
        return classic(self._cell).step(OPS, zx, zh, state), zh

    def factors(self, zx: Array, kept: Kept, before: States, after: States) -> Kept:
        """Return the arguments of ``step_gradient``."""
        return zx, kept, before, after

    def backward(self, factors: Kept, d_state: States) -> tuple[Kept, Recurrent, States]:
        """Return d_zx as the parts, unless it is d_zh."""
        zx, zh, before, after = factors
        d_zx, d_zh, parts = classic(self._cell).step_gradient(OPS, zx, zh, before, after, d_state)
        return (
            None if d_zx is d_zh else d_zx,
            d_zh,
            tuple(filled(part, d_state[0]) for part in parts),
        )

    def d_zx(self, factors: Kept, d_parts: Kept, d_zh: Recurrent) -> Array:
        """Return the parts, or d_zh where they are none."""
        d_zx: Array = d_zh if d_parts is None else d_parts
        return d_zx


class RNNKernel:
    """The plain cell: nothing is kept but h."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._tanh = isinstance(cell, RNN)

    def forward(self, zx: Array, zh: Recurrent, state: States) -> tuple[States, Kept]:
        """Return (h',)."""
        return classic(self._cell).step(OPS, zx, zh, state), None

    def factors(self, zx: Array, kept: Kept, before: States, after: States) -> Kept:
        """Return h'."""
        return after[0]

    def backward(self, factors: Kept, d_state: States) -> tuple[Kept, Recurrent, States]:
        """Return d_h times the derivative, which h' gives."""
        d_z = d_state[0] * ((1 - factors * factors) if self._tanh else OPS.positive(factors))
        return None, d_z, (jnp.zeros_like(d_z),)

    def d_zx(self, factors: Kept, d_parts: Kept, d_zh: Recurrent) -> Array:
        """Return d_zh."""
        d_zx: Array = d_zh
        return d_zx


class LSTMKernel:
    """Four gates in one operation: sigmoid(x) is tanh(x / 2) / 2 + 1/2, so one vector of scales."""

    def forward(self, zx: Array, zh: Recurrent, state: States) -> tuple[States, Kept]:
        """Keep the gates i f g o (B, 4H)."""
        scale = _scales(zx, (0.5, 0.5, 1.0, 0.5))
        gates = jnp.tanh((zx + zh) * scale) * scale + (1 - scale)
        i, f, g, o = jnp.split(gates, 4, -1)
        c = f * state[1] + i * g
        return (o * jnp.tanh(c), c), gates

    def factors(self, zx: Array, kept: Kept, before: States, after: States) -> Kept:
        """Return d c' / d z of i f g, d h' / d z of o, d h' / d c' and d c' / d c."""
        i, f, g, o = jnp.split(kept, 4, -1)
        tanh_c = jnp.tanh(after[1])
        through_c = g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g)
        return through_c, tanh_c * o * (1 - o), o * (1 - tanh_c * tanh_c), f

    def backward(self, factors: Kept, d_state: States) -> tuple[Kept, Recurrent, States]:
        """Return five products."""
        (d_i, d_f, d_g), d_o, d_tanh, f = factors
        d_h, d_c = d_state
        d_c = d_c + d_h * d_tanh
        d_z = jnp.concatenate([d_c * d_i, d_c * d_f, d_c * d_g, d_h * d_o], -1)
        return None, d_z, (jnp.zeros_like(d_h), d_c * f)

    def d_zx(self, factors: Kept, d_parts: Kept, d_zh: Recurrent) -> Array:
        """Return d_zh."""
        d_zx: Array = d_zh
        return d_zx


class GRUKernel:
    """Gates r and z in one operation; everything behind d_h is a product with it."""

    def forward(self, zx: Array, zh: Recurrent, state: States) -> tuple[States, Kept]:
        """Keep the gates r z (B, 2H), n and zh_n."""
        hidden = state[0].shape[-1]
        gates = jnp.tanh((zx[..., : 2 * hidden] + zh[..., : 2 * hidden]) * 0.5) * 0.5 + 0.5
        r, z = jnp.split(gates, 2, -1)
        zh_n = zh[..., 2 * hidden :]
        n = jnp.tanh(zx[..., 2 * hidden :] + r * zh_n)
        return (n + z * (state[0] - n),), (gates, n, zh_n)

    def factors(self, zx: Array, kept: Kept, before: States, after: States) -> Kept:
        """Return d h' by zh's r, z and n, by zx's n, and by h."""
        gates, n, zh_n = kept
        r, z = jnp.split(gates, 2, -1)
        d_n = (1 - z) * (1 - n * n)
        return (d_n * zh_n * r * (1 - r), (before[0] - n) * z * (1 - z), d_n * r), d_n, z

    def backward(self, factors: Kept, d_state: States) -> tuple[Kept, Recurrent, States]:
        """Return d_h's products; d_h itself is the part that d_zx needs."""
        by_zh, _, z = factors
        (d_h,) = d_state
        return d_h, jnp.concatenate([d_h * factor for factor in by_zh], -1), (d_h * z,)

    def d_zx(self, factors: Kept, d_parts: Kept, d_zh: Recurrent) -> Array:
        """Return d_zh with another n."""
        hidden = d_parts.shape[-1]
        return jnp.concatenate([d_zh[..., : 2 * hidden], d_parts * factors[1]], -1)


def kernel_of(cell: Cell) -> Kernel:
    """Return the tuned kernel of a cell of the harness, or the one that runs any cell."""
    if type(cell) in (RNN, ReluRNN):
        return RNNKernel(cell)
    if type(cell) is LSTM:
        return LSTMKernel()
    if type(cell) is GRU:
        return GRUKernel()
    return AnyKernel(cell)


def _scales(like: Array, scales: tuple[float, ...]) -> Array:
    """Return (G*H,): one number for each gate."""
    return jnp.repeat(jnp.array(scales, like.dtype), like.shape[-1] // len(scales))


def filled(part: Array | float, like: Array) -> Array:
    """Return an array where a cell gave the number that stands for one."""
    return part if isinstance(part, jax.Array) else jnp.full_like(like, part)
