"""Speed and results do not depend on how the arithmetic of a step is written."""

import pytest
from hypothesis import assume, given, settings

from cell_of import cell_of
from harness.contract import Product, UnsupportedError
from harness.recurrence import derive
from random_cells import BINARY, RandomCell, random_cells

HH = (Product(),)


def mixed(s, h, b):
    """Return s h + (1 - s) b."""
    return s * h + (1.0 - s) * b


def first_times(parts, h):
    """Return the first part times h, plus the second."""
    return parts[0] * h + parts[1]


def lstm(c):
    """Return the LSTM's step with ``c`` (i, f, g, c) -> c'."""

    def step(ops, zx, state, own):
        z_i, z_f, z_g, z_o = ops.split(zx + ops.product("hh", state.h), 4)
        new = c(ops.sigmoid(z_i), ops.sigmoid(z_f), ops.tanh(z_g), state.c)
        return ops.sigmoid(z_o) * ops.tanh(new), new

    return cell_of(step, ("i", "f", "g", "o"), ("h", "c"), HH)


def two(result):
    """Return a cell of two gates, h' = result(ops, a, b, h)."""
    return cell_of(lambda ops, zx, state, own: (result(ops, *ops.split(zx, 2), state.h),))


def with_product(result):
    """Return a cell of two gates, h' = result(ops, zx, zh), both (B, 2H)."""
    return cell_of(
        lambda ops, zx, state, own: (result(ops, zx, ops.product("hh", state.h)),), products=HH
    )


SAME = {
    "order of a sum": (
        with_product(lambda ops, zx, zh: ops.tanh(ops.split(zx + zh, 2)[0])),
        with_product(lambda ops, zx, zh: ops.tanh(ops.split(zh + zx, 2)[0])),
        with_product(lambda ops, zx, zh: ops.tanh(ops.split(zx, 2)[0] + ops.split(zh, 2)[0])),
        with_product(lambda ops, zx, zh: ops.tanh(ops.split(zh, 2)[0] + ops.split(zx, 2)[0])),
    ),
    "order of terms": (
        lstm(lambda i, f, g, c: f * c + i * g),
        lstm(lambda i, f, g, c: g * i + c * f),
        lstm(lambda i, f, g, c: c * f - -(i * g)),
    ),
    "complement": (
        two(lambda ops, a, b, h: h * (1.0 - ops.sigmoid(a))),
        two(lambda ops, a, b, h: h * -(ops.sigmoid(a) - 1.0)),
        two(lambda ops, a, b, h: (1 + -ops.sigmoid(a)) * h),
    ),
    "twice": (
        two(lambda ops, a, b, h: h + ops.tanh(a * 2.0)),
        two(lambda ops, a, b, h: h + ops.tanh(a + a)),
        two(lambda ops, a, b, h: ops.tanh(a / 0.5) + h),
        two(lambda ops, a, b, h: ops.tanh(3 * a - a) + h),
    ),
    "nested sums": (
        two(lambda ops, a, b, h: ops.tanh(((a + b) + h) + 1.0)),
        two(lambda ops, a, b, h: ops.tanh((1.0 + a) + (b + h))),
        two(lambda ops, a, b, h: ops.tanh(h - (-a - (b + 1)))),
    ),
    "nested products": (
        two(lambda ops, a, b, h: (a * b) * (h * 3.0)),
        two(lambda ops, a, b, h: 3 * a * (h * b)),
    ),
    "one value written twice": (
        two(lambda ops, a, b, h: ops.sigmoid(a) * h + (1.0 - ops.sigmoid(a)) * b),
        two(lambda ops, a, b, h: mixed(ops.sigmoid(a), h, b)),
    ),
    "joined and cut": (
        two(lambda ops, a, b, h: ops.tanh(a) * h + ops.tanh(b)),
        two(lambda ops, a, b, h: first_times(ops.split(ops.tanh(ops.concatenate([a, b])), 2), h)),
    ),
    "a term of nothing": (
        two(lambda ops, a, b, h: a * h + b),
        two(lambda ops, a, b, h: a * h + b + 0.0 * (h - b) + ops.tanh(h) * 0),
    ),
}


@pytest.mark.parametrize("cells", SAME.values(), ids=SAME)
def test_spellings_of_one_step_are_one_graph(cells):
    assert len({derive(cell).digest for cell in cells}) == 1
    assert len({derive(cell).listing() for cell in cells}) == 1


# Equal in mathematics, not in rounding, or not at every argument: these stay as they are written.
OTHERS = {
    "a product of sums": (
        two(lambda ops, a, b, h: (1.0 - a) * h + a * b),
        two(lambda ops, a, b, h: h + a * (b - h)),
    ),
    "one function by another": (
        two(lambda ops, a, b, h: h * (1.0 - ops.sigmoid(a))),
        two(lambda ops, a, b, h: h * ops.sigmoid(-a)),
        two(lambda ops, a, b, h: h * (0.5 - 0.5 * ops.tanh(0.5 * a))),
    ),
    "quotients": (
        two(lambda ops, a, b, h: a * h / b),
        two(lambda ops, a, b, h: a / b * h),
        two(lambda ops, a, b, h: a * (1.0 / b) * h),
    ),
    "exponentials": (
        two(lambda ops, a, b, h: ops.exp(a) * ops.exp(b) * h),
        two(lambda ops, a, b, h: ops.exp(a + b) * h),
    ),
    "a tie": (  # whose gradient goes to the second
        two(lambda ops, a, b, h: ops.maximum(a, h)),
        two(lambda ops, a, b, h: ops.maximum(h, a)),
    ),
    "other gates": (
        two(lambda ops, a, b, h: ops.tanh(a) + b * h),
        two(lambda ops, a, b, h: ops.tanh(b) + a * h),
    ),
}


@pytest.mark.parametrize("cells", OTHERS.values(), ids=OTHERS)
def test_other_equations_are_other_graphs(cells):
    assert len({derive(cell).digest for cell in cells}) == len(cells)


def test_a_graph_does_not_depend_on_names():
    def step(ops, zx, state, own):
        a, b = ops.split(zx, 2)
        return (a * state[0] + b,)

    one, other = cell_of(step), cell_of(step, ("x", "y"), ("h",), name="clone")
    assert derive(one).digest == derive(other).digest


class Swapped(RandomCell):
    """The same program with the operands of sums and products the other way round."""

    def _results(self, ops, values, state, instruction):
        if isinstance(instruction, tuple) and instruction[0] in ("sum", "times"):
            count, (name, first, second) = len(values), instruction
            return [BINARY[name](ops, values[second % count], values[first % count])]
        return super()._results(ops, values, state, instruction)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(random_cells())
def test_a_random_step_does_not_depend_on_the_order_of_operands(cell):
    counts = tuple(map(len, (cell.gates, cell.states, cell.vectors)))
    swapped = Swapped(counts, cell.products, cell.program, cell.ends)
    try:
        recurrence = derive(cell)
    except UnsupportedError:
        assume(False)
    assert derive(swapped).digest == recurrence.digest
    assert derive(swapped).listing() == recurrence.listing()
