"""Tracing: a cell's ``step`` is called once on symbols, and leaves its expression graph."""

from __future__ import annotations

import linecache
import traceback
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from harness.contract import Cell, Ops, UnsupportedError, uses_old_step
from harness.recurrence.graph import Graph, Node


class UntraceableError(Exception):
    """An operation that has no place in an expression graph; the message says what to use."""


@dataclass(frozen=True, eq=False)
class Symbol:
    """An array of the step: one node for each piece of H units along its last axis."""

    graph: Graph
    pieces: tuple[Node, ...]

    __array_ufunc__ = None  # NumPy's arithmetic gives way to the methods below
    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.sum([(1.0, a), (1.0, b)]))

    def __sub__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.sum([(1.0, a), (-1.0, b)]))

    def __rsub__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.sum([(1.0, b), (-1.0, a)]))

    def __mul__(self, other: Any) -> Symbol:
        return self._with(other, self.graph.times)

    def __truediv__(self, other: Any) -> Symbol:
        return self._with(other, self.graph.divide)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.divide(b, a))

    def __neg__(self) -> Symbol:
        return self._each(lambda a: self.graph.sum([(-1.0, a)]))

    def __pos__(self) -> Symbol:
        return self

    __radd__, __rmul__ = __add__, __mul__

    def _each(self, function: Callable[[Node], Node]) -> Symbol:
        return Symbol(self.graph, tuple(function(piece) for piece in self.pieces))

    def _with(self, other: Any, function: Callable[[Node, Node], Node]) -> Symbol:
        others = symbol(self.graph, other).pieces
        count = max(len(self.pieces), len(others))
        if not all(
            len(pieces) == count
            or (len(pieces) == 1 and pieces[0].width in {"constant", "sequence"})
            for pieces in (self.pieces, others)
        ):
            raise UntraceableError(
                f"arithmetic of arrays of {len(self.pieces)} H and {len(others)} H units: "
                "split the wider one with ops.split"
            )
        pairs = zip(_stretched(self.pieces, count), _stretched(others, count), strict=True)
        return Symbol(self.graph, tuple(function(a, b) for a, b in pairs))


