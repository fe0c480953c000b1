"""A cell's recurrence: its graph, its reverse, and both computed with any engine's arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from harness.contract import Cell, Matrix, Ops, Tensor
from harness.recurrence.graph import (
    MATRIX_OPERATIONS,
    Graph,
    Node,
    infix,
    reachable,
    substituted,
    uses,
)
from harness.recurrence.reverse import Anchor, Reverse, Term, reversed_step
from harness.recurrence.trace import state_width, trace

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Gradient:
    """The gradients of one step.

    Attributes:
        zx: (B, G*H).
        products: per product (B, n*H).
        state: per state (B, H) or (B, H, H), along pointwise paths: without the products whose
            operand is a state; the number 0.0 where no path reaches.
        vectors: per vector (B, H), before the sum over sequences; 0.0 as above.
    """

    zx: Tensor
    products: Tensors
    state: Tensors
    vectors: Tensors


@dataclass(frozen=True, eq=False)
class Recurrence:
    """What follows from the ``step`` of a cell.

    A zx and a piece of a product that are read in their sum alone are one node ``sum`` of the two;
    ``merged`` names them: there d_zx = d_product, and one bias serves for both.

    Attributes:
        cell: the cell.
        gates, before, vectors: the leaves zx, old states and learnt vectors.
        pieces: per product, its pieces.
        operands: per product, what it is taken of.
        after: the new states.
        merged: gate -> (index of a product, its piece).
        reverse: the gradients.
    """

    cell: Cell
    graph: Graph
    gates: tuple[Node, ...]
    before: tuple[Node, ...]
    vectors: tuple[Node, ...]
    pieces: tuple[tuple[Node, ...], ...]
    operands: tuple[Node, ...]
    after: tuple[Node, ...]
    merged: Mapping[int, tuple[int, int]]
    reverse: Reverse

    def step(
        self,
        ops: Ops,
        zx: Tensor,
        state: Sequence[Tensor],
        own: Sequence[Tensor],
        product: Callable[[int, Tensor], Tensor],
    ) -> tuple[Tensors, Tensors]:
        """Compute the new states.

        Args:
            ops: the engine's operations.
            zx: (B, G*H).
            state: before the step, each (B, H), or (B, H, H) for a matrix.
            own: the vectors, each (H,).
            product: (index, operand (B, H)) -> (B, n*H), with its bias.

        Returns:
            the new states, as before the step, and the products, each (B, n*H).
        """
        values = self._leaves(ops, zx, state, own)
        products: list[Tensor] = [None] * len(self.pieces)

        def piece(node: Node) -> Tensor:
            index, at = node.value
            if products[index] is None:
                products[index] = product(index, values[node.args[0]])
                parts = ops.split(products[index], len(self.pieces[index]))
                values.update(zip(self.pieces[index], parts, strict=True))
            return values[self.pieces[index][at]]

        roots = [*self.after, *(each[0] for each in self.pieces)]
        evaluate(ops, roots, values, piece)
        return tuple(values[node] for node in self.after), tuple(products)

    def operand_values(
        self, ops: Ops, zx: Tensor, products: Sequence[Tensor], state: Sequence[Tensor],
        own: Sequence[Tensor],
    ) -> Tensors:  # fmt: skip
        """Return what each product was taken of, (..., H), from the products themselves."""
        values = self._all_values(ops, zx, products, state, own)
        evaluate(ops, self.operands, values)
        return tuple(values[node] for node in self.operands)

    def gradient(
        self,
        ops: Ops,
        zx: Tensor,
        products: Sequence[Tensor],
        state: Sequence[Tensor],
        own: Sequence[Tensor],
        d_new: Sequence[Tensor],
        back: Callable[[int, Tensor], Tensor],
    ) -> Gradient:
        """Compute the vector-Jacobian product of a step.

        Args:
            ops: as in ``step``.
            zx: (B, G*H).
            products: what ``step`` returned.
            state: as in ``step``.
            own: the vectors, each (H,).
            d_new: d loss / d new state, in the shapes of ``state``.
            back: (index, d_product (B, n*H)) -> d loss / d operand (B, H), d_product @ weight;
                called only for operands that the step computes.
        """
        values = self._all_values(ops, zx, products, state, own)
        for index, part in enumerate(d_new):
            values[self.graph.leaf("new", index, self.before[index].width)] = part
        zeros = 0.0 * d_new[0]
        d_products: list[Tensor] = [None] * len(self.pieces)

        def value(term: Term) -> Tensor:
            return _term(ops, term, values)

        def total(terms: Sequence[Term]) -> Tensor:
            first, *rest = [value(term) for term in terms]
            for part in rest:
                first = first + part
            if all(term.is_narrow for term in terms):
                return zeros + first
            is_row = any(term.is_matrix for term in terms) and first.shape[-2] < first.shape[-1]
            return zeros[..., None] + first if is_row else first

        def joined(row: Sequence[Term | None]) -> Tensor:
            parts = [zeros if term is None else zeros + value(term) for term in row]
            return parts[0] if len(parts) == 1 else ops.concatenate(parts)

        for each in self.reverse.order:
            if isinstance(each, Anchor):
                values[each.node] = _anchored(ops, each, total(each.terms))
            else:
                d_products[each.index] = joined(self.reverse.products[each.index])
                if each.state is None:
                    values[each.node] = back(each.index, d_products[each.index])
        return Gradient(
            joined(self.reverse.zx),
            tuple(d_products),
            tuple(total(terms) if terms else 0.0 for terms in self.reverse.state),
            tuple(zeros + total(terms) if terms else 0.0 for terms in self.reverse.vectors),
        )

    def matrix_refusal(self, engine: str) -> str | None:
        """Return why an engine without the operations of matrices cannot run the cell, or None."""
        operations = {node.op for node in reachable([*self.after, *self.operands])}
        lacking = next((each for each in MATRIX_OPERATIONS if each in operations), None)
        return (
            None if lacking is None else f"{engine} has no {lacking}, which {self.cell.name} takes"
        )

    @cached_property
    def linear(self) -> tuple[Node, Node] | None:
        """Return (a, b) with h' = a h + b, where neither reads a state; None: it is not so.

        Only for a cell with the one state h and no product.
        """
        if len(self.before) > 1 or self.pieces:
            return None
        (terms,), zero = self.reverse.state, self.graph.constant(0.0)
        if len(terms) != 1 or terms[0].anchor.op != "new":
            return None
        a = terms[0].factor
        steps = [node for node in reachable(self.after) if node.op == "positive"]  # of slope 0
        if any(node.op == "state" for node in reachable([a, *steps])):
            return None
        (b,) = substituted(self.graph, self.after, {self.before[0]: zero})
        return a, b

    def coefficients(self, ops: Ops, zx: Tensor, own: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return a and b of ``linear``, each (..., H), for zx (..., G*H).

        Raises:
            TypeError: the cell is not linear in its state.
        """
        if self.linear is None:
            raise TypeError(f"{self.cell.name} is not linear in its state")
        values = self._leaves(ops, zx, (), own)
        evaluate(ops, self.linear, values)
        like = ops.split(zx, len(self.gates))[0]
        a, b = (0.0 * like + values[node] for node in self.linear)
        return a, b

    @cached_property
    def digest(self) -> str:
        """A hash of the equations. Spelling and the names of cell and gates do not change it."""
        roots = [*self.after, *self.operands]
        content = [
            *(f"{n.index} {n.op} {[a.index for a in n.args]} {n.value}" for n in reachable(roots)),
            *(f"root {node.index}" for node in roots),
            *(f"pieces {[node.index for node in pieces]}" for pieces in self.pieces),
            f"{len(self.gates)} gates, vectors {self.cell.vectors}, products {self.cell.products}",
            f"matrices {[node.index for node in self.before if node.width == 'matrix']}",
        ]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def label(self, node: Node) -> str:
        """Return the name of a value that is given: ``zx_i``, ``hh_i``, ``h``, ``d_new_h``."""
        cell, value = self.cell, node.value
        if node.op == "product":
            product = cell.products[value[0]]
            return f"{product.name}_{(product.gates or cell.gates)[value[1]]}"
        names: dict[str, Callable[[], str]] = {
            "zx": lambda: f"zx_{cell.gates[value]}",
            "state": lambda: cell.states[value],
            "new": lambda: f"d_new_{cell.states[value]}",
            "back": lambda: f"back_{cell.products[value].name}",
            "anchor": lambda: f"total_{value}",
            "constant": lambda: f"{value:g}",
            "vector": lambda: value,
        }
        return names[node.op]()

    def listing(self, names: dict[Node, str] | None = None) -> str:
        """Return the step and its reverse as text, one value a line; ``names`` takes the names."""
        names = {} if names is None else names
        lines = [f"# {self.cell.name}: one time step"]

        def name(node: Node) -> str:
            if not node.args or node.op == "product":
                return self.label(node)
            if node not in names:
                args = [name(argument) for argument in node.args]
                names[node] = f"v{len(names)}"
                lines.append(f"{names[node]} = {infix(node, args, number=lambda x: f'{x:g}')}")
            return names[node]

        def written(terms: Sequence[Term | None]) -> list[str]:
            return [
                "0"
                if term is None
                else self.label(term.anchor)
                if term.factor.op == "constant" and term.factor.value == 1
                else f"{self.label(term.anchor)} * {name(term.factor)}"
                for term in terms
            ]

        for product, operand in zip(self.cell.products, self.operands, strict=True):
            lines.append(f"{product.name} = product of {name(operand)}")
        for state, node in zip(self.cell.states, self.after, strict=True):
            lines.append(f"new_{state} = {name(node)}")
        lines.append(f"# {self.cell.name}: its gradient, from d_new_{self.cell.states[0]}")
        for each in self.reverse.order:
            if isinstance(each, Anchor):
                parts = " + ".join(written(each.terms))
                of = f"sum over {each.summed} of " if each.summed else "mean of " * each.mean
                lines.append(f"{self.label(each.node)} = {of}{parts}")
            else:
                row = written(self.reverse.products[each.index])
                lines.append(f"d_{self.cell.products[each.index].name} = {', '.join(row)}")
        lines.append(f"d_zx = {', '.join(written(self.reverse.zx))}")
        ends = (*self.cell.states, *self.cell.vectors)
        for end, terms in zip(ends, (*self.reverse.state, *self.reverse.vectors), strict=True):
            lines.append(f"d_{end} = {' + '.join(written(terms)) or '0'}")
        return "\n".join(lines)

    def _leaves(
        self, ops: Ops, zx: Tensor, state: Sequence[Tensor], own: Sequence[Tensor]
    ) -> dict[Node, Tensor]:
        parts = ops.split(zx, len(self.gates))
        values: dict[Node, Tensor] = dict(zip(self.gates, parts, strict=True))
        values.update(zip(self.before, state, strict=False))
        values.update(zip(self.vectors, own, strict=True))
        return values

    def _all_values(
        self, ops: Ops, zx: Tensor, products: Sequence[Tensor], state: Sequence[Tensor],
        own: Sequence[Tensor],
    ) -> dict[Node, Tensor]:  # fmt: skip
        values = self._leaves(ops, zx, state, own)
        for pieces, array in zip(self.pieces, products, strict=True):
            values.update(zip(pieces, ops.split(array, len(pieces)), strict=True))
        return values


