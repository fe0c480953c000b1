"""The reverse of a step, derived: every adjoint is an anchor times a factor.

A factor holds no gradient: an engine may compute it before the gradients arrive, for many time
steps at once. An anchor is a gradient: one that is given (``new``: of a new state; ``back``: of the
operand of a product), or the sum of all that meets at one node. So the LSTM has five factors and
two anchors, the GRU four factors and one.

The derivative of sigmoid and tanh comes from their values. At a kink (relu, absolute, maximum) it
is one of the two one-sided derivatives: 0 for relu and absolute, the second argument's for a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.recurrence.graph import MATRIX_OPERATIONS, Graph, Node, Width, reachable, shared


@dataclass(frozen=True)
class Term:
    """A gradient: ``anchor`` times ``factor``, element by element; both are nodes."""

    anchor: Node
    factor: Node

    @property
    def is_narrow(self) -> bool:
        """Whether it has one number per sequence, (B, 1), for all units."""
        wide = {self.anchor.width, self.factor.width} - {"constant", "sequence"}
        return not wide

    @property
    def is_matrix(self) -> bool:
        """Whether it has a matrix per sequence, (B, H, H)."""
        return "matrix" in {self.anchor.width, self.factor.width}


@dataclass(frozen=True)
class Anchor:
    """A sum of terms, under the name of a leaf; or what remains of it over an axis.

    Attributes:
        node: the leaf.
        terms: what is added.
        mean: it is the mean over the units, (B, 1).
        summed: it is the sum over the units, (B, 1), or over the columns or the rows of a matrix,
            (B, H).
    """

    node: Node
    terms: tuple[Term, ...]
    mean: bool = False
    summed: Literal["units", "columns", "rows"] | None = None


@dataclass(frozen=True)
class Back:
    """The gradient of product ``index`` is complete; ``node`` names that of its operand.

    Attributes:
        index: of the product.
        node: the leaf (``back``, index): d loss / d operand = d_product @ weight.
        state: the state that is the operand, if it is one: then the engine adds ``back`` to the
            gradient of that state, one time step earlier, and no anchor waits for it.
    """

    index: int
    node: Node
    state: int | None


@dataclass(frozen=True)
class Reverse:
    """The gradients of one step, in the order in which they can be computed.

    Attributes:
        order: anchors and finished products; each uses only what comes before it.
        zx: per gate, d loss / d zx; None: zero.
        products: per product and piece, d loss / d product; None: zero.
        state: per state, the terms whose sum is d loss / d state along pointwise paths.
        vectors: per vector, the terms whose sum over time steps and sequences is its gradient.
    """

    order: tuple[Anchor | Back, ...]
    zx: tuple[Term | None, ...]
    products: tuple[tuple[Term | None, ...], ...]
    state: tuple[tuple[Term, ...], ...]
    vectors: tuple[tuple[Term, ...], ...]

    def terms(self) -> list[Term]:
        """Return every term."""
        terms = [term for each in self.order if isinstance(each, Anchor) for term in each.terms]
        rows = (self.zx, *self.products, *self.state, *self.vectors)
        return terms + [term for row in rows for term in row if term is not None]

    def factors(self) -> list[Node]:
        """Return the distinct factors that are not constants, in the order of the graph."""
        factors = {term.factor for term in self.terms() if term.factor.op != "constant"}
        return sorted(factors, key=lambda node: node.index)


class _Reversal:
    def __init__(self, graph: Graph, operands: Sequence[Node]) -> None:
        self.graph, self.operands, self.unit = graph, operands, graph.constant(1.0)
        self.adjoints: dict[Node, list[Term]] = {}
        self.order: list[Anchor | Back] = []

    def add(self, node: Node, anchor: Node, factor: Node) -> None:
        """Add to a node's gradient; terms of one anchor become one."""
        if node.op == "constant" or (factor.op == "constant" and factor.value == 0):
            return
        if node.width != "matrix" and Term(anchor, factor).is_matrix:
            # The node is for the rows of a matrix: its gradient is the sum over the columns.
            anchor, factor = self._anchor([Term(anchor, factor)], summed="columns"), self.unit
        terms = self.adjoints.setdefault(node, [])
        for at, term in enumerate(terms):
            if term.anchor is anchor:
                total = self.graph.sum([(1.0, term.factor), (1.0, factor)])
                terms[at] = Term(anchor, total)
                return
        terms.append(Term(anchor, factor))

    def gather(self, node: Node) -> Term | None:
        """Return the node's gradient as one term; several become a new anchor."""
        terms = self.adjoints.get(node, [])
        if len(terms) > 1:
            anchor = self._anchor(terms)
            self.adjoints[node] = terms = [Term(anchor, self.unit)]
        return terms[0] if terms else None

    def _anchor(
        self,
        terms: Sequence[Term],
        *,
        mean: bool = False,
        summed: Literal["units", "columns", "rows"] | None = None,
    ) -> Node:
        index = sum(isinstance(each, Anchor) for each in self.order)
        width: Width = "both"
        if mean or summed == "units":
            width = "sequence"
        elif summed is None and any(term.is_matrix for term in terms):
            width = "matrix"
        node = self.graph.leaf("anchor", index, width)
        self.order.append(Anchor(node, tuple(terms), mean, summed))
        return node

    def pass_on(self, node: Node, term: Term) -> None:
        """Add the gradient of a node to those of its arguments."""
        graph, a, f = self.graph, term.anchor, term.factor
        if node.op == "sum":
            for coefficient, argument in zip(node.value[0], node.args, strict=True):
                self.add(argument, a, graph.times(graph.constant(coefficient), f))
        elif node.op == "times":
            for at, argument in enumerate(node.args):
                others = node.args[:at] + node.args[at + 1 :]
                self.add(argument, a, graph.times(f, *others))
        elif node.op == "divide":
            above, below = node.args
            self.add(above, a, graph.divide(f, below))
            self.add(below, a, graph.divide(graph.times(graph.constant(-1.0), f, node), below))
        elif node.op == "maximum":
            first, second = node.args
            chosen = graph.unary("positive", graph.sum([(1.0, first), (-1.0, second)]))
            self.add(first, a, graph.times(f, chosen))
            self.add(second, a, graph.times(f, graph.sum([(-1.0, chosen)], 1.0)))
        elif node.op == "mean":
            self.add(node.args[0], self._anchor([term], mean=True), self.unit)
        elif node.op in MATRIX_OPERATIONS:
            self._pass_to_arrays(node, term)
        elif node.op in SLOPES:
            slope = SLOPES[node.op](graph, node, node.args[0])
            self.add(node.args[0], a, graph.times(f, slope))

    def _pass_to_arrays(self, node: Node, term: Term) -> None:
        """Do the same for ``outer`` and ``contract``, whose gradients are sums over an axis."""
        x, q = node.args
        if node.op == "outer":  # each row is q
            self.add(q, self._anchor([term], summed="rows"), self.unit)
        elif x.width == "matrix":
            self.add(x, term.anchor, self.graph.outer(term.factor, q))
            rows = Term(term.anchor, self.graph.times(term.factor, x))
            self.add(q, self._anchor([rows], summed="rows"), self.unit)
        else:
            total = self._anchor([term], summed="units")
            self.add(x, total, q)
            self.add(q, total, x)


