"""Cells with what a kernel may meet: vectors, inner and several products, every operation."""

from typing import ClassVar

from harness.cells import GRU, LSTM, RNN, MinGRU, MinLSTM, ReluRNN
from harness.contract import Cell, Product


class Peephole(Cell):
    """Vectors that meet the gates before and after the new state."""

    name, gates, states = "peephole", ("i", "f", "g", "o"), ("h", "c")
    vectors = ("p_i", "p_f", "p_o")

    def step(self, ops, zx, state, own):
        z_i, z_f, z_g, z_o = ops.split(zx + ops.product("hh", state.h), 4)
        i, f = ops.sigmoid(z_i + own.p_i * state.c), ops.sigmoid(z_f + own.p_f * state.c)
        c = f * state.c + i * ops.tanh(z_g)
        return ops.sigmoid(z_o + own.p_o * c) * ops.tanh(c), c


class ResetBefore(Cell):
    """A product of a value that the step computes."""

    name, gates = "reset_before", ("r", "z", "n")
    products = (Product("hh", ("r", "z"), bias=False), Product("hn", ("n",), bias=False))

    def step(self, ops, zx, state, own):
        zx_r, zx_z, zx_n = ops.split(zx, 3)
        zh_r, zh_z = ops.split(ops.product("hh", state.h), 2)
        r, z = ops.sigmoid(zx_r + zh_r), ops.sigmoid(zx_z + zh_z)
        n = ops.tanh(zx_n + ops.product("hn", r * state.h))
        return ((1 - z) * n + z * state.h,)


class Independent(Cell):
    """No product."""

    name, gates, products, vectors = "independent", ("h",), (), ("u",)

    def step(self, ops, zx, state, own):
        return (ops.relu(zx + own.u * state.h),)


class Leaking(Cell):
    """A function of a vector."""

    name, gates, vectors = "leaking", ("h",), ("a",)

    def step(self, ops, zx, state, own):
        a = ops.sigmoid(own.a)
        return ((1 - a) * state.h + a * ops.tanh(zx + ops.product("hh", state.h)),)


class Simple(Cell):
    """The output reads the new state; h is no input of the next step."""

    name, gates, states = "simple", ("f", "r", "c", "s"), ("h", "c")
    products, vectors = (), ("v_f", "v_r")

    def step(self, ops, zx, state, own):
        z_f, z_r, z_c, z_s = ops.split(zx, 4)
        f, r = ops.sigmoid(z_f + own.v_f * state.c), ops.sigmoid(z_r + own.v_r * state.c)
        c = f * state.c + (1 - f) * z_c
        return r * c + (1 - r) * z_s, c


class Diagonal(Cell):
    """Linear in its state."""

    name, gates, products = "signed", ("a", "b"), ()

    def step(self, ops, zx, state, own):
        z_a, z_b = ops.split(zx, 2)
        return (ops.tanh(4 * z_a) * state.h + z_b,)


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
    """Has a mean."""

    name, gates = "normalised", ("h",)

    def step(self, ops, zx, state, own):
        return (ops.tanh(ops.normalise(zx + ops.product("hh", state.h))),)


FOUR = (RNN(), ReluRNN(), LSTM(), GRU())
CELLS = (
    *FOUR, MinGRU(), MinLSTM(), Peephole(), ResetBefore(), Independent(), Leaking(), Simple(),
    Diagonal(), Wide(), Everything(), Greatest(), Delay(), Projected(), Multiplicative(),
)  # fmt: skip
