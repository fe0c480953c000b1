"""How PyTorch takes a recurrence: leaves doubled for a cheap tanh, gradients side by side."""

from __future__ import annotations

from collections.abc import Mapping

from harness.recurrence import Node, Recurrence, reachable
from harness.recurrence.graph import Graph, uses
from harness.recurrence.statements.prepared import prepared


class Form:
    """A recurrence with scaled leaves, and the columns of ``d_gates`` in units of H.

    On a CPU ``tanh`` costs five times ``sigmoid``, so tanh(x) is taken as 2 sigmoid(2x) - 1. The
    doubling of x costs nothing if it is in the weights' rows beforehand, or in a state that is kept
    doubled.

    The gradient of a merged piece is that of its gate, so a product whose merged gates are
    neighbours shares them with zx, and has its other pieces before or after zx. Only one product
    can have its pieces on either side; the pieces of others are kept twice.

    Attributes:
        recurrence: the new one.
        gates, states: what each zx, and each state while it is kept, is multiplied by.
        pieces: per product, the same of its pieces.
        merged: per product, gate -> its piece, for merged gates.
        free: per product, its other pieces.
        orders: per product, all its pieces as they lie in the columns.
        firsts: per product, its first column.
        zx: the first column of zx; the gates follow each other.
        others: column -> (product, piece), of the columns that are not of zx.
    """

    def __init__(self, old: Recurrence) -> None:
        scales = dict.fromkeys(_doubled(old), 2.0)
        leaves = dict(enumerate(old.gates))
        leaves |= {gate: old.pieces[index][piece] for gate, (index, piece) in old.merged.items()}
        self.recurrence = prepared(old, scales, _tanh)
        self.gates = [scales.get(leaves[gate], 1.0) for gate in range(len(leaves))]
        self.states = [scales.get(state, 1.0) for state in old.before]
        self.pieces = [[scales.get(piece, 1.0) for piece in pieces] for pieces in old.pieces]
        self.merged: list[dict[int, int]] = [{} for _ in old.pieces]
        for gate, (index, piece) in sorted(old.merged.items()):
            self.merged[index][gate] = piece
        self.free = [
            [at for at in range(len(pieces)) if at not in merged.values()]
            for pieces, merged in zip(old.pieces, self.merged, strict=True)
        ]
        self._lay_out(len(old.gates))

    def _lay_out(self, count: int) -> None:
        """Choose the columns."""
        runs = {
            index: range(min(merged), max(merged) + 1)
            for index, merged in enumerate(self.merged)
            if merged and max(merged) - min(merged) == len(merged) - 1
        }
        with_others = {index: run for index, run in runs.items() if self.free[index]}
        before = next((k for k, run in with_others.items() if run.start == 0), None)
        after = next(
            (k for k, run in with_others.items() if k != before and run.stop == count), None
        )
        self.zx = 0 if before is None else len(self.free[before])
        end = self.zx + count + (0 if after is None else len(self.free[after]))
        self.orders, self.firsts = list[list[int]](), list[int]()
        self.others: dict[int, tuple[int, int]] = {}
        for index, merged in enumerate(self.merged):
            order, free = list(merged.values()), self.free[index]
            apart, start = free, self.zx + count  # where free pieces go
            if index == before:
                order, first, start = [*free, *order], 0, 0
            elif index in runs and (index == after or not free):
                order, first = [*order, *free], self.zx + runs[index].start
            else:
                order = apart = [*order, *free]
                first = start = end
                end += len(order)
            self.orders.append(order)
            self.firsts.append(first)
            self.others |= {start + at: (index, piece) for at, piece in enumerate(apart)}
        self.columns = end


def _tanh(graph: Graph, x: Node) -> Node:
    return graph.unary("tanh_half", graph.sum([(2.0, x)]))


def _doubled(recurrence: Recurrence) -> set[Node]:
    """Return the leaves that are doubled: those that only the argument of a tanh reads."""
    roots = [*recurrence.after, *recurrence.operands]
    counts, leaves = uses(roots), set[Node]()
    for node in reachable(roots):
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
