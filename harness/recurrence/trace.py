"""Tracing: a cell's ``step`` is called once on symbols, and leaves its expression graph."""

from __future__ import annotations

import inspect
import math
import traceback
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NoReturn

from harness.contract import Cell, HarnessError, Matrix, Ops, UnsupportedError, uses_old_step
from harness.contract.wording import error_text
from harness.recurrence.graph import Graph, Node, Width, canonical, constants, reachable

DEEPEST = 100  # operations in a row: what writes code is recursive
# ops, zx, states, vectors -> new states
Step = Callable[[Any, Any, tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]


class UntraceableError(BaseException):
    """An operation that has no place in an expression graph; the message says what to use.

    A step with ``except Exception`` cannot hide it.
    """


@dataclass(frozen=True, eq=False, repr=False)
class Symbol:
    """An array of the step: one node for each piece of H units along its last axis."""

    graph: Graph
    pieces: tuple[Node, ...]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return ", ".join(map(repr, self.pieces))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UntraceableError(f"an attribute of an array (.{name}) cannot be traced: {_OPS}")

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **_: Any) -> NoReturn:
        """Refuse NumPy's functions, and its numbers and arrays before an operator."""
        if function.__name__ in {"add", "subtract", "multiply", "divide"}:
            symbol(self.graph, args[0])
        raise UntraceableError(f"numpy.{function.__name__} cannot be traced: {_OPS}")

    def __add__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.sum([(1.0, a), (1.0, b)]))

    def __sub__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.sum([(1.0, a), (-1.0, b)]))

    def __rsub__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.sum([(1.0, b), (-1.0, a)]))

    def __mul__(self, other: Any) -> Symbol:
        return self._with(other, self.graph.times, scales=True)

    def __truediv__(self, other: Any) -> Symbol:
        return self._with(other, self.graph.divide, scales=self.is_matrix)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._with(other, lambda a, b: self.graph.divide(b, a))

    def __neg__(self) -> Symbol:
        return self._each(lambda a: self.graph.sum([(-1.0, a)]))

    def __pos__(self) -> Symbol:
        return self

    __radd__, __rmul__ = __add__, __mul__

    @property
    def is_matrix(self) -> bool:
        """Whether it is (B, H, H)."""
        return any(piece.width == "matrix" for piece in self.pieces)

    def _each(self, function: Callable[[Node], Node]) -> Symbol:
        return Symbol(self.graph, tuple(function(piece) for piece in self.pieces))

    def _with(
        self, other: Any, function: Callable[[Node, Node], Node], *, scales: bool = False
    ) -> Symbol:
        """Return ``function`` of each pair of pieces; ``scales``: one may scale a matrix's rows."""
        other = symbol(self.graph, other)
        others = other.pieces
        if not scales and self.is_matrix != other.is_matrix:
            narrow = others if self.is_matrix else self.pieces
            if narrow[0].width != "constant":
                raise UntraceableError(
                    "this arithmetic of a matrix S (B, H, H) and an array a (B, H) cannot be "
                    "traced: S * a and S / a scale its rows; ops.outer makes a matrix of arrays"
                )
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


_OPS = "use the functions of ops"
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
        ("a function of another library", _OPS),
    ),
    **dict.fromkeys(("__floordiv__", "__mod__"), ("// or %", "use the operations of ops")),
}
for _name, (_what, _instead) in _REFUSED.items():
    setattr(Symbol, _name, _refuse(_what, _instead))


