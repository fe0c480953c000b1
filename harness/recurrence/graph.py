"""The expression graph of one time step: nodes made once per value, in a normal form.

Sums and products are flat, constants are folded, and equal expressions are one node. So two
spellings of the same arithmetic give the same graph, and the same generated code.

A node is an array of one of five widths: a constant, one number per unit (H,), one per sequence
(B, 1), one per sequence and unit (B, H), or a matrix per sequence (B, H, H). An argument of a
matrix that is none itself scales or fills its rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Width = Literal["constant", "unit", "sequence", "both", "matrix"]

UNARY: Mapping[str, Callable[[float], float]] = {  # on constants
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "tanh": math.tanh,
    "tanh_half": lambda x: math.tanh(0.5 * x),  # an engine's own: 2 sigmoid(x) - 1
    "relu": lambda x: max(x, 0.0),
    "exp": math.exp,
    "log": math.log,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "sqrt": math.sqrt,
    "absolute": abs,
    "positive": lambda x: float(x > 0),
    "sign": lambda x: float((x > 0) - (x < 0)),
}
# Values that no arithmetic gives: the first argument of ``Graph.leaf``.
LEAVES = ("zx", "state", "vector", "new", "back", "anchor")
RANKS = {op: rank for rank, op in enumerate(("constant", *LEAVES, "product"))}
COMMUTATIVE = ("sum", "times")
MATRIX_OPERATIONS = ("outer", "contract")


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the step.

    Attributes:
        op: ``constant``, a leaf, ``product``, ``sum``, ``times``, ``divide``, ``maximum``,
            ``mean``, ``outer``, ``contract`` or one of ``UNARY``.
        args: the nodes that it is computed from.
        value: of a constant, the number; of a leaf, its index or name; of a ``product``, (index of
            the product, piece); of a ``sum``, (one coefficient per argument, constant).
        width: its shape.
        index: its place in the graph; its arguments come before it.
    """

    op: str
    args: tuple[Node, ...]
    value: Any
    width: Width
    index: int

    def __repr__(self) -> str:
        return text(self)


