"""When an engine of loops computes each value of a step, and what it keeps: no engine's text.

A stage is one loop over sequences and units. It ends where the next one needs a value of all units:
the operand of a product, or the sum of a mean. Forwards stage 0 has the products of old states;
backwards it begins with the gradients of the new states.

The reverse finds states, operands and means in memory. Of the rest, the products and slow functions
that it reads are kept; a sum is computed again. A kept value may take the place of a gate's zx if
no later stage reads that zx, and if the reverse has read the value when it writes d_zx there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from harness.recurrence.derived import Recurrence
from harness.recurrence.graph import Node, reachable
from harness.recurrence.reverse import Anchor, Term

SLOW = {"sigmoid", "tanh", "exp", "log", "softplus", "sqrt", "divide"}


class Location(NamedTuple):
    """Where a value lies: an array, and its part.

    Forwards: ``zx`` (of a gate), ``product`` (of a product, its piece), ``old`` and ``new`` (of a
    state), ``kept`` (slot), ``operand`` (of a product), ``mean``, ``own`` (the same for all
    sequences). Backwards: ``d_new`` (of a state; all that reaches it), ``d_total`` (that of h),
    ``back`` (of a product), ``held``, ``d_mean``, ``d_zx``, ``d_product``, ``d_vector``, and
    ``carry``: what reaches a state of the time step before past the products.
    """

    array: str
    at: int = 0
    piece: int = 0


@dataclass(frozen=True)
class Gradient:
    """What a stage backwards writes: the sum of some terms; of none: zero.

    Attributes:
        location: for an anchor, ``anchor`` and its number.
        adds: an earlier stage wrote there.
    """

    stage: int
    location: Location
    terms: tuple[Term, ...]
    adds: bool = False


class Stages:
    """The stages of a cell, and where its values lie.

    A zx that is read in its sum with a piece of a product alone is added to that piece: here the
    node of the piece stands for both, and that zx for 0.

    Attributes:
        after, operands, pieces: as in ``Recurrence``.
        inner: per product, whether it is taken of a value that the step computes.
        carried: per state, whether something reaches it past the products, or nothing at all does.
        stage: of each value forwards, the first that can compute it.
        reverse_stage: of each gradient that is an anchor, the first that can read it.
        stages, reverse_stages: how many there are.
        gradients: what the reverse writes, in the order in which it can.
        means, d_means: the means forwards; those backwards, by their anchors.
        held: the anchors that a later stage reads again.
        own: the values (H,) that the step reads, the same for all sequences and time steps.
        kept: values -> slot: below G in the place of that gate, from G on an array of its own.
    """

    def __init__(self, recurrence: Recurrence, *, retake: bool = True) -> None:
        """Plan the step; ``retake``: slow functions that follow from the states are not kept."""
        self.recurrence, graph = recurrence, recurrence.graph
        self._renewed = {recurrence.gates[gate]: graph.constant(0.0) for gate in recurrence.merged}
        self.after = tuple(map(self._at, recurrence.after))
        self.operands = tuple(map(self._at, recurrence.operands))
        self.pieces = tuple(tuple(map(self._at, parts)) for parts in recurrence.pieces)
        self.inner = tuple(operand.op != "state" for operand in self.operands)
        fed = {operand.value for operand in self.operands if operand.op == "state"}
        self.carried = tuple(
            bool(terms) or state not in fed for state, terms in enumerate(recurrence.reverse.state)
        )
        self.reverse_stage = self._reverse_stages()
        self.reverse_stages = 1 + max(self.reverse_stage.values())
        self.gradients = self._gradients()
        self._factors = [term.factor for each in self.gradients for term in each.terms]
        roots = [*self.after, *self.operands, *(node for parts in self.pieces for node in parts)]
        nodes = reachable([*roots, *self._factors])
        self.stage: dict[Node, int] = {}
        for node in nodes:
            waits = node.op == "mean" or (node.op == "product" and node.args[0].op != "state")
            self.stage[node] = max((self.stage[a] for a in node.args), default=0) + waits
        self.means = [node for node in nodes if node.op == "mean"]
        summed = [node.args[0] for node in self.means]
        self.stages = 1 + max(self.stage[node] for node in (*roots, *summed))
        self.d_means = [node for node in self.reverse_stage if node.width == "sequence"]
        self.held = self._held()
        self.own = self._own(nodes)
        self.kept: dict[Node, int] = {}
        self._choose(set(reachable([*self.after, *self.operands])), retake=retake)
        self._assign()

    @property
    def extra(self) -> int:
        """The number of values kept outside the place of zx."""
        return sum(slot >= len(self.recurrence.gates) for slot in self.kept.values())

    # Where values lie.

    def results(self, stage: int) -> list[tuple[Node, Location]]:
        """Return what a stage forwards stores, and where; what ``mean`` gets is summed."""
        pairs = [(node, Location("kept", slot)) for node, slot in self.kept.items()]
        pairs += [(node, Location("new", at)) for at, node in enumerate(self.after)]
        operands = enumerate(self.operands)
        pairs += [(node, Location("operand", at)) for at, node in operands if self.inner[at]]
        pairs += [(node.args[0], Location("mean", at)) for at, node in enumerate(self.means)]
        return [(node, location) for node, location in pairs if self.stage[node] == stage]

    def left(self, node: Node) -> Location | None:
        """Return where the step leaves a value for the reverse; None: it does not."""
        if node.op == "state":
            return Location("old", node.value)
        arrays = {
            "own": self.own, "mean": self.means, "new": self.after, "operand": self.operands,
        }  # fmt: skip
        for array, nodes in arrays.items():
            if node in nodes:
                return Location(array, list(nodes).index(node))
        return Location("kept", self.kept[node]) if node in self.kept else None

    def read_forward(self, node: Node, stage: int) -> Location | None:
        """Return where a stage forwards reads a value; None: it computes it."""
        if node.op == "zx":
            return Location("zx", node.value)
        if node.op == "product" and self.stage[node] == stage:
            return Location("product", *node.value)
        early = self.stage[node] < stage or node.op in {"state", "mean"} or node in self.own
        return self.left(node) if early else None

    def read_reverse(self, node: Node, stage: int) -> Location | None:
        """Return where a stage backwards reads a value or a gradient; None: it computes it."""
        if node not in self.reverse_stage:
            return self.left(node)
        if node in self.d_means:
            return Location("d_mean", self.d_means.index(node))
        if self.reverse_stage[node] < stage:
            return Location("held", self.held.index(node))
        return {"new": Location("d_new", node.value), "back": Location("back", node.value)}.get(
            node.op
        )

    # Backwards.

    def _reverse_stages(self) -> dict[Node, int]:
        graph, reverse = self.recurrence.graph, self.recurrence.reverse
        stages = {graph.leaf("new", state): 0 for state in range(len(self.after))}
        for each in reverse.order:
            if isinstance(each, Anchor):
                stages[each.node] = max(stages[term.anchor] for term in each.terms) + each.mean
            elif each.state is None:
                row = [term for term in reverse.products[each.index] if term is not None]
                stages[each.node] = 1 + max((stages[term.anchor] for term in row), default=0)
        return stages

    def _gradients(self) -> list[Gradient]:
        reverse, gradients = self.recurrence.reverse, list[Gradient]()
        for each in reverse.order:
            if isinstance(each, Anchor):
                stage = self.reverse_stage[each.node] - each.mean
                location = Location("anchor", each.node.value)
                gradients.append(Gradient(stage, location, self._terms(each.terms)))
        for gate, term in enumerate(reverse.zx):
            gradients += self._sums(Location("d_zx", gate), [term], self.reverse_stages - 1)
        for at, row in enumerate(reverse.products):
            last = max((self.reverse_stage[term.anchor] for term in row if term), default=0)
            for piece, term in enumerate(row):
                gradients += self._sums(Location("d_product", at, piece), [term], last)
        for state, terms in enumerate(reverse.state):
            zero = 0 if self.carried[state] else None
            gradients += self._sums(Location("carry", state), terms, zero)
        for vector, terms in enumerate(reverse.vectors):
            gradients += self._sums(Location("d_vector", vector), terms, None)
        return gradients

    def _sums(
        self, location: Location, terms: Sequence[Term | None], zero: int | None
    ) -> Iterator[Gradient]:
        """Yield what each stage adds; ``zero``: the stage that writes a sum of none."""
        some = self._terms(terms)
        stages = sorted({self.reverse_stage[term.anchor] for term in some})
        for stage in stages:
            now = tuple(term for term in some if self.reverse_stage[term.anchor] == stage)
            yield Gradient(stage, location, now, stage > stages[0])
        if not some and zero is not None:
            yield Gradient(zero, location, ())

    def _terms(self, terms: Sequence[Term | None]) -> tuple[Term, ...]:
        return tuple(Term(each.anchor, self._at(each.factor)) for each in terms if each is not None)

    def _held(self) -> list[Node]:
        ordered = sorted(self.gradients, key=lambda each: each.stage)
        late = [
            term.anchor
            for each in ordered
            for term in each.terms
            if self.reverse_stage[term.anchor] < each.stage and term.anchor not in self.d_means
        ]
        return list(dict.fromkeys(late))

    # What is kept.

    def _own(self, nodes: Sequence[Node]) -> list[Node]:
        """Return the values (H,) that others read which are not; a mean is none of them."""
        fixed = set[Node]()
        for node in nodes:
            args = all(each in fixed or each.op == "constant" for each in node.args)
            if node.width == "unit" and args:
                fixed.add(node)
        read = {each for node in nodes if node not in fixed for each in node.args}
        return [node for node in nodes if node in fixed and node in {*read, *self._factors}]

    def _choose(self, forward: set[Node], *, retake: bool) -> None:
        """Fill ``kept``, without slots."""

        def computable(node: Node) -> bool:
            nodes = needed([node], self._is_left)
            return all(
                self._is_left(each) or (each.args and each.op != "product") for each in nodes
            )

        def is_kept(node: Node) -> bool:
            if node.op in {"zx", "product"}:
                return node in forward
            again = computable(node) and (retake or node.width != "both")
            return node in forward and node.op in SLOW and not again

        def is_sum(node: Node) -> bool:
            return node in forward and any(each.op in {"zx", "product"} for each in node.args)

        self._keep_for_later_stages()
        sums = list[Node]()
        for node in needed(
            self._factors, lambda node: self._is_left(node) or is_kept(node) or is_sum(node)
        ):
            if not self._is_left(node) and is_kept(node):
                self.kept[node] = -1
            elif not self._is_left(node) and is_sum(node):
                sums.append(node)
        for node in sums:
            if not computable(node):
                self.kept[node] = -1
        self._keep_for_later_stages()

    def _is_left(self, node: Node) -> bool:
        return node.op == "constant" or self.left(node) is not None

    def _keep_for_later_stages(self) -> None:
        """Keep the products and the slow functions of them that a later stage forwards needs."""
        for stage in reversed(range(1, self.stages)):
            roots = [node for node, _ in self.results(stage)]
            for node in needed(roots, partial(self._stops, stage)):
                if not self._is_read(stage, node) and self._stops(stage, node):
                    self.kept[node] = -1

    def _stops(self, stage: int, node: Node) -> bool:
        """Say whether a stage forwards reads a value, or would have to."""
        early = self.stage[node] < stage and node.op in {"product", *SLOW}
        of_product = early and any(each.op == "product" for each in reachable([node]))
        return of_product or self._is_read(stage, node)

    def _assign(self) -> None:
        """Give each kept value a slot: its own gate's place, another's, or else an array."""
        gates = list(range(len(self.recurrence.gates)))
        origins = {node: self._origins(node) for node in self.kept}
        slots: dict[int, Node] = {}
        for node in sorted(self.kept, key=lambda node: not origins[node]):  # those of a gate first
            fitting = (gate for gate in (*origins[node], *gates) if self._fits(node, gate))
            free = (gate for gate in fitting if gate not in slots)
            slots[next(free, len(gates) + sum(slot >= len(gates) for slot in slots))] = node
        self.kept = {node: slot for slot, node in sorted(slots.items())}

    def _origins(self, node: Node) -> list[int]:
        """Return the gates that a value comes from."""
        gate_of = {piece: gate for gate, piece in self.recurrence.merged.items()}
        origins: dict[int, None] = {}
        waiting = [node]
        while waiting:
            each = waiting.pop(0)
            if each.op == "zx":
                origins[each.value] = None
            elif each.op == "product":
                if each.value in gate_of:
                    origins[gate_of[each.value]] = None
            elif each is node or each not in self.kept:
                waiting += each.args
        return list(origins)

    def _fits(self, node: Node, gate: int) -> bool:
        """Say whether zx of a gate is read before a value takes its place, and d_zx comes after."""
        leaf, written = self.recurrence.gates[gate], Location("d_zx", gate)
        last_read, last_use, end = 0, 0, 0
        if gate in self.recurrence.merged:
            product, piece = self.recurrence.merged[gate]
            last_read = self.stage[self.pieces[product][piece]]
        for stage in range(self.stages):
            roots = [root for root, _ in self.results(stage)]
            if leaf in needed(roots, partial(self._is_read, stage)):
                last_read = stage
        for each in self.gradients:
            if node in needed([term.factor for term in each.terms], self._is_left):
                last_use = max(last_use, each.stage)
            end = each.stage if each.location == written else end
        return last_read <= self.stage[node] and last_use <= end

    def _is_read(self, stage: int, node: Node) -> bool:
        return self.read_forward(node, stage) is not None

    def _at(self, node: Node) -> Node:
        """Return a node without the zx that are added to a piece."""
        if node not in self._renewed:
            args, graph = [self._at(argument) for argument in node.args], self.recurrence.graph
            if all(a is b for a, b in zip(args, node.args, strict=True)):
                self._renewed[node] = node
            else:
                again = graph.pair(*args) if node.op == "times" else graph.again(node, args)
                self._renewed[node] = again
        return self._renewed[node]


def needed(roots: Iterable[Node], stop: Callable[[Node], bool]) -> list[Node]:
    """Return the roots and what they are computed from, up to values where ``stop`` holds."""
    reached: dict[Node, None] = {}
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached[node] = None
            waiting += [] if stop(node) else node.args
    return sorted(reached, key=lambda node: node.index)
