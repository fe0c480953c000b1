"""What a cell's kernel does when, and what it keeps: decided from the graph, before any text.

A stage is what follows one round of products. Forwards stage 0 has the products of old states; a
product of a value that the step computes waits for the stage that ends with it. Backwards stage 0
begins with the gradients of the new states; an inner product cuts there as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from harness.contract import UnsupportedError
from harness.recurrence import Anchor, Node, Recurrence, Term, reachable

MOST = 32  # as in kernel.h
MOST_VECTORS = 4


@dataclass(frozen=True)
class Group:
    """Pieces ``first`` .. ``first + count - 1`` of a product, which share a tile."""

    stage: int
    product: int
    first: int
    count: int


class Plan:
    """The stages of a cell, and where its values lie.

    A zx that is read in its sum with a piece of a product alone begins that piece's tile: here the
    node of the piece stands for both, and that zx for 0.

    Attributes:
        after, operands: as in ``Recurrence``.
        zx, products, state, vectors, anchors: the terms of ``Reverse``.
        kept: the values kept for the reverse or a later stage -> their slot: below G in the place
            of that gate, from G on an array of its own. ``keep`` fills it.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        self.recurrence, reverse = recurrence, recurrence.reverse
        _check(recurrence)
        self._renewed: dict[Node, Node] = {
            recurrence.gates[gate]: recurrence.graph.constant(0.0) for gate in recurrence.merged
        }
        self.after = tuple(map(self._at, recurrence.after))
        self.operands = tuple(map(self._at, recurrence.operands))
        self.pieces = tuple(tuple(map(self._at, parts)) for parts in recurrence.pieces)
        self.zx = tuple(map(self._term, reverse.zx))
        self.products = tuple(tuple(map(self._term, row)) for row in reverse.products)
        self.state = tuple(tuple(map(self._some, row)) for row in reverse.state)
        self.vectors = tuple(tuple(map(self._some, row)) for row in reverse.vectors)
        self.anchors = {
            each.node: tuple(map(self._some, each.terms))
            for each in reverse.order
            if isinstance(each, Anchor)
        }
        self._stages: dict[Node, int] = {}
        self.kept: dict[Node, int] = {}

    # Forwards.

    def stage_of(self, node: Node) -> int:
        """Return the stage in which a value of the step can be computed first."""
        if node not in self._stages:
            if node.op == "product":
                self._stages[node] = self.product_stage(node.value[0])
            else:
                self._stages[node] = max(map(self.stage_of, node.args), default=0)
        return self._stages[node]

    def product_stage(self, index: int) -> int:
        """Return the stage that begins with a product."""
        operand = self.operands[index]
        return 0 if operand.op == "state" else self.stage_of(operand) + 1

    @cached_property
    def inner(self) -> tuple[bool, ...]:
        """Per product, whether it is taken of a value that the step computes."""
        return tuple(operand.op != "state" for operand in self.operands)

    @cached_property
    def stages(self) -> int:
        """The number of stages forwards."""
        return 1 + max(map(self.product_stage, range(len(self.operands))), default=0)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The tiles of all stages forwards."""
        return tuple(self._groups())

    def _groups(self) -> Iterator[Group]:
        for index, parts in enumerate(self.pieces):
            tiles = -(-len(parts) // MOST_VECTORS)
            cuts = [len(parts) * tile // tiles for tile in range(tiles + 1)]
            for first, end in pairwise(cuts):
                yield Group(self.product_stage(index), index, first, end - first)

    def units(self, stage: int) -> int:
        """Return how many vectors of hidden units a panel of a stage holds."""
        counts = [group.count for group in self.groups if group.stage == stage]
        return max(1, MOST_VECTORS // max(counts, default=1))

    def results(self, stage: int) -> list[Node]:
        """Return what a stage computes and stores, each once."""
        inner = [node for index, node in enumerate(self.operands) if self.inner[index]]
        nodes = dict.fromkeys((*self.kept, *self.after, *inner))
        return [node for node in nodes if self.stage_of(node) == stage]

    def in_memory(self, node: Node, stage: int) -> bool:
        """Say whether a stage forwards reads a value where it lies, or in its tile."""
        if node.op in {"state", "zx"} or node.width != "both":
            return True
        if node.op == "product" and self.stage_of(node) == stage:
            return True
        return self.stage_of(node) < stage and (node in self.kept or self._results_hold(node))

    def _results_hold(self, node: Node) -> bool:
        return node in self.after or node in self._inner

    @cached_property
    def _inner(self) -> set[Node]:
        return {node for index, node in enumerate(self.operands) if self.inner[index]}

    # Backwards.

    @cached_property
    def _reverse_stages(self) -> dict[Node, int]:
        stages: dict[Node, int] = {}
        for index in range(len(self.after)):
            stages[self.recurrence.graph.leaf("new", index)] = 0
        for each in self.recurrence.reverse.order:
            if isinstance(each, Anchor):
                stages[each.node] = max(stages[term.anchor] for term in each.terms)
            elif each.state is None:
                row = [term for term in self.products[each.index] if term is not None]
                stages[each.node] = 1 + max((stages[term.anchor] for term in row), default=0)
        return stages

    def reverse_stage(self, term: Term | None) -> int:
        """Return the stage of a term; of a gradient that is 0, the last."""
        return self.reverse_stages - 1 if term is None else self._reverse_stages[term.anchor]

    def anchor_stage(self, anchor: Node) -> int:
        """Return the stage that computes an anchor, or begins with it."""
        return self._reverse_stages[anchor]

    def back_stage(self, index: int) -> int:
        """Return the stage that begins with the gradient of a product's operand."""
        if not self.inner[index]:
            return 0
        return self._reverse_stages[self.recurrence.graph.leaf("back", index)]

    @cached_property
    def reverse_stages(self) -> int:
        """The number of stages backwards."""
        return 1 + max(self._reverse_stages.values())

    def back_tiles(self, stage: int) -> list[Node]:
        """Return what a stage backwards begins with, a tile each: ``new`` or ``back`` leaves."""
        graph = self.recurrence.graph
        if stage == 0:
            states = {node.value for node in self.operands if node.op == "state"}
            return [graph.leaf("new", state) for state in sorted(states)]
        inner = [index for index in range(len(self.operands)) if self.inner[index]]
        return [graph.leaf("back", each) for each in inner if self.back_stage(each) == stage]

    def back_tile(self, index: int) -> int:
        """Return the tile in which the gradient of a product's operand arrives."""
        operand, graph = self.operands[index], self.recurrence.graph
        inner = self.inner[index]
        leaf = graph.leaf("back", index) if inner else graph.leaf("new", operand.value)
        return self.back_tiles(self.back_stage(index)).index(leaf)

    @cached_property
    def shared(self) -> tuple[int | None, ...]:
        """Per product, the first of the gates whose d_zx is its gradient; None: kept apart."""
        where = {piece: gate for gate, piece in self.recurrence.merged.items()}
        firsts: list[int | None] = []
        for index, parts in enumerate(self.pieces):
            gates = [where.get((index, piece)) for piece in range(len(parts))]
            first = gates[0]
            alike = first is not None and gates == list(range(first, first + len(parts)))
            firsts.append(first if alike else None)
        return tuple(firsts)

    def terms_at(self, stage: int) -> list[Term]:
        """Return every term of a stage backwards, anchors' included."""
        rows = (
            *(terms for node, terms in self.anchors.items() if self.anchor_stage(node) == stage),
            *([term] for row in (self.zx, *self.products) for term in row if term is not None),
            *self.state,
            *self.vectors,
        )
        anchors = {id(t) for node, terms in self.anchors.items() for t in terms}
        return [
            term
            for row in rows
            for term in row
            if id(term) in anchors or self.reverse_stage(term) == stage
        ]

    @cached_property
    def held(self) -> tuple[Node, ...]:
        """The gradients that a later stage reads again."""
        anchors: dict[Node, None] = {}
        for stage in range(1, self.reverse_stages):
            for term in self.terms_at(stage):
                if self.anchor_stage(term.anchor) < stage:
                    anchors[term.anchor] = None
        return tuple(anchors)

    # Values kept.

    @cached_property
    def extra(self) -> int:
        """The number of values kept outside the place of zx."""
        return sum(slot >= len(self.recurrence.gates) for slot in self.kept.values())

    def is_kept(self, node: Node) -> bool:
        """Say whether the reverse reads a value where it lies."""
        if node.op == "state" or node.width != "both":
            return True
        return node in self.kept or self._results_hold(node)

    def all_terms(self) -> Iterator[Term]:
        """Yield every term of the reverse."""
        for row in (self.zx, *self.products, *self.state, *self.vectors, *self.anchors.values()):
            yield from (term for term in row if term is not None)

    def needed(self, roots: Sequence[Node], stop: Callable[[Node], bool]) -> set[Node]:
        """Return the roots and what they are computed from, up to values where ``stop`` holds."""
        reached: set[Node] = set()
        waiting = list(roots)
        while waiting:
            node = waiting.pop()
            if node not in reached:
                reached.add(node)
                waiting += [] if stop(node) else node.args
        return reached

    # The graph without the zx that begin a tile.

    def _at(self, node: Node) -> Node:
        if node not in self._renewed:
            args = [self._at(argument) for argument in node.args]
            same = all(a is b for a, b in zip(args, node.args, strict=True))
            graph = self.recurrence.graph
            self._renewed[node] = (
                node
                if same
                else graph.pair(*args)
                if node.op == "times"
                else graph.again(node, args)
            )
        return self._renewed[node]

    def _some(self, term: Term) -> Term:
        return Term(term.anchor, self._at(term.factor))

    def _term(self, term: Term | None) -> Term | None:
        return None if term is None else self._some(term)


def _refusal(recurrence: Recurrence) -> str | None:
    cell, graph = recurrence.cell, recurrence.graph
    roots = [*recurrence.after, *recurrence.operands, *recurrence.reverse.factors()]
    if any(node.op == "mean" for node in reachable(roots)):
        return f"the kernel has no mean, which {cell.name} takes"
    counts = (len(cell.states), len(cell.products), len(cell.vectors), len(cell.gates))
    if max(counts) > MOST:
        return f"the kernel takes up to {MOST} gates, states, products and vectors of a cell"
    if any(node.width == "sequence" for node in graph.nodes.values()):
        return f"the kernel has no values (B, 1), as in {cell.name}"
    if any(operand.width != "both" for operand in recurrence.operands):
        return f"the kernel takes products of values (B, H) alone, not as in {cell.name}"
    return None


def _check(recurrence: Recurrence) -> None:
    if reason := _refusal(recurrence):
        raise UnsupportedError(reason)