@dataclass
class Graph:
    """Makes nodes; equal nodes are the same object."""

    nodes: dict[tuple[Any, ...], Node] = field(default_factory=dict)

    def leaf(self, op: str, value: Any, width: Width = "both") -> Node:
        """Return a value that is given from outside."""
        return self._node(op, (), value, width)

    def constant(self, value: float) -> Node:
        """Return a number."""
        return self._node("constant", (), float(value), "constant")

    def product(self, operand: Node, index: int, piece: int) -> Node:
        """Return one piece (B, H) of a learnt product with ``operand``."""
        return self._node("product", (operand,), (index, piece), "both")

    def sum(self, parts: Iterable[tuple[float, Node]], constant: float = 0.0) -> Node:
        """Return ``constant`` plus each coefficient times its node."""
        terms: dict[Node, float] = {}
        for coefficient, node in parts:
            for factor, term in _terms(node):
                if term is None:
                    constant += coefficient * factor
                else:
                    terms[term] = terms.get(term, 0.0) + coefficient * factor
        terms = {node: coefficient for node, coefficient in terms.items() if coefficient != 0}
        if not terms:
            return self.constant(constant)
        if constant == 0 and len(terms) == 1 and 1.0 in terms.values():
            return next(iter(terms))
        ordered = tuple(terms)
        return self._node("sum", ordered, (tuple(terms.values()), constant), _joint(ordered))

    def times(self, *factors: Node) -> Node:
        """Return the product of all, element by element."""
        coefficient, nodes = 1.0, list[Node]()
        for factor in factors:
            scale, bare = _scaled(factor)
            coefficient *= scale
            nodes += [] if bare is None else bare.args if bare.op == "times" else [bare]
        if coefficient == 0 or not nodes:
            return self.constant(coefficient)
        product = nodes[0] if len(nodes) == 1 else self._times(tuple(nodes))
        return product if coefficient == 1 else self.sum([(coefficient, product)])

    def divide(self, above: Node, below: Node) -> Node:
        """Return the quotient."""
        if below.op == "constant":
            return self.times(self.constant(1 / below.value), above)
        scale, bare = _scaled(above)
        numerator = self.constant(1.0) if bare is None else bare
        if scale == 0:
            return self.constant(0.0)
        quotient = self._node("divide", (numerator, below), None, _joint((numerator, below)))
        return quotient if scale == 1 else self.sum([(scale, quotient)])

    def maximum(self, a: Node, b: Node) -> Node:
        """Return the larger of two, element by element."""
        if a.op == b.op == "constant":
            return self.constant(max(a.value, b.value))
        return self._node("maximum", (a, b), None, _joint((a, b)))

    def unary(self, op: str, x: Node) -> Node:
        """Return ``op`` of ``x``, one of ``UNARY``."""
        if x.op == "constant":
            return self.constant(UNARY[op](x.value))
        return self._node(op, (x,), None, x.width)

    def mean(self, x: Node) -> Node:
        """Return the mean over the units, (B, 1)."""
        if x.width in {"constant", "sequence"}:
            return x
        return self._node("mean", (x,), None, "constant" if x.width == "unit" else "sequence")

    def outer(self, a: Node, b: Node) -> Node:
        """Return the matrix with a_i b_j in row i: a times one whose rows are all b."""
        return self.times(a, self._node("outer", (self.constant(1.0), b), None, "matrix"))

    def contract(self, x: Node, q: Node) -> Node:
        """Return the sum over the last axis of x times q: (B, H) of a matrix, else (B, 1)."""
        width: Width = "both" if x.width == "matrix" else "sequence"
        return self._node("contract", (x, q), None, width)

    def again(self, node: Node, args: Sequence[Node]) -> Node:
        """Return ``node`` with other arguments, in normal form."""
        if node.op == "sum":
            coefficients, constant = node.value
            return self.sum(zip(coefficients, args, strict=True), constant)
        if node.op == "times":
            return self.times(*args)
        if node.op == "product":
            return self.product(args[0], *node.value)
        if node.op in UNARY:
            return self.unary(node.op, args[0])
        makers: dict[str, Callable[..., Node]] = {
            "divide": self.divide, "maximum": self.maximum, "mean": self.mean,
            "outer": self.outer, "contract": self.contract,
        }  # fmt: skip
        return makers[node.op](*args) if args else self._node(node.op, (), node.value, node.width)

    def pair(self, *nodes: Node) -> Node:
        """Return the product of all, as one node that is not made flat."""
        return nodes[0] if len(nodes) == 1 else self._times(nodes)

    def statement(
        self, op: str, args: Sequence[Node], value: Any = None, width: Width | None = None
    ) -> Node:
        """Return an operation of one engine alone; an elementwise one needs no width."""
        return self._node(op, tuple(args), value, width or _joint(args))

    def _times(self, nodes: tuple[Node, ...]) -> Node:
        key = ("times", tuple(sorted(node.index for node in nodes)))
        if key not in self.nodes:
            self.nodes[key] = Node("times", nodes, None, _joint(nodes), len(self.nodes))
        return self.nodes[key]

    def _node(self, op: str, args: tuple[Node, ...], value: Any, width: Width) -> Node:
        order: tuple[Any, ...] = tuple(node.index for node in args)
        key_value: Any
        if op == "sum":
            order, key_value = (), (tuple(sorted(zip(order, value[0], strict=True))), value[1])
        else:
            key_value = value
        key = (op, order, key_value)
        if key not in self.nodes:
            self.nodes[key] = Node(op, args, value, width, len(self.nodes))
        return self.nodes[key]


def reachable(roots: Iterable[Node]) -> list[Node]:
    """Return the roots and all that they are computed from, in the order of the graph."""
    seen: dict[int, Node] = {}
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node.index not in seen:
            seen[node.index] = node
            waiting += node.args
    return [seen[index] for index in sorted(seen)]