def symbol(graph: Graph, value: Any) -> Symbol:
    """Return a symbol as it is, and a number of Python as a constant.

    Other numbers are refused: a ``numpy.float64`` would make float64 of arrays in float32.
    """
    if isinstance(value, Symbol):
        return value
    if type(value) in {int, float}:
        if not math.isfinite(value):
            raise UntraceableError(f"{value} cannot be part of a step: use numbers that are finite")
        return Symbol(graph, (graph.constant(float(value)),))
    if isinstance(value, Real) and not isinstance(value, bool):
        kind = type(value).__name__
        raise UntraceableError(f"a {kind} cannot be part of a step: make it a float")
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

    def __getattr__(self, name: str) -> NoReturn:
        operations = sorted(each for each in vars(Ops) if not each.startswith("_"))
        raise UntraceableError(f"there is no ops.{name}: there are {', '.join(operations)}")

    def product(self, name: str, operand: Symbol) -> Symbol:
        """Return the pieces of a learnt product."""
        names = [product.name for product in self._cell.products]
        if name not in names:
            raise UntraceableError(
                f"ops.product({name!r}) is not declared: add Product({name!r}) to products, "
                f"which has {', '.join(names) or 'none'}"
            )
        if name in self.operands:
            raise UntraceableError(
                f"ops.product({name!r}) is taken twice: keep its value, or declare another product"
            )
        node = self.single(operand, "the operand of ops.product")
        index = names.index(name)
        self.operands[name] = node
        count = len(self._cell.products[index].gates or self._cell.gates)
        pieces = (self._graph.product(node, index, piece) for piece in range(count))
        return Symbol(self._graph, tuple(pieces))

    def split(self, x: Symbol, parts: int) -> Sequence[Symbol]:
        """Return ``parts`` symbols of equally many pieces."""
        x = self._no_matrix(x, "split")
        if parts < 1 or len(x.pieces) % parts:
            count = f"{len(x.pieces)} H units" if len(x.pieces) > 1 else "H units"
            raise UntraceableError(
                f"ops.split cannot cut an array of {count} into {parts} equal parts: "
                "each part has H units, or a multiple of H"
            )
        width = len(x.pieces) // parts
        cuts = (x.pieces[at : at + width] for at in range(0, len(x.pieces), width))
        return [Symbol(self._graph, cut) for cut in cuts]

    def concatenate(self, pieces: Sequence[Symbol]) -> Symbol:
        """Return one symbol of all pieces."""
        arrays = list(pieces)
        if not arrays or not all(isinstance(each, Symbol) for each in arrays):
            raise UntraceableError("ops.concatenate joins arrays alone, one or more")
        parts = (part for each in arrays for part in self._no_matrix(each, "concatenate").pieces)
        return Symbol(self._graph, tuple(parts))

    def maximum(self, a: Symbol | float, b: Symbol | float) -> Symbol:
        """Return the larger of two."""
        a, b = self._no_matrix(a, "maximum"), self._no_matrix(b, "maximum")
        return a._with(b, self._graph.maximum)  # noqa: SLF001 - its friend

    def mean(self, x: Symbol) -> Symbol:
        """Return the mean over the last axis."""
        pieces = self._no_matrix(x, "mean").pieces
        parts = [(1 / len(pieces), self._graph.mean(piece)) for piece in pieces]
        return Symbol(self._graph, (self._graph.sum(parts),))

    def outer(self, a: Symbol, b: Symbol) -> Any:
        """Return the matrix with a_i b_j in row i."""
        nodes = (self.single(part, "an argument of ops.outer") for part in (a, b))
        return Symbol(self._graph, (self._graph.outer(*nodes),))

    def contract(self, x: Any, q: Symbol) -> Symbol:
        """Return the sum over the last axis of x times q."""
        is_matrix = symbol(self._graph, x).is_matrix
        where = "the first argument of ops.contract"
        node = self.matrix(x, where) if is_matrix else self.single(x, where)
        second = self.single(q, "the second argument of ops.contract")
        return Symbol(self._graph, (self._graph.contract(node, second),))

    def single(self, x: Symbol | float, where: str) -> Node:
        """Return the node of an array of H units."""
        pieces = symbol(self._graph, x).pieces
        if len(pieces) != 1:
            raise UntraceableError(f"{where} is an array of H units, not of {len(pieces)} H")
        if pieces[0].width == "matrix":
            raise UntraceableError(
                f"{where} is (B, H), not a matrix: use ops.contract, or declare matrix_states"
            )
        if pieces[0].width != "both":
            raise UntraceableError(
                f"{where} has a value per sequence and unit: compute it from zx or a state"
            )
        return pieces[0]

    def matrix(self, x: Symbol | float, where: str) -> Node:
        """Return the node of a matrix."""
        x = symbol(self._graph, x)
        if not x.is_matrix:
            raise UntraceableError(f"{where} is a matrix (B, H, H): make it with ops.outer")
        return x.pieces[0]

    def _no_matrix(self, x: Symbol | float, op: str) -> Symbol:
        x = symbol(self._graph, x)
        if x.is_matrix:
            raise UntraceableError(
                f"ops.{op} of a matrix cannot be traced: "
                "take it of arrays, before ops.outer or after ops.contract"
            )
        return x

    def _unary(self, op: str, x: Symbol | float) -> Symbol:
        return self._no_matrix(x, op)._each(  # noqa: SLF001
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
    states = [
        Symbol(graph, (graph.leaf("state", at, state_width(cell, at)),))
        for at in range(len(cell.states))
    ]
    own = [Symbol(graph, (graph.leaf("vector", name, "unit"),)) for name in cell.vectors]
    try:
        results = _step_of(cell)(ops, Symbol(graph, gates), tuple(states), tuple(own))
        new = _checked(ops, cell, results)
    except UntraceableError as error:
        raise UnsupportedError(f"cell {cell.name!r}: {error}{_line(error, cell)}") from None
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        problem = f"step raised {error_text(error)}; it has its arguments, numbers and ops"
        raise UnsupportedError(f"cell {cell.name!r}: {problem}{_line(error, cell)}") from error
    counts = [len(product.gates or cell.gates) for product in cell.products]
    operands = [ops.operands[product.name] for product in cell.products]
    leaves = [*gates, *(node for each in (*states, *own) for node in each.pieces)]
    graph = Graph()
    # The states from last to first: h is mostly computed from the others.
    roots = canonical(graph, leaves, [*operands, *reversed(new)], counts)
    return Trace(graph, tuple(reversed(roots[len(operands) :])), tuple(roots[: len(operands)]))


def _checked(ops: TraceOps, cell: Cell, results: Any) -> tuple[Node, ...]:
    """Return the nodes of the new states; refuse another number, and products never taken."""
    if not isinstance(results, tuple) or len(results) != len(cell.states):
        got = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
        raise UntraceableError(f"step must return a tuple of {', '.join(cell.states)}, not {got}")
    if missing := [each.name for each in cell.products if each.name not in ops.operands]:
        raise UntraceableError(
            f"step never takes the product {', '.join(missing)}: "
            "remove it from products, or call ops.product"
        )
    new = tuple(
        ops.matrix(part, f"the new state {name}")
        if name in cell.matrix_states
        else ops.single(part, "a new state")
        for name, part in zip(cell.states, results, strict=True)
    )
    nodes = reachable([*new, *ops.operands.values()])
    if not all(math.isfinite(number) for node in nodes for number in constants(node)):
        raise UntraceableError("constants of step give inf or nan: use numbers that are finite")
    depths: dict[Node, int] = {}
    for node in nodes:
        depths[node] = 1 + max((depths[argument] for argument in node.args), default=0)
    if max(depths.values()) > DEEPEST:
        raise UntraceableError("step has too many operations in a row: repeat fewer")
    return new


def state_width(cell: Cell, index: int) -> Width:
    """Return the width of a state of the cell."""
    return "matrix" if cell.states[index] in cell.matrix_states else "both"


def step_of(cell: Cell) -> Step:
    """Return the cell's ``step`` for states and vectors given as tuples, in the cell's order.

    An engine that differentiates by itself calls it with its own arrays, a matrix as (B, H, H), and
    an ``Ops`` whose ``product`` has the weights of a layer. A step of the old form, with ``zh``, is
    adapted.
    """
    step = _step_of(cell)
    if not cell.matrix_states:
        return step
    matrices = [state_width(cell, at) == "matrix" for at in range(len(cell.states))]

    def of_arrays(
        ops: Any, zx: Any, state: tuple[Any, ...], own: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        parts = zip(matrices, state, strict=True)
        new = step(ops, zx, tuple(Matrix(part) if is_one else part for is_one, part in parts), own)
        return tuple(part.array if isinstance(part, Matrix) else part for part in new)

    return of_arrays


def _step_of(cell: Cell) -> Step:
    if uses_old_step(cell):

        def old(ops: Any, zx: Any, state: tuple[Any, ...], _: tuple[Any, ...]) -> tuple[Any, ...]:
            zh = ops.product("hh", state[0]) if cell.products else None
            return cell.step(ops, zx, zh, state)

        return old
    state_type: Any = namedtuple("State", cell.states)  # type: ignore[misc]  # noqa: PYI024
    own_type: Any = namedtuple("Own", cell.vectors)  # type: ignore[misc]  # noqa: PYI024

    def new(ops: Any, zx: Any, state: tuple[Any, ...], own: tuple[Any, ...]) -> tuple[Any, ...]:
        return cell.step(ops, zx, state_type(*state), own_type(*own))

    return new


def _line(error: BaseException, cell: Cell) -> str:
    """Return the line of the cell's code at which the error arose, or that where it begins."""
    steps = [
        inspect.unwrap(vars(each)["step"]) for each in type(cell).__mro__ if "step" in vars(each)
    ]
    files = {step.__code__.co_filename for step in steps} - {inspect.getfile(Cell)}
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename in files]
    if frames:
        return f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})"
    code = steps[0].__code__
    return f" ({code.co_filename}, line {code.co_firstlineno}: {code.co_name})"
