"""The pointwise work of one time step of rnn, rnn_relu, lstm and gru, forwards and backwards.

Every loop runs along one contiguous row and writes one array or few: LLVM turns such loops into
SIMD code, and gives up on longer ones, whose arrays it cannot prove distinct. Arrays are (T, B, n);
``t`` is the time step.
"""

from __future__ import annotations

from harness.contract import Array
from harness_numpy.compiled.functions import tanh
from harness_numpy.compiled.jit import compiled


@compiled
def sigmoid_sum(a: Array, b: Array, out: Array) -> None:
    """Write sigmoid(a + b), each (n,), as half a tanh."""
    half = out.dtype.type(0.5)
    for j in range(out.shape[0]):
        out[j] = half + half * tanh(half * (a[j] + b[j]))


@compiled
def tanh_sum(a: Array, b: Array, out: Array) -> None:
    """Write tanh(a + b), each (n,)."""
    for j in range(out.shape[0]):
        out[j] = tanh(a[j] + b[j])


@compiled
def sigmoid_slope(d: Array, s: Array, other: Array, out: Array) -> None:
    """Write d * other * s (1 - s), each (n,)."""
    unit = out.dtype.type(1)
    for j in range(out.shape[0]):
        out[j] = d[j] * other[j] * (s[j] * (unit - s[j]))


@compiled
def tanh_slope(d: Array, s: Array, other: Array, out: Array) -> None:
    """Write d * other * (1 - s^2), each (n,)."""
    unit = out.dtype.type(1)
    for j in range(out.shape[0]):
        out[j] = d[j] * other[j] * (unit - s[j] * s[j])


@compiled
def add(a: Array, out: Array) -> None:
    """Add ``a`` (n,) to ``out``."""
    for j in range(out.shape[0]):
        out[j] += a[j]


@compiled
def rnn_step(t: int, zx: Array, zh: Array, h: Array) -> None:
    """Step: h' = tanh(zx + zh)."""
    for b in range(h.shape[1]):
        tanh_sum(zx[t, b], zh[b], h[t + 1, b])


@compiled
def rnn_back(t: int, zx: Array, h: Array, d_h: Array, recurrent: Array) -> None:
    """Step back: d_z = d_h (1 - h'^2)."""
    unit = h.dtype.type(1)
    for b in range(h.shape[1]):
        d_z, new, d = zx[t, b], h[t + 1, b], d_h[t, b]
        add(recurrent[b], d)
        for j in range(d.shape[0]):
            d_z[j] = d[j] * (unit - new[j] * new[j])


@compiled
def relu_step(t: int, zx: Array, zh: Array, h: Array) -> None:
    """Step: h' = max(zx + zh, 0); NaN stays NaN."""
    zero = h.dtype.type(0)
    for b in range(h.shape[1]):
        x, z, new = zx[t, b], zh[b], h[t + 1, b]
        for j in range(new.shape[0]):
            value = x[j] + z[j]
            new[j] = zero if value < zero else value  # noqa: FURB136 - max would hide NaN


@compiled
def relu_back(t: int, zx: Array, h: Array, d_h: Array, recurrent: Array) -> None:
    """Step back: d_z = d_h where h' > 0."""
    zero = h.dtype.type(0)
    for b in range(h.shape[1]):
        d_z, new, d = zx[t, b], h[t + 1, b], d_h[t, b]
        add(recurrent[b], d)
        for j in range(d.shape[0]):
            d_z[j] = d[j] if new[j] > zero else zero


@compiled
def lstm_step(
    t: int, zx: Array, zh: Array, gates: Array, h: Array, c: Array, tanh_c: Array
) -> None:
    """Step: c' = f c + i g, h' = o tanh(c'); the gates and tanh(c') are kept."""
    n = h.shape[2]
    for b in range(h.shape[1]):
        x, z, gate = zx[t, b], zh[b], gates[t, b]
        sigmoid_sum(x[: 2 * n], z[: 2 * n], gate[: 2 * n])
        tanh_sum(x[2 * n : 3 * n], z[2 * n : 3 * n], gate[2 * n : 3 * n])
        sigmoid_sum(x[3 * n :], z[3 * n :], gate[3 * n :])
        i, f, g, o = gate[:n], gate[n : 2 * n], gate[2 * n : 3 * n], gate[3 * n :]
        old, new, kept, out = c[t, b], c[t + 1, b], tanh_c[t, b], h[t + 1, b]
        for j in range(n):
            new[j] = f[j] * old[j] + i[j] * g[j]
        for j in range(n):
            kept[j] = tanh(new[j])
        for j in range(n):
            out[j] = o[j] * kept[j]