def substituted(graph: Graph, roots: Sequence[Node], values: Mapping[Node, Node]) -> list[Node]:
    """Return the roots with some nodes replaced, made in ``graph``."""
    new: dict[Node, Node] = {}
    for node in reachable(roots):
        new[node] = (
            values[node] if node in values else graph.again(node, [new[a] for a in node.args])
        )
    return [new[root] for root in roots]


def canonical(
    graph: Graph, leaves: Sequence[Node], roots: Sequence[Node], counts: Sequence[int]
) -> list[Node]:
    """Return the roots made anew in ``graph``: alike for all spellings of the same equations.

    The terms of sums and the factors of products are in one order, and so are the nodes.

    Args:
        graph: empty.
        leaves: made first, in this order.
        roots: in another graph.
        counts: of each learnt product, its number of pieces.
    """
    keys = _keys(reachable(roots))
    new = {leaf: graph.leaf(leaf.op, leaf.value, leaf.width) for leaf in leaves}

    def copied(node: Node) -> Node:
        if node in new:
            return new[node]
        coefficients = dict(zip(node.args, node.value[0], strict=True)) if node.op == "sum" else {}
        args = sorted(node.args, key=keys.__getitem__) if node.op in COMMUTATIVE else node.args
        copies = [copied(argument) for argument in args]
        if node.op == "sum":
            terms = [(coefficients[old], copy) for old, copy in zip(args, copies, strict=True)]
            new[node] = graph.sum(terms, node.value[1])
        elif node.op == "product":
            index, piece = node.value
            new[node] = [graph.product(copies[0], index, at) for at in range(counts[index])][piece]
        else:
            new[node] = graph.again(node, copies)
        return new[node]

    return [copied(root) for root in roots]


def _keys(nodes: Sequence[Node]) -> dict[Node, tuple[Any, ...]]:
    """Return what orders nodes whatever their place: depth, leaves, operation, a hash of all."""
    keys: dict[Node, tuple[Any, ...]] = {}
    for node in nodes:
        args = [keys[argument] for argument in node.args]
        if node.op == "sum":
            terms = sorted(zip(args, node.value[0], strict=True))
            content = repr([(key[-1], coefficient) for key, coefficient in terms] + [node.value[1]])
        else:
            ordered = sorted(args) if node.op == "times" else args
            content = repr([node.value, *(key[-1] for key in ordered)])
        is_leaf = node.op in RANKS
        leaves = (
            {(RANKS[node.op], node.value)} if is_leaf else {each for key in args for each in key[1]}
        )
        depth = 1 + max((key[0] for key in args), default=-1)
        digest = hashlib.sha256(f"{node.op} {content}".encode()).hexdigest()
        keys[node] = (depth, tuple(sorted(leaves)), node.op, digest)
    return keys


def shared(graph: Graph, roots: Sequence[Node], fixed: Sequence[Node]) -> list[Node]:
    """Return the roots with the pairs of factors that several products have in common made one.

    The commonest pair goes first. The new products are not flat: the pair is a node of its own.
    What the nodes ``fixed`` are computed from stays as it is.
    """
    kept = set(reachable(fixed))
    products = {
        node: list(node.args)
        for node in reachable(roots)
        if node.op == "times" and node not in kept
    }
    while (pair := _commonest_pair(products.values())) is not None:
        joined = graph.pair(*pair)
        for args in products.values():
            if len(args) > 2 and all(node in args for node in pair):  # noqa: PLR2004
                at = min(args.index(node) for node in pair)
                for node in pair:
                    args.remove(node)
                args.insert(at, joined)
    new = {node: node for node in kept}

    def rebuilt(node: Node) -> Node:
        if node not in new:
            args = [rebuilt(argument) for argument in products.get(node, node.args)]
            new[node] = graph.pair(*args) if node.op == "times" else graph.again(node, args)
        return new[node]

    return [rebuilt(root) for root in roots]