def _refuse(what: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise UntraceableError(f"{what} cannot be traced: {instead}")

    return refuse


_BRANCH = "a step has one expression for all values; use ops.relu or ops.maximum"
_REFUSED = {
    "__bool__": ("a branch on a value", _BRANCH),
    **dict.fromkeys(
        ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"), ("a comparison", _BRANCH)
    ),
    **dict.fromkeys(("__pow__", "__rpow__"), ("a power", "write x * x, or ops.exp and ops.log")),
    "__abs__": ("abs()", "use ops.absolute"),
    **dict.fromkeys(("__matmul__", "__rmatmul__"), ("@", "declare a product; use ops.product")),
    "__getitem__": ("an index", "cut the last axis with ops.split"),
    **dict.fromkeys(("__iter__", "__len__"), ("iteration", "cut the last axis with ops.split")),
    **dict.fromkeys(
        ("__float__", "__int__", "__array__"),
        ("a function of another library", "use the functions of ops"),
    ),
    **dict.fromkeys(("__floordiv__", "__mod__"), ("// or %", "use the operations of ops")),
}
for _name, (_what, _instead) in _REFUSED.items():
    setattr(Symbol, _name, _refuse(_what, _instead))


def symbol(graph: Graph, value: Any) -> Symbol:
    """Return a symbol as it is, and a number as a constant."""
    if isinstance(value, Symbol):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Symbol(graph, (graph.constant(value),))
    raise UntraceableError(
        f"a {type(value).__name__} cannot be part of a step: use numbers and the step's arguments"
    )


def _stretched(pieces: tuple[Node, ...], count: int) -> tuple[Node, ...]:
    return pieces * count if len(pieces) == 1 else pieces


class TraceOps(Ops):
    """``Ops`` on symbols."""

    def __init__(self, graph: Graph, cell: Cell) -> None:
        self._graph, self._cell = graph, cell
        self.operands: dict[str, Node] = {}

    def product(self, name: str, operand: Symbol) -> Symbol:
        """Return the pieces of a learnt product."""
        names = [product.name for product in self._cell.products]
        if name not in names:
            raise UntraceableError(f"ops.product({name!r}): declare it; products has {names}")
        if name in self.operands:
            raise UntraceableError(
                f"ops.product({name!r}) is taken twice: declare a second product"
            )
        (node,) = self._single(operand, "ops.product")
        index = names.index(name)
        self.operands[name] = node
        count = len(self._cell.products[index].gates or self._cell.gates)
        pieces = (self._graph.product(node, index, piece) for piece in range(count))
        return Symbol(self._graph, tuple(pieces))

    def split(self, x: Symbol, parts: int) -> Sequence[Symbol]:
        """Return ``parts`` symbols of equally many pieces."""
        if parts < 1 or len(x.pieces) % parts:
            raise UntraceableError(
                f"an array of {len(x.pieces)} H units is not cut into {parts} parts"
            )
        width = len(x.pieces) // parts
        cuts = (x.pieces[at : at + width] for at in range(0, len(x.pieces), width))
        return [Symbol(self._graph, cut) for cut in cuts]

    def concatenate(self, pieces: Sequence[Symbol]) -> Symbol:
        """Return one symbol of all pieces."""
        parts = (part for each in pieces for part in symbol(self._graph, each).pieces)
        return Symbol(self._graph, tuple(parts))

    def maximum(self, a: Symbol | float, b: Symbol | float) -> Symbol:
        """Return the larger of two."""
        return symbol(self._graph, a)._with(b, self._graph.maximum)  # noqa: SLF001 - its friend

    def mean(self, x: Symbol) -> Symbol:
        """Return the mean over the last axis."""
        share = 1 / len(x.pieces)
        parts = [(share, self._graph.mean(piece)) for piece in x.pieces]
        return Symbol(self._graph, (self._graph.sum(parts),))

    def _single(self, x: Symbol, where: str) -> tuple[Node, ...]:
        pieces = symbol(self._graph, x).pieces
        if len(pieces) != 1:
            raise UntraceableError(f"{where} takes an array of H units, not of {len(pieces)} H")
        return pieces

    def _unary(self, op: str, x: Symbol | float) -> Symbol:
        return symbol(self._graph, x)._each(  # noqa: SLF001
            lambda node: self._graph.unary(op, node)
        )

    def sigmoid(self, x: Symbol) -> Symbol:
        """Return the logistic function."""
        return self._unary("sigmoid", x)

    def tanh(self, x: Symbol) -> Symbol:
        """Return the hyperbolic tangent."""
        return self._unary("tanh", x)

    def relu(self, x: Symbol) -> Symbol:
        """Return max(x, 0)."""
        return self._unary("relu", x)

    def exp(self, x: Symbol) -> Symbol:
        """Return e to the power x."""
        return self._unary("exp", x)

    def log(self, x: Symbol) -> Symbol:
        """Return the natural logarithm."""
        return self._unary("log", x)

    def softplus(self, x: Symbol) -> Symbol:
        """Return log(1 + exp(x))."""
        return self._unary("softplus", x)

    def sqrt(self, x: Symbol) -> Symbol:
        """Return the square root."""
        return self._unary("sqrt", x)

    def absolute(self, x: Symbol) -> Symbol:
        """Return the absolute value."""
        return self._unary("absolute", x)

    def positive(self, x: Symbol) -> Symbol:
        """Return 1 where x > 0, else 0."""
        return self._unary("positive", x)


@dataclass(frozen=True)
class Trace:
    """What ``step`` computes.

    Attributes:
        states: the new states, one node each.
        operands: of each declared product.
    """

    graph: Graph
    states: tuple[Node, ...]
    operands: tuple[Node, ...]


def trace(cell: Cell) -> Trace:
    """Call ``step`` on symbols.

    Raises:
        UnsupportedError: it does something that no graph can hold; the message has the line.
    """
    graph = Graph()
    ops = TraceOps(graph, cell)
    gates = tuple(graph.leaf("zx", gate) for gate in range(len(cell.gates)))
    states = [Symbol(graph, (graph.leaf("state", at),)) for at in range(len(cell.states))]
    own = [Symbol(graph, (graph.leaf("vector", name, "unit"),)) for name in cell.vectors]
    try:
        new = _called(cell, ops, Symbol(graph, gates), tuple(states), tuple(own))
    except UntraceableError as error:
        raise UnsupportedError(f"cell {cell.name!r}: {error}{_line(error)}") from None
    return Trace(graph, new, tuple(ops.operands[each.name] for each in cell.products))


def _called(
    cell: Cell, ops: TraceOps, zx: Symbol, state: tuple[Symbol, ...], own: tuple[Symbol, ...]
) -> tuple[Node, ...]:
    results = step_of(cell)(ops, zx, state, own)
    if not isinstance(results, tuple) or len(results) != len(cell.states):
        got = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
        raise UntraceableError(f"step must return a tuple of {', '.join(cell.states)}, not {got}")
    new = tuple(ops._single(part, "a new state")[0] for part in results)  # noqa: SLF001
    if missing := [each.name for each in cell.products if each.name not in ops.operands]:
        raise UntraceableError(f"products declares {missing}, which step never takes")
    return new


def step_of(cell: Cell) -> Callable[[Any, Any, tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]:
    """Return the cell's ``step`` for states and vectors given as tuples, in the cell's order.

    An engine that differentiates by itself calls it with its own arrays and an ``Ops`` whose
    ``product`` has the weights of a layer. A step of the old form, with ``zh``, is adapted.
    """
    if uses_old_step(cell):

        def old(ops: Any, zx: Any, state: tuple[Any, ...], _: tuple[Any, ...]) -> tuple[Any, ...]:
            zh = ops.product("hh", state[0]) if cell.products else None
            return cell.step(ops, zx, zh, state)

        return old
    named: Any = namedtuple  # noqa: PYI024 - the names are the cell's
    state_type, own_type = named("State", cell.states), named("Own", cell.vectors)

    def new(ops: Any, zx: Any, state: tuple[Any, ...], own: tuple[Any, ...]) -> tuple[Any, ...]:
        return cell.step(ops, zx, state_type(*state), own_type(*own))

    return new


def _line(error: BaseException) -> str:
    """Return where in the cell's code the error arose, if outside this package."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.endswith("graph.py")
    ]
    if not frames:
        return ""
    frame = frames[-1]
    code = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return f" ({frame.filename}, line {frame.lineno}: {code})"
