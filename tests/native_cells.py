"""Cells with what a kernel may meet: vectors, inner and several products, every operation."""

from typing import ClassVar

from harness.cells import (
    GRU,
    LSTM,
    RNN,
    SRU,
    IndRNN,
    Leaky,
    MinGRU,
    MinLSTM,
    PeepholeLSTM,
    ReluRNN,
    ResetBeforeGRU,
    SignedDiagonal,
)
from harness.contract import Cell, Product


class Wide(Cell):
    """Five gates, three states, products of two of them, and one after the other."""

    name, gates, states = "wide", ("i", "f", "g", "o", "m"), ("h", "c", "m")
    products = (
        Product("hh"),
        Product("cm", ("m", "o")),
        Product("late", ("x",), bias=False),
        Product("later", ("y", "x")),
    )
    vectors = ("v",)

    def step(self, ops, zx, state, own):
        z = ops.split(zx + ops.product("hh", state.h), 5)
        q_m, q_o = ops.split(ops.product("cm", state.m), 2)
        i, f, g = ops.sigmoid(z[0]), ops.sigmoid(z[1]), ops.tanh(z[2])
        c = f * state.c + i * g
        m = 0.5 * state.m + ops.sigmoid(z[4] + q_m) * ops.tanh(q_o * c)
        x = ops.tanh(ops.product("late", ops.tanh(own.v * c + m)) + z[3])
        y_y, y_x = ops.split(ops.product("later", x * i), 2)
        return x * ops.sigmoid(y_y) + y_x * state.h * 0.1, c, m


class Everything(Cell):
    """Every operation that the kernel has."""

    name, gates, states = "everything", ("a", "b", "c", "d"), ("h", "s")
    vectors = ("u",)

    def step(self, ops, zx, state, own):
        a, b, c, d = ops.split(zx + ops.product("hh", state.h), 4)
        e = ops.exp(-ops.absolute(a)) / (1.5 + ops.softplus(b))
        log = ops.log(1 + c * c) * ops.sqrt(0.5 + d * d)
        s = ops.maximum(ops.tanh(a), ops.sigmoid(b - own.u)) + 0.3 * state.s / (2 + ops.exp(c))
        return ops.tanh(e + log - ops.relu(d)) * ops.softplus(s) - ops.maximum(a, b) * 0.1, s


class Greatest(Cell):
    """The difference of two sums decides: a zx apart from its sum."""

    name, gates = "greatest", ("a", "b")

    def step(self, ops, zx, state, own):
        a, b = ops.split(zx + ops.product("hh", state.h), 2)
        return (ops.tanh(ops.maximum(a, b)) + 0.5 * ops.tanh(ops.absolute(a)),)


class Confusing(Cell):
    """Names that, joined, are those of macros, types, functions, weights and other values."""

    name, gates, vectors = "confusing", ("total", "VECTORS", "t", "positive", "backward"), ("t",)
    products = (
        Product("d", ("total",)), Product("MOST", ("VECTORS",)), Product("ptrdiff", ("t",)),
        Product("where", ("positive",)), Product("sigmoid", ("backward",)),
        Product("own", ("t",)), Product("d_0_1", ("t",)),
    )  # fmt: skip

    def step(self, ops, zx, state, own):
        a, b, c, d, e = ops.split(zx, 5)
        taken = {each.name: ops.product(each.name, state.h) for each in self.products}
        chosen = ops.relu(d * taken["where"]) * ops.sigmoid(c * taken["ptrdiff"]) * own.t
        left = ops.tanh(a + b * taken["d"]) * taken["MOST"] - ops.tanh(e * taken["sigmoid"])
        return (0.3 * left + ops.tanh(chosen * taken["own"] + taken["d_0_1"]),)


class Delay(Cell):
    """States that pass by, one of them read by nobody, and a constant one."""

    name, gates, states = "delay", ("h", "x"), ("h", "old", "unread")

    def step(self, ops, zx, state, own):
        z, x = ops.split(zx + ops.product("hh", state.old), 2)
        return ops.tanh(z) + 0.5 * state.h, state.h, x


class Projected(Cell):
    """h is itself a product, of a value that the states do not hold."""

    name, gates, states = "projected", ("i", "f", "g", "o"), ("h", "c")
    products: ClassVar = (Product("hh"), Product("hr", ("p",), bias=False))

    def step(self, ops, zx, state, own):
        i, f, g, o = ops.split(zx + ops.product("hh", state.h), 4)
        c = ops.sigmoid(f) * state.c + ops.sigmoid(i) * ops.tanh(g)
        return ops.product("hr", ops.sigmoid(o) * ops.tanh(c)), c


class Multiplicative(Cell):
    """Gates of a product of products."""

    name, gates = "multiplicative", ("m", "a", "b")
    products = (Product("hm", ("m",)), Product("mm", ("a", "b")))

    def step(self, ops, zx, state, own):
        x_m, x_a, x_b = ops.split(zx, 3)
        m = x_m * ops.product("hm", state.h)
        a, b = ops.split(ops.product("mm", m), 2)
        gate = ops.sigmoid(x_a + a)
        return (gate * state.h + (1 - gate) * ops.tanh(x_b + b),)


class Normalised(Cell):
    """Layer norm before and after the gates (Ba et al. 2016), and the mean of a vector."""

    name, gates, states, vectors = "normalised", ("i", "f", "g", "o"), ("h", "c"), ("scale",)

    def step(self, ops, zx, state, own):
        i, f, g, o = ops.split(zx + ops.normalise(ops.product("hh", state.h)), 4)
        c = ops.sigmoid(f) * state.c + ops.sigmoid(i) * ops.tanh(g)
        bounded = ops.tanh(own.scale * ops.normalise(c) + ops.mean(own.scale))
        return ops.sigmoid(o) * bounded, c


class TooWide(Cell):
    """More gates than the kernel takes."""

    name, gates = "too wide", tuple(f"g{at}" for at in range(33))

    def step(self, ops, zx, state, own):
        first, *_, last = ops.split(zx + ops.product("hh", state.h), 33)
        return (ops.tanh(first) * ops.sigmoid(last),)


FOUR = (RNN(), ReluRNN(), LSTM(), GRU())
CELLS = (
    *FOUR, MinGRU(), MinLSTM(), PeepholeLSTM(), ResetBeforeGRU(), IndRNN(), Leaky(), SRU(),
    SignedDiagonal(), Wide(), Everything(), Greatest(), Confusing(), Delay(), Projected(),
    Multiplicative(), Normalised(),
)  # fmt: skip