def evaluate(
    ops: Ops,
    roots: Sequence[Node],
    values: dict[Node, Tensor],
    product: Callable[[Node], Tensor] | None = None,
) -> None:
    """Compute the roots, and all that they need, into ``values``, with any engine's arrays.

    Args:
        ops: the engine's operations.
        roots: what is to be computed.
        values: what is known; it takes what is computed.
        product: adds the values of a product's pieces, of which it is given one; None: they are
            known.
    """
    waiting = list(roots)
    while waiting:
        node = waiting[-1]
        if node in values:
            waiting.pop()
            continue
        missing = [argument for argument in node.args if argument not in values]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        args = [values[argument] for argument in node.args]
        if node.op == "product" and product is not None:
            product(node)
        else:
            values[node] = _value(ops, node, args)


def _by_row(nodes: Sequence[Node], values: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the values for arithmetic: where one is a matrix, (B, H) becomes (B, H, 1)."""
    if all(node.width != "matrix" for node in nodes):
        return values
    return [
        value if node.width in {"matrix", "constant"} else value[..., None]
        for node, value in zip(nodes, values, strict=True)
    ]


def _term(ops: Ops, term: Term, values: dict[Node, Tensor]) -> Tensor:
    """Return the value of a gradient; what is computed for it goes into ``values``."""
    evaluate(ops, [term.factor], values)
    if term.factor.op == "constant" and term.factor.value == 1:
        return values[term.anchor]
    nodes = (term.anchor, term.factor)
    anchor, factor = _by_row(nodes, [values[node] for node in nodes])
    return anchor * factor


def _anchored(ops: Ops, anchor: Anchor, total: Tensor) -> Tensor:
    """Return the value of an anchor from the sum of its terms."""
    if anchor.mean:
        return ops.mean(total)
    if anchor.summed is None:
        return total
    result = total.sum(-2 if anchor.summed == "rows" else -1)
    return result[..., None] if anchor.summed == "units" else result


def _value(ops: Ops, node: Node, args: Sequence[Tensor]) -> Tensor:
    if node.op == "constant":
        return node.value
    if node.op in ARITHMETIC:
        return ARITHMETIC[node.op](node, _by_row(node.args, args))
    if node.op == "sign":
        return ops.positive(args[0]) - ops.positive(-args[0])
    if node.op == "outer":
        return args[1][..., None, :]
    if node.op == "contract" and node.args[0].width == "matrix":
        return ops.contract(Matrix(args[0]), args[1])
    return getattr(ops, node.op)(*args)


def _times(node: Node, args: Sequence[Tensor]) -> Tensor:
    """Multiply what scales the rows of a matrix first: it is small."""
    factors = sorted(zip(node.args, args, strict=True), key=lambda each: each[0].width == "matrix")
    result, *rest = (part for _, part in factors)
    for part in rest:
        result = result * part
    return result


def _sum(node: Node, args: Sequence[Tensor]) -> Tensor:
    coefficients, constant = node.value
    terms = sorted(zip(coefficients, args, strict=True), key=lambda term: term[0] < 0)
    result: Tensor = constant or None
    for coefficient, part in terms:
        if result is None:
            result = (
                part if coefficient == 1 else -part if coefficient == -1 else coefficient * part
            )
        elif abs(coefficient) == 1:
            result = result + part if coefficient > 0 else result - part
        else:
            result = result + coefficient * part
    return result


ARITHMETIC: Mapping[str, Callable[[Node, Sequence[Tensor]], Tensor]] = {
    "sum": _sum,
    "times": _times,
    "divide": lambda _node, args: args[0] / args[1],
}
_known: WeakKeyDictionary[type[Cell], dict[int, tuple[Cell, Recurrence]]] = WeakKeyDictionary()


def derive(cell: Cell) -> Recurrence:
    """Return what follows from the cell's ``step``; traced once per cell and process.

    Raises:
        UnsupportedError: the step cannot be traced; the message names the cell and the line.
    """
    kept = _known.setdefault(type(cell), {})
    if id(cell) not in kept:
        kept[id(cell)] = cell, _derived(cell)
    return kept[id(cell)][1]


def _derived(cell: Cell) -> Recurrence:
    traced = trace(cell)
    graph = traced.graph
    counts = [len(product.gates or cell.gates) for product in cell.products]
    pieces = tuple(
        tuple(graph.product(operand, index, piece) for piece in range(counts[index]))
        for index, operand in enumerate(traced.operands)
    )
    gates = tuple(graph.leaf("zx", gate) for gate in range(len(cell.gates)))
    before = tuple(graph.leaf("state", at, state_width(cell, at)) for at in range(len(cell.states)))
    vectors = tuple(graph.leaf("vector", name, "unit") for name in cell.vectors)
    merged = _merged([*traced.states, *traced.operands])
    reverse = reversed_step(graph, gates, before, vectors, pieces, traced.operands, traced.states)
    return Recurrence(
        cell, graph, gates, before, vectors, pieces, traced.operands, traced.states, merged, reverse
    )


def _merged(roots: Sequence[Node]) -> dict[int, tuple[int, int]]:
    """Return the gates whose zx is read only in one sum with a piece that is read nowhere else."""
    counts, merged = uses(roots), dict[int, tuple[int, int]]()
    for node in reachable(roots):
        if node.op != "sum":
            continue
        alone = {
            argument
            for coefficient, argument in zip(node.value[0], node.args, strict=True)
            if coefficient == 1 and counts[argument] == 1
        }
        zx = [argument for argument in node.args if argument in alone and argument.op == "zx"]
        products = [each for each in node.args if each in alone and each.op == "product"]
        if len(zx) == len(products) == 1:
            merged[zx[0].value] = products[0].value
    return merged