def _commonest_pair(products: Iterable[Sequence[Node]]) -> tuple[Node, Node] | None:
    """Return the two factors that most products have in common; None: no two products have."""
    counts: dict[tuple[Node, Node], int] = {}
    for args in products:
        ordered = sorted(set(args), key=lambda node: node.index)
        for at, first in enumerate(ordered):
            for second in ordered[at + 1 :]:
                counts[first, second] = counts.get((first, second), 0) + 1
    pair = max(counts, key=lambda each: counts[each], default=None)
    return None if pair is None or counts[pair] == 1 else pair


def constants(node: Node) -> tuple[float, ...]:
    """Return the numbers that a node itself holds."""
    if node.op == "sum":
        coefficients, constant = node.value
        return (*coefficients, constant)
    return (node.value,) if node.op == "constant" else ()


def uses(roots: Iterable[Node]) -> dict[Node, int]:
    """Return how many nodes, and roots, read each node."""
    roots = list(roots)
    counts: dict[Node, int] = {}
    arguments = [argument for node in reachable(roots) for argument in node.args]
    for each in [*roots, *arguments]:
        counts[each] = counts.get(each, 0) + 1
    return counts


def text(node: Node) -> str:
    """Return a node as an expression, such as ``tanh(zx[0] + product[0, 0])``."""
    if node.op == "constant":
        return f"{node.value:g}"
    if node.op in LEAVES:
        return f"{node.op}[{node.value}]"
    if node.op == "product":
        return f"product[{node.value[0]}, {node.value[1]}]"
    return infix(node, [text(argument) for argument in node.args])


def infix(
    node: Node,
    args: Sequence[str],
    *,
    number: Callable[[float], str] = repr,
    call: Callable[[str, Sequence[str]], str] = lambda op, args: f"{op}({', '.join(args)})",
) -> str:
    """Return the code of one node in a language with infix arithmetic.

    Args:
        node: a sum, a product, a quotient or a function.
        args: the code of its arguments; anything but a name is put into parentheses.
        number: writes a constant.
        call: writes a function of the arguments.
    """
    if node.op == "sum":
        return _sum_text(node, args, number)
    if node.op == "times":
        return " * ".join(map(_safe, args))
    if node.op == "divide":
        return " / ".join(map(_safe, args))
    return call(node.op, args)


def _safe(part: str) -> str:
    return f"({part})" if " " in part or part.startswith("-") else part


def _sum_text(node: Node, args: Sequence[str], number: Callable[[float], str]) -> str:
    coefficients, constant = node.value
    terms = [
        (coefficient > 0, part if abs(coefficient) == 1 else f"{number(abs(coefficient))} * {part}")
        for coefficient, part in zip(coefficients, map(_safe, args), strict=True)
    ]
    if constant:
        terms.append((constant > 0, number(abs(constant))))
    terms.sort(key=lambda term: not term[0])  # a positive term first, if there is one
    first, *rest = terms
    return (first[1] if first[0] else f"-{first[1]}") + "".join(
        f" {'+' if plus else '-'} {part}" for plus, part in rest
    )


def _terms(node: Node) -> Iterator[tuple[float, Node | None]]:
    """Yield (coefficient, node) of a sum's terms; the constant comes with None."""
    if node.op == "constant":
        yield node.value, None
    elif node.op == "sum":
        coefficients, constant = node.value
        yield from zip(coefficients, node.args, strict=True)
        yield constant, None
    else:
        yield 1.0, node


def _scaled(node: Node) -> tuple[float, Node | None]:
    """Return (c, x) for a node that is c x; x is None for a constant."""
    if node.op == "constant":
        return node.value, None
    if node.op == "sum" and len(node.args) == 1 and node.value[1] == 0:
        return node.value[0][0], node.args[0]
    return 1.0, node


def _joint(nodes: Iterable[Node]) -> Width:
    widths = {node.width for node in nodes} - {"constant"}
    if not widths:
        return "constant"
    if "matrix" in widths:
        return "matrix"
    return widths.pop() if len(widths) == 1 else "both"