Slope = Callable[[Graph, Node, Node], Node]  # graph, y, x -> dy / dx


def _one_of(op: str, *, of_value: bool = False) -> Slope:
    return lambda graph, y, x: graph.unary(op, y if of_value else x)


def _quotient(above: float, *, of_value: bool = False) -> Slope:
    return lambda graph, y, x: graph.divide(graph.constant(above), y if of_value else x)


SLOPES: dict[str, Slope] = {  # of y = f(x); those not here are 0
    "sigmoid": lambda graph, y, _: graph.times(y, graph.sum([(-1.0, y)], 1.0)),
    "tanh": lambda graph, y, _: graph.sum([(-1.0, graph.times(y, y))], 1.0),
    "tanh_half": lambda graph, y, _: graph.sum([(-0.5, graph.times(y, y))], 0.5),
    "relu": _one_of("positive", of_value=True),
    "exp": lambda _graph, y, _: y,
    "log": _quotient(1.0),
    "softplus": _one_of("sigmoid"),
    "sqrt": _quotient(0.5, of_value=True),
    "absolute": _one_of("sign"),
}


def reversed_step(
    graph: Graph,
    gates: Sequence[Node],
    before: Sequence[Node],
    vectors: Sequence[Node],
    pieces: Sequence[Sequence[Node]],
    operands: Sequence[Node],
    after: Sequence[Node],
) -> Reverse:
    """Derive the reverse of a step.

    Args:
        graph: of the step; the factors are made in it.
        gates: the leaves zx.
        before: the leaves of the old states.
        vectors: the leaves of the learnt vectors.
        pieces: per product, its pieces.
        operands: per product, what it is taken of.
        after: the new states.
    """
    work = _Reversal(graph, operands)
    for index, node in enumerate(after):
        width = before[index].width
        work.add(node, graph.leaf("new", index, width), work.unit)
    first_pieces = {parts[0]: index for index, parts in enumerate(pieces)}
    needed = [*reachable([*after, *operands]), *(piece for parts in pieces for piece in parts)]
    done: dict[int, tuple[Term | None, ...]] = {}
    for node in sorted(set(needed), key=lambda each: -each.index):
        if node.op == "product":
            work.gather(node)
            if node in first_pieces:  # made first, so all its pieces are complete
                index = first_pieces[node]
                operand = operands[index]
                done[index] = tuple(work.gather(piece) for piece in pieces[index])
                back = graph.leaf("back", index)
                state = operand.value if operand.op == "state" else None
                work.order.append(Back(index, back, state))
                if state is None and any(done[index]):
                    work.add(operand, back, work.unit)
        elif node.args and (term := work.gather(node)) is not None:
            work.pass_on(node, term)
    zx = tuple(work.gather(gate) for gate in gates)
    ends = [tuple(work.adjoints.get(node, [])) for node in (*before, *vectors)]
    reverse = Reverse(
        tuple(work.order),
        zx,
        tuple(done[index] for index in range(len(pieces))),
        tuple(ends[: len(before)]),
        tuple(ends[len(before) :]),
    )
    factors = reverse.factors()
    return _with_factors(reverse, dict(zip(factors, shared(graph, factors, after), strict=True)))


def _with_factors(reverse: Reverse, new: Mapping[Node, Node]) -> Reverse:
    """Return the reverse with other nodes for its factors."""

    def term(old: Term | None) -> Term | None:
        return None if old is None else Term(old.anchor, new.get(old.factor, old.factor))

    def terms(row: Sequence[Term]) -> tuple[Term, ...]:
        return tuple(Term(old.anchor, new.get(old.factor, old.factor)) for old in row)

    return Reverse(
        tuple(
            replace(each, terms=terms(each.terms)) if isinstance(each, Anchor) else each
            for each in reverse.order
        ),
        tuple(map(term, reverse.zx)),
        tuple(tuple(map(term, row)) for row in reverse.products),
        tuple(map(terms, reverse.state)),
        tuple(map(terms, reverse.vectors)),
    )
