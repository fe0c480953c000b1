"""A recurrence rewritten for arrays: a product that meets zx in one sum is added to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.recurrence.derived import Recurrence
from harness.recurrence.graph import Graph, Node, reachable
from harness.recurrence.reverse import reversed_step
from harness.recurrence.statements.slots import is_unit


def prepared(
    recurrence: Recurrence,
    scales: Mapping[Node, float] | None = None,
    tanh: Callable[[Graph, Node], Node] = lambda graph, x: graph.unary("tanh", x),
) -> Recurrence:
    """Rewrite the graph of a cell, in a graph of its own.

    A merged gate is zero and its piece of the product has the sum; both have its gradient.

    Args:
        recurrence: of the cell.
        scales: of gates, pieces and states: what they are multiplied by beforehand.
        tanh: makes that function of a value (B, H) or (B, 1).
    """
    graph, scales = Graph(), scales or {}
    merged = {recurrence.gates[gate] for gate in recurrence.merged}
    counts = [len(row) for row in recurrence.pieces]
    new: dict[Node, Node] = {}
    for node in reachable([*recurrence.after, *recurrence.operands]):
        args = [new[argument] for argument in node.args]
        if node in merged:
            new[node] = graph.constant(0.0)
        elif node.op == "product":  # all pieces in order, also those that nothing reads
            index, at = node.value
            new[node] = [graph.product(args[0], index, each) for each in range(counts[index])][at]
        elif node.op == "tanh" and not is_unit(node):
            new[node] = tanh(graph, args[0])
        else:
            new[node] = graph.again(node, args)
        if node in scales:
            new[node] = graph.sum([(1 / scales[node], new[node])])
    gates, before, vectors = (
        tuple(graph.again(node, ()) for node in leaves)
        for leaves in (recurrence.gates, recurrence.before, recurrence.vectors)
    )
    operands = tuple(new[node] for node in recurrence.operands)
    pieces = tuple(
        tuple(graph.product(operand, index, at) for at in range(counts[index]))
        for index, operand in enumerate(operands)
    )
    after = tuple(
        graph.sum([(scales.get(old, 1.0), new[node])])
        for old, node in zip(recurrence.before, recurrence.after, strict=True)
    )
    reverse = reversed_step(graph, gates, before, vectors, pieces, operands, after)
    zx = list(reverse.zx)
    for gate, (index, piece) in recurrence.merged.items():
        zx[gate] = reverse.products[index][piece]
    return replace(
        recurrence, graph=graph, gates=gates, before=before, vectors=vectors, pieces=pieces,
        operands=operands, after=after, reverse=replace(reverse, zx=tuple(zx)),
    )  # fmt: skip
