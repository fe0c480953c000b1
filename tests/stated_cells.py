"""Cells of tests with what no cell of the harness has: crossed pieces, means, several products."""

from harness.contract import Cell, Product


class Crossed(Cell):
    """A pointwise path through h, pieces added crosswise, a second state."""

    name, gates, states = "crossed", ("a", "b"), ("h", "s")

    def step(self, ops, zx, state, own):
        (xa, xb), (ha, hb) = ops.split(zx, 2), ops.split(ops.product("hh", state.h), 2)
        s = ops.sigmoid(xa) * state.s + ops.tanh(hb)
        return 0.5 * state.h + s * ops.tanh(ha + xb), s


class ResetBefore(Cell):
    """The GRU whose reset gate acts on the state itself (Cho et al. 2014)."""

    name, gates = "reset_before", ("r", "z", "n")
    products = (Product("hh", ("r", "z")), Product("hn", ("n",), bias=False))

    def step(self, ops, zx, state, own):
        (x_r, x_z, x_n), (h_r, h_z) = ops.split(zx, 3), ops.split(ops.product("hh", state.h), 2)
        n = ops.tanh(x_n + ops.product("hn", ops.sigmoid(x_r + h_r) * state.h))
        z = ops.sigmoid(x_z + h_z)
        return (n + z * (state.h - n),)


class Normalised(Cell):
    """Layer norm of the recurrent product and of the state."""

    name, gates, vectors = "normalised", ("z",), ("scale",)

    def step(self, ops, zx, state, own):
        z = zx + own.scale * ops.normalise(ops.product("hh", state.h))
        return (ops.tanh(z) + 0.1 * ops.mean(state.h),)


class Wide(Cell):
    """Five gates, three states, two products one after the other, and every operation."""

    name, gates, states = "wide", ("a", "b", "c", "d", "e"), ("h", "c", "m")
    products = (Product("hh", ("a", "b", "c")), Product("mm"), Product("cc", ("d",), bias=False))
    vectors = ("p", "q")

    def step(self, ops, zx, state, own):
        a, b, c, d, e = ops.split(zx, 5)
        h_a, h_b, h_c = ops.split(ops.product("hh", state.h), 3)
        m_a, m_b, m_c, m_d, m_e = ops.split(ops.product("mm", state.m * ops.sigmoid(a + h_a)), 5)
        m = ops.maximum(ops.log(1.5 + ops.absolute(b + m_b)), own.p * state.m) - 0.1 * m_e
        new_c = ops.exp(-ops.softplus(h_b + m_c)) * state.c + ops.sqrt(1 + c * c) * ops.tanh(m_a)
        d = d + ops.product("cc", new_c) / (2 + ops.sigmoid(own.q))
        h = ops.relu(e + h_c) * 0.3 + ops.tanh(d - m_d) * own.q - 2.0 * ops.mean(state.c)
        return h, new_c, m


class Delayed(Cell):
    """A new state that is an old one; the product is taken of that old one."""

    name, gates, states = "delayed", ("a",), ("h", "c", "n")
    products = (Product("nn"),)

    def step(self, ops, zx, state, own):
        return ops.tanh(zx + ops.product("nn", state.n)), state.n, 0.5 * state.h


CELLS = {
    kind.name: kind()
    for kind in (
        Crossed, ResetBefore, Normalised, Wide, Delayed,
    )
}  # fmt: skip
