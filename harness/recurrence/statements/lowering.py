"""From a graph in normal form to nodes that one call of an engine computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from harness.recurrence.derived import Recurrence
from harness.recurrence.graph import Node, Width
from harness.recurrence.statements.slots import is_unit

WIDTHS = ("both", "sequence", "unit", "constant")


class Lowering(ABC):
    """Lowers the values of one pass. Values (H,) stay: they are computed before the loop.

    Args:
        recurrence: of the cell; the statements become nodes of its graph.
        leaves: the values that exist.
        roots: all that will be asked for; they tell how often a value is read.
        kept: the values that must exist by themselves.
        whole: of all time steps at once.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        leaves: Iterable[Node],
        roots: Iterable[Node] = (),
        kept: Collection[Node] = (),
        *,
        whole: bool = False,
    ) -> None:
        self.recurrence, self.graph = recurrence, recurrence.graph
        self.kept, self.whole = kept, whole
        # Node -> (c, statement): the value is c times that of the statement.
        self.results: dict[Node, tuple[float, Node]] = {leaf: (1.0, leaf) for leaf in leaves}
        self.reads = self._reads(roots)

    def value(self, node: Node) -> Node:
        """Return the statement that computes a value."""
        statement = self.multiple(*self.scaled(node)[::-1])
        if node in self.results:
            self.results[node] = 1.0, statement
        return statement

    def scaled(self, node: Node) -> tuple[float, Node]:
        """Return (c, statement) for a value that is c times the statement's."""
        if is_unit(node):
            return 1.0, node
        if node not in self.results:
            self.results[node] = self._lowered(node)
        return self.results[node]

    def _lowered(self, node: Node) -> tuple[float, Node]:
        if node.op == "sum":
            (first, *others), constant = node.value
            if constant == 0 and first != 1 and all(each == first for each in others):
                scale, total = self.scaled(self.graph.sum((1.0, each) for each in node.args))
                return first * scale, total
            return 1.0, self.sum(node)
        if node.op == "times":
            return self.times(self.flat(node.args))
        args = [self.value(argument) for argument in node.args]
        if node.op == "product":
            return 1.0, self.graph.product(args[0], *node.value)
        return self.function(node, args)

    def make(self, op: str, *args: Node, value: Any = None, width: Width | None = None) -> Node:
        """Return a statement."""
        return self.graph.statement(op, args, value, width)

    def alone(self, node: Node) -> bool:
        """Say whether one statement may compute a value and use it."""
        exists = is_unit(node) or node in self.results or node in self.kept
        return not exists and self.reads.get(node, 0) <= 1

    def flat(self, args: Iterable[Node]) -> list[Node]:
        """Return the factors of a product, with those of products that only it reads."""
        factors: list[Node] = []
        for part in args:
            inner = part.op == "times" and self.alone(part)
            factors += self.flat(part.args) if inner else [part]
        return factors

    def _reads(self, roots: Iterable[Node]) -> dict[Node, int]:
        counts: dict[Node, int] = {}
        waiting = list(roots)
        while waiting:
            node = waiting.pop()
            counts[node] = counts.get(node, 0) + 1
            if counts[node] == 1 and node not in self.results and not is_unit(node):
                waiting += node.args
        return counts

    def multiple(self, statement: Node, scale: float) -> Node:
        """Return ``scale`` times a statement."""
        if scale == 1 or is_unit(statement):
            return self.graph.sum([(scale, statement)])
        return self.make("multiply", statement, self.graph.constant(scale))

    def times(self, factors: Sequence[Node]) -> tuple[float, Node]:
        """Return a product as (c, statement): a chain."""
        units = [factor for factor in factors if is_unit(factor)]  # one value before the loop
        parts = [self.scaled(factor) for factor in factors if not is_unit(factor)]
        parts.sort(key=lambda part: width_rank(part[1]))
        parts += [(1.0, self.graph.times(*units))] if units else []
        scale, result = parts[0]
        for more, statement in parts[1:]:
            scale, result = scale * more, self.make("multiply", result, statement)
        return scale, result

    @abstractmethod
    def sum(self, node: Node) -> Node:
        """Return a sum."""

    @abstractmethod
    def function(self, node: Node, args: Sequence[Node]) -> tuple[float, Node]:
        """Return any other operation of statements as (c, statement)."""


def width_rank(node: Node) -> int:
    """Return what puts wide values first, so that partial results have their width."""
    return WIDTHS.index(node.width)


def joint(nodes: Iterable[Node]) -> str:
    """Return the width of an elementwise result."""
    distinct = {node.width for node in nodes} - {"constant"}
    return "constant" if not distinct else distinct.pop() if len(distinct) == 1 else "both"


def complement(node: Node) -> Node | None:
    """Return y of a node 1 - y."""
    return node.args[0] if node.op == "sum" and node.value == ((-1.0,), 1.0) else None
