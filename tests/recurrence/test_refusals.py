"""What cannot be traced is refused: the error names the cell, the file, the line and the fix."""

import math
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cell_of import cell_of
from harness.cells import LSTM
from harness.contract import Cell, Product, UnsupportedError
from harness.recurrence import derive

HH = (Product(),)
LIST = []
OPS = "use the functions of ops"
BRANCH = "a step has one expression for all values; use ops.relu or ops.maximum"
LINES = {
    "if": (lambda ops, h, a: a if h else h, "a branch on a value", BRANCH),
    "equal": (lambda ops, h, a: h * (h == a), "a comparison", BRANCH),
    "less": (lambda ops, h, a: h * (h < a), "a comparison", BRANCH),
    "max": (lambda ops, h, a: max(h, a), "a comparison", BRANCH),
    "power": (lambda ops, h, a: h**2, "a power", "write x * x, or ops.exp and ops.log"),
    "power of a number": (lambda ops, h, a: 2**h, "a power", "or ops.exp"),
    "abs": (lambda ops, h, a: abs(h), "abs()", "use ops.absolute"),
    "matmul": (lambda ops, h, a: h @ np.eye(4), "@", "declare a product; use ops.product"),
    "floor": (lambda ops, h, a: h // 2, "// or %", "use the operations of ops"),
    "index": (lambda ops, h, a: h[:, 0], "an index", "cut the last axis with ops.split"),
    "iteration": (lambda ops, h, a: sum(h), "iteration", "cut the last axis with ops.split"),
    "unpacking": (lambda ops, h, a: dict.fromkeys([*h]), "iteration", "ops.split"),
    "length": (lambda ops, h, a: h * len(h), "iteration", "ops.split"),
    "member": (lambda ops, h, a: h * (1 in a), "iteration", "ops.split"),
    "numpy": (lambda ops, h, a: np.tanh(h), "numpy.tanh", OPS),
    "numpy of two": (lambda ops, h, a: np.maximum(h, 0.0), "numpy.maximum", OPS),
    "numpy array first": (
        lambda ops, h, a: np.ones(4) * h,
        "a ndarray",
        "use numbers and the step",
    ),
    "numpy where": (lambda ops, h, a: np.where(h, a, 0.0), "another library", OPS),
    "numpy mean": (lambda ops, h, a: h - np.mean(h), "(.mean)", OPS),
    "math": (lambda ops, h, a: math.tanh(h), "a function of another library", OPS),
    "float": (lambda ops, h, a: float(h), "a function of another library", OPS),
    "attribute": (lambda ops, h, a: h.T, "an attribute of an array (.T)", OPS),
    "method": (lambda ops, h, a: h - h.mean(0), "an attribute of an array (.mean)", OPS),
    "array": (
        lambda ops, h, a: h + np.ones(4),
        "a ndarray",
        "use numbers and the step's arguments",
    ),
    "nothing": (lambda ops, h, a: h + None, "a NoneType", "use numbers and the step's arguments"),
    "truth": (lambda ops, h, a: h * True, "a bool", "use numbers and the step's arguments"),
    "operation": (lambda ops, h, a: ops.erf(h), "there is no ops.erf", "there are absolute, "),
    "split of H": (lambda ops, h, a: ops.split(h, 2)[0], "ops.split cannot", "into 2 equal parts"),
    "wide and narrow": (lambda ops, h, a: ops.concatenate([h, a]) + h, "2 H and 1 H", "ops.split"),
    "wide state": (
        lambda ops, h, a: ops.concatenate([h, a]),
        "a new state is an array of H",
        "2 H",
    ),
    "constant": (lambda ops, h, a: 1.0, "a new state has a value per", "compute it from zx or"),
    "mean": (lambda ops, h, a: ops.mean(h), "a new state has a value per", "compute it from zx or"),
    "infinite": (lambda ops, h, a: h + math.inf, "inf", "use numbers that are finite"),
    "number of numpy": (lambda ops, h, a: h / np.float32(2), "a float32", "make it a float"),
    "number of numpy first": (lambda ops, h, a: np.sqrt(2) * h, "a float64", "make it a float"),
    "fraction": (lambda ops, h, a: Fraction(1, 2) * h, "a Fraction", "make it a float"),
    "join of a number": (
        lambda ops, h, a: ops.split(ops.concatenate([h, 1.0]), 2)[0],
        "ops.concatenate",
        "joins arrays alone",
    ),
    "join of nothing": (lambda ops, h, a: ops.concatenate([]), "ops.concatenate", "one or more"),
    "exit": (lambda ops, h, a: sys.exit(3), "SystemExit", "it has its arguments, numbers and ops"),
    "zero": (lambda ops, h, a: h / 0.0, "ZeroDivisionError", "it has its arguments, numbers and"),
    "mistake": (
        lambda ops, h, a: h + LIST[0],
        "IndexError",
        "it has its arguments, numbers and ops",
    ),
    "sum with a matrix": (
        lambda ops, h, a: ops.contract(a + ops.outer(h, a), h),
        "this arithmetic of a matrix S (B, H, H) and an array a (B, H)",
        "S * a and S / a scale its rows; ops.outer makes a matrix of arrays",
    ),
    "matrix below": (
        lambda ops, h, a: ops.contract(a / ops.outer(h, a), h),
        "this arithmetic of a matrix",
        "S / a",
    ),
    "function of a matrix": (
        lambda ops, h, a: ops.contract(ops.tanh(ops.outer(h, a)), h),
        "ops.tanh of a matrix",
        "take it of arrays, before ops.outer or after ops.contract",
    ),
    "normalised matrix": (
        lambda ops, h, a: ops.contract(ops.normalise(ops.outer(h, a)), h),
        "ops.mean of a matrix",
        "before ops.outer",
    ),
    "maximum of matrices": (
        lambda ops, h, a: ops.contract(ops.maximum(0.0, ops.outer(h, a)), h),
        "ops.maximum of a matrix",
        "before ops.outer",
    ),
    "joined matrices": (
        lambda ops, h, a: ops.split(ops.concatenate([h, ops.outer(h, a)]), 2)[0],
        "ops.concatenate of a matrix",
        "before ops.outer",
    ),
    "outer of a matrix": (
        lambda ops, h, a: ops.contract(ops.outer(ops.outer(h, a), a), h),
        "an argument of ops.outer is (B, H), not a matrix",
        "use ops.contract, or declare matrix_states",
    ),
    "outer of a number": (
        lambda ops, h, a: ops.contract(ops.outer(1.0, a), h),
        "an argument of ops.outer has a value per sequence and unit",
        "compute it from zx or",
    ),
    "contraction of gates": (
        lambda ops, h, a: h * ops.contract(h, ops.concatenate([h, a])),
        "the second argument of ops.contract is an array of H units",
        "2 H",
    ),
    "matrix state": (lambda ops, h, a: ops.outer(h, a), "a new state is (B, H), not a", "contract"),
    "undeclared": (
        lambda ops, h, a: ops.product("hh", h),
        "ops.product('hh') is not declared",
        "add Product('hh') to products, which has none",
    ),
}


def refusal(cell):
    with pytest.raises(UnsupportedError) as caught:
        derive(cell)
    return str(caught.value)


def line_of(message):
    """Return the line of this file that the message names, after checking that it quotes it."""
    path, number, code = re.search(r"\((/.*), line (\d+): (.*)\)$", message, re.DOTALL).groups()
    assert path == __file__
    return Path(path).read_text().splitlines()[int(number) - 1].strip(), code


@pytest.mark.parametrize(("result", "what", "fix"), LINES.values(), ids=LINES)
def test_the_line_and_the_fix_are_named(result, what, fix):
    def step(ops, zx, state, own):
        return (result(ops, state.h, ops.split(zx, 2)[0]),)

    message = refusal(cell_of(step, name="mine"))
    assert message.startswith("cell 'mine': ")
    assert what in message
    assert fix in message
    line, code = line_of(message)
    if not what.startswith("a new state"):  # else the line where ``step`` begins
        assert line == code
        assert "lambda ops, h, a: " in line


def test_a_matrix_state_that_is_an_array_is_refused():
    class Flat(Cell):
        name, gates, states, matrix_states, products = "flat", ("a",), ("h", "S"), ("S",), ()

        def step(self, ops, zx, state, own):
            return zx, zx

    message = refusal(Flat())
    assert "the new state S is a matrix (B, H, H): make it with ops.outer" in message
    assert line_of(message)


def test_a_gate_that_is_not_cut_off_is_refused():
    cell = cell_of(lambda ops, zx, state, own: (zx + state.h,))
    assert "arithmetic of arrays of 2 H and 1 H units: split the wider one" in refusal(cell)
    cell = cell_of(lambda ops, zx, state, own: (ops.split(zx, 3)[0] + state.h,))
    assert "ops.split cannot cut an array of 2 H units into 3 equal parts" in refusal(cell)


def test_a_step_of_too_many_operations_in_a_row_is_refused():
    def step(ops, zx, state, own):
        h = state.h
        for _ in range(2000):
            h = ops.tanh(h)
        return (h,)

    assert "step has too many operations in a row: repeat fewer" in refusal(cell_of(step))


def test_constants_that_are_folded_to_infinity_are_refused():
    cell = cell_of(lambda ops, zx, state, own: (ops.tanh(1e200 * zx * 1e200),), ("a",))
    assert "constants of step give inf or nan: use numbers that are finite" in refusal(cell)


def test_a_step_cannot_hide_what_it_may_not_do():
    def step(ops, zx, state, own):
        try:
            return (zx if zx > 0 else state.h,)
        except Exception:  # noqa: BLE001 - as a plugin may
            return (zx,)

    assert "a comparison cannot be traced" in refusal(cell_of(step, ("a",)))


def test_a_product_that_is_taken_twice_is_refused():
    def step(ops, zx, state, own):
        both = ops.product("hh", state.h) + ops.product("hh", zx)
        return (both,)

    message = refusal(cell_of(step, ("a",), products=HH))
    assert "ops.product('hh') is taken twice: keep its value, or declare another" in message
    assert line_of(message)[1] == 'both = ops.product("hh", state.h) + ops.product("hh", zx)'


def test_a_product_that_is_never_taken_is_refused():
    cell = cell_of(lambda ops, zx, state, own: (zx + state.h,), ("a",), products=HH)
    message = refusal(cell)
    assert (
        "step never takes the product hh: remove it from products, or call ops.product" in message
    )
    assert "line" in message


@pytest.mark.parametrize(
    ("operand", "words"),
    [
        (lambda ops, zx, own: zx, "of ops.product is an array of H units, not of 2 H"),
        (lambda ops, zx, own: own.u, "of ops.product has a value per sequence and unit"),
        (lambda ops, zx, own: 1.0, "of ops.product has a value per sequence and unit"),
    ],
)
def test_a_product_is_taken_of_one_array(operand, words):
    def step(ops, zx, state, own):
        return (ops.split(ops.product("hh", operand(ops, zx, own)), 2)[0] + state.h,)

    message = refusal(cell_of(step, products=HH, vectors=("u",)))
    assert words in message
    assert "ops.product(" in line_of(message)[1]


@pytest.mark.parametrize(
    ("results", "got"), [(1, "1 values"), (3, "3 values"), (None, "Symbol"), (list, "list")]
)
def test_another_number_of_states_is_refused(results, got):
    def step(ops, zx, state, own):
        if results is None:
            return zx
        return [zx, zx] if results is list else (zx,) * results

    message = refusal(cell_of(step, ("a",), ("h", "c")))
    assert f"step must return a tuple of h, c, not {got} ({__file__}, line " in message


def test_a_state_or_a_vector_that_is_not_declared_is_named():
    message = refusal(cell_of(lambda ops, zx, state, own: (state.c * own.u,)))
    assert "step raised AttributeError: 'State' object has no attribute 'c'" in message
    assert line_of(message)


def test_the_line_of_an_inherited_step_is_named():
    class Squared(LSTM):
        def step(self, ops, zx, state, own):
            h, c = super().step(ops, zx, state, own)
            return h, c**2

    message = refusal(Squared())
    assert message.startswith("cell 'lstm': a power cannot be traced")
    assert line_of(message) == ("return h, c**2", "return h, c**2")


class Old(Cell):
    """A step of the old form, with a branch."""

    name = "old"
    gates = ("h",)

    def step(self, ops, zx, zh, state):
        return (zx + zh if zx > 0 else zh,)


def test_a_step_of_the_old_form_is_refused_alike():
    message = refusal(Old())
    assert message.startswith("cell 'old': a comparison cannot be traced")
    assert line_of(message)[1] == "return (zx + zh if zx > 0 else zh,)"


def test_the_error_of_a_cell_that_refuses_itself_is_its_own():
    def step(ops, zx, state, own):
        raise UnsupportedError("this cell needs a newer engine")

    assert refusal(cell_of(step)) == "this cell needs a newer engine"
