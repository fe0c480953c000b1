"""A cell's graph rewritten for tensors that are overwritten: merged sums, doubled leaves.

On a CPU ``tanh`` costs five times ``sigmoid``, so tanh(x) is taken as 2 sigmoid(2x) - 1. The
doubling of x costs nothing if it is in the weights' rows beforehand, or in a state that is kept
doubled. A zx that meets a piece of a product in one sum alone is that piece: the product is added
to zx where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.recurrence import Node, Recurrence, Reverse, reachable
from harness.recurrence.graph import Graph, uses
from harness.recurrence.reverse import reversed_step


@dataclass(frozen=True, eq=False)
class Prepared:
    """The graph that is written as code.

    Attributes:
        recurrence: what it comes from.
        gates: the leaves zx; those of merged gates are not read.
        before, vectors, pieces, operands, after: as in ``Recurrence``, in the new graph.
        gate_scales: what each gate's zx is multiplied by beforehand.
        piece_scales: per product, the same for each piece.
        state_scales: what each state is multiplied by while it is kept.
        reverse: of the new graph; a merged gate has the gradient of its piece.
    """

    recurrence: Recurrence
    gates: tuple[Node, ...]
    before: tuple[Node, ...]
    vectors: tuple[Node, ...]
    pieces: tuple[tuple[Node, ...], ...]
    operands: tuple[Node, ...]
    after: tuple[Node, ...]
    gate_scales: tuple[float, ...]
    piece_scales: tuple[tuple[float, ...], ...]
    state_scales: tuple[float, ...]
    reverse: Reverse

    @property
    def merged(self) -> Mapping[int, tuple[int, int]]:
        """Gate -> (index of a product, its piece)."""
        return self.recurrence.merged


def prepared(recurrence: Recurrence) -> Prepared:
    """Rewrite the graph of a cell."""
    graph, doubled = Graph(), _doubled(recurrence)
    scale = {node: 2.0 if node in doubled else 1.0 for node in _leaves(recurrence)}
    merged = {recurrence.gates[gate] for gate in recurrence.merged}
    rewritten: dict[Node, Node] = {}
    for node in reachable(_roots(recurrence)):
        args = [rewritten[argument] for argument in node.args]
        if node in merged:
            rewritten[node] = graph.constant(0.0)
        elif node in scale:
            bare = _product(recurrence, graph, args[0], node) if args else graph.again(node, ())
            rewritten[node] = graph.sum([(1 / scale[node], bare)])
        elif node.op == "tanh":
            rewritten[node] = graph.unary("tanh_half", graph.sum([(2.0, args[0])]))
        else:
            rewritten[node] = graph.again(node, args)
    gates = tuple(graph.again(node, ()) for node in recurrence.gates)
    before = tuple(graph.again(node, ()) for node in recurrence.before)
    vectors = tuple(graph.again(node, ()) for node in recurrence.vectors)
    operands = tuple(rewritten[node] for node in recurrence.operands)
    pieces = tuple(
        tuple(graph.product(operand, *piece.value) for piece in row)
        for operand, row in zip(operands, recurrence.pieces, strict=True)
    )
    both = zip(recurrence.before, recurrence.after, strict=True)
    after = tuple(graph.sum([(scale[old], rewritten[new])]) for old, new in both)
    return Prepared(
        recurrence, gates, before, vectors, pieces, operands, after,
        tuple(_of_gate(recurrence, scale, gate) for gate in range(len(gates))),
        tuple(tuple(scale[piece] for piece in row) for row in recurrence.pieces),
        tuple(scale[node] for node in recurrence.before),
        reversed_step(graph, gates, before, vectors, pieces, operands, after),
    )  # fmt: skip


def _product(recurrence: Recurrence, graph: Graph, operand: Node, node: Node) -> Node:
    """Return a piece of a product; all its pieces are made in order, also those not read."""
    index, piece = node.value
    count = len(recurrence.pieces[index])
    pieces: list[Node] = [graph.product(operand, index, at) for at in range(count)]
    return pieces[int(piece)]


def _roots(recurrence: Recurrence) -> list[Node]:
    return [*recurrence.after, *recurrence.operands]


def _leaves(recurrence: Recurrence) -> list[Node]:
    pieces = [piece for row in recurrence.pieces for piece in row]
    return [*recurrence.gates, *recurrence.before, *pieces]


def _of_gate(recurrence: Recurrence, scale: Mapping[Node, float], gate: int) -> float:
    if gate not in recurrence.merged:
        return scale[recurrence.gates[gate]]
    product, piece = recurrence.merged[gate]
    return scale[recurrence.pieces[product][piece]]


def _doubled(recurrence: Recurrence) -> set[Node]:
    """Return the leaves that are doubled: those that only the argument of a tanh reads."""
    counts, leaves = uses(_roots(recurrence)), set[Node]()
    for node in reachable(_roots(recurrence)):
        if node.op != "tanh":
            continue
        (argument,) = node.args
        for at, new in enumerate(recurrence.after):
            old = recurrence.before[at]
            alone = counts[new] == 2  # noqa: PLR2004 - as new state and by this tanh
            if new is argument and at and alone and old not in recurrence.operands:
                leaves.add(old)
        if counts[argument] == 1:
            terms = argument.args if argument.op == "sum" else (argument,)
            leaves |= {leaf for term in terms if (leaf := _only_leaf(term, counts))}
    return leaves


def _only_leaf(term: Node, counts: Mapping[Node, int]) -> Node | None:
    """Return a leaf of a term whose doubling doubles the term, and nothing else."""
    factors = term.args if term.op == "times" and counts[term] == 1 else (term,)
    leaves = (each for each in factors if each.op in {"zx", "product"} and counts[each] == 1)
    return next(leaves, None)