@compiled
def lstm_back(
    t: int,
    zx: Array,
    gates: Array,
    c: Array,
    tanh_c: Array,
    d_h: Array,
    recurrent: Array,
    d_c: Array,
) -> None:
    """Step back: d_c' += d_h o (1 - tanh(c')^2); the gates' gradients; d_c = d_c' f."""
    n, unit = d_h.shape[2], d_h.dtype.type(1)
    for b in range(d_h.shape[1]):
        gate, kept, d, d_cell, d_z = gates[t, b], tanh_c[t, b], d_h[t, b], d_c[b], zx[t, b]
        i, f, g, o = gate[:n], gate[n : 2 * n], gate[2 * n : 3 * n], gate[3 * n :]
        add(recurrent[b], d)
        for j in range(n):
            d_cell[j] += d[j] * o[j] * (unit - kept[j] * kept[j])
        sigmoid_slope(d_cell, i, g, d_z[:n])
        sigmoid_slope(d_cell, f, c[t, b], d_z[n : 2 * n])
        tanh_slope(d_cell, g, i, d_z[2 * n : 3 * n])
        sigmoid_slope(d, o, kept, d_z[3 * n :])
        for j in range(n):
            d_cell[j] *= f[j]


@compiled
def gru_step(
    t: int, zx: Array, zh: Array, bias_n: Array, gates: Array, zh_n: Array, h: Array
) -> None:
    """Step: n = tanh(zx_n + r zh_n), h' = n + z (h - n); the gates and zh_n are kept."""
    n = h.shape[2]
    for b in range(h.shape[1]):
        x, p, gate, kept = zx[t, b], zh[b], gates[t, b], zh_n[t, b]
        sigmoid_sum(x[: 2 * n], p[: 2 * n], gate[: 2 * n])
        r, z, new, x_n, p_n = gate[:n], gate[n : 2 * n], gate[2 * n :], x[2 * n :], p[2 * n :]
        for j in range(n):
            kept[j] = p_n[j] + bias_n[j]
        for j in range(n):
            new[j] = tanh(x_n[j] + r[j] * kept[j])
        old, out = h[t, b], h[t + 1, b]
        for j in range(n):
            out[j] = new[j] + z[j] * (old[j] - new[j])


@compiled
def gru_back(
    t: int,
    zx: Array,
    d_zh: Array,
    gates: Array,
    zh_n: Array,
    h: Array,
    d_h: Array,
    recurrent: Array,
    direct: Array,
) -> None:
    """The gates' gradients; ``direct`` becomes d_h z, the part of d_h that no product carries."""
    n, unit = d_h.shape[2], d_h.dtype.type(1)
    for b in range(d_h.shape[1]):
        gate, d, past, d_x, d_p = gates[t, b], d_h[t, b], direct[b], zx[t, b], d_zh[t, b]
        r, z, new, old = gate[:n], gate[n : 2 * n], gate[2 * n :], h[t, b]
        d_r, d_z, d_n, d_p_n = d_x[:n], d_x[n : 2 * n], d_x[2 * n :], d_p[2 * n :]
        add(recurrent[b], d)
        add(past, d)
        for j in range(n):
            d_n[j] = d[j] * (unit - z[j]) * (unit - new[j] * new[j])
        for j in range(n):
            d_z[j] = d[j] * (old[j] - new[j]) * (z[j] * (unit - z[j]))
        sigmoid_slope(d_n, r, zh_n[t, b], d_r)
        for j in range(n):
            d_p_n[j] = d_n[j] * r[j]
        for j in range(2 * n):
            d_p[j] = d_x[j]
        for j in range(n):
            past[j] = d[j] * z[j]
