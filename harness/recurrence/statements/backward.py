"""The reverse of a step as statements: factors of many time steps at once, then one step back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.recurrence.graph import Node
from harness.recurrence.reverse import Anchor, Back, Term
from harness.recurrence.statements.slots import Slot, is_unit
from harness.recurrence.statements.spelling import Spelling


class Backward:
    """The statements of the reverse, each with its slot.

    The gradient of h has an entry per time step, to which one step back adds. That of another state
    has one slot, which each step overwrites; that of a vector is a sum.

    Args:
        spelling: of the engine.
        kept: the values of the forward pass that exist, and their slots.

    Attributes:
        factors: statement of a factor -> its slot.
        leaves: what a step back begins with.
        goals: statement of a step back -> its slot.
        spendable: the leaves that the step may overwrite.
    """

    def __init__(self, spelling: Spelling, kept: Mapping[Node, Slot]) -> None:
        self._spelling, self._kept, self._graph = spelling, kept, spelling.graph
        self._recurrence, self._cell = spelling.recurrence, spelling.recurrence.cell
        self._reverse = self._recurrence.reverse
        factors = self._reverse.factors()
        self._fill = spelling.lowering(self._recurrence, kept, factors, whole=True)
        self._lowering = spelling.lowering(self._recurrence, ())
        self.factors: dict[Node, Slot] = {}
        self.leaves: dict[Node, Slot] = {}
        self.goals: dict[Node, Slot] = {}
        self._slots: dict[Node, Slot] = {}  # of factors that several gradients may need
        self._chunks: dict[Slot, Node] = {}  # slot of a gradient -> its statement
        for at, name in enumerate(self._cell.states):
            slot = Slot(f"d_state_{name}", shift=int(at == 0), timed=at == 0)
            spelling.names.of(slot, f"d_{name}" if at else f"d_new_{name}")
            self._leaf("new", at, slot)
        self.spendable = list(self.leaves)[1:]
        for each in self._reverse.order:
            if isinstance(each, Anchor):
                self._anchor(each)
            else:
                self._back(each)
        for at in range(len(spelling.chunks)):
            self._chunk(at)
        self._vectors()
        for at in range(len(self._cell.states)):
            self._state(at)

    def _leaf(self, op: str, value: object, slot: Slot) -> Node:
        node = self._graph.leaf(op, value, "both" if slot.wide else "sequence")
        self.leaves[node] = slot
        self._lowering.results[node] = 1.0, node
        return node

    def _anchor(self, each: Anchor) -> None:
        scale, total = self._lowering.scaled(self._total(each.terms))
        if each.mean:
            total = self._graph.statement("mean", (total,), width="sequence")
        self._lowering.results[each.node] = scale, total

    def _back(self, each: Back) -> None:
        parts = self._spelling.products[each.index].parts
        rows = [at for at, chunk in enumerate(self._spelling.chunks) if chunk.slot in parts]
        args = [chunk for chunk in map(self._chunk, rows) if chunk is not None]
        if args:
            back = self._graph.statement("back", args, each.index, "both")
            self._lowering.results[each.node] = 1.0, back
            slot = self._spelling.back_slot(each.index)
            self.goals |= {} if slot is None else {back: slot}

    def _chunk(self, at: int) -> Node | None:
        """Return the statement of a gradient of zx or a product; None: it is zero."""
        slot, term = self._spelling.chunks[at]
        if term is None:
            goals = self.factors if self._spelling.fills else self.goals
            self._spelling.aim(goals, {}, self._graph.constant(0.0), slot)
            return None
        if slot not in self._chunks:
            value = self._graph.times(term.anchor, self._factor(term.factor, slot))
            statement = self._lowering.value(value)
            self._chunks[slot] = self._spelling.aim(self.goals, self.leaves, statement, slot)
        return self._chunks[slot]

    def _total(self, terms: Sequence[Term], more: Sequence[Node] = ()) -> Node:
        parts = [self._graph.times(term.anchor, self._factor(term.factor)) for term in terms]
        return self._graph.sum((1.0, part) for part in [*more, *parts])

    def _factor(self, node: Node, gradient: Slot | None = None) -> Node:
        """Return a factor as a value of one step; ``gradient``: the slot that it is for."""
        if not self._exists(node) and gradient is not None and self._spelling.fills:
            self._spelling.aim(self.factors, self._kept, self._fill.value(node), gradient)
            return self._leaf("factor", gradient, gradient)
        scale, bare = (1.0, node) if self._exists(node) else self._fill.scaled(node)
        if not self._exists(bare) and bare not in self._slots:
            wide = bare.width == "both"
            slot = self._slots[bare] = self._spelling.names.new("factor", timed=True, wide=wide)
            self._spelling.aim(self.factors, self._kept, bare, slot)
        if not is_unit(bare):
            slot = self._slots[bare] if bare in self._slots else self._kept[bare]
            bare = self._leaf("factor", slot, slot)
        return self._graph.times(self._graph.constant(scale), bare)

    def _exists(self, node: Node) -> bool:
        """Say whether a value needs no factor: no gradient overwrites it."""
        exists = node in self._kept and (self._spelling.fills or self._kept[node].buffer != "zx")
        return is_unit(node) or exists

    def _vectors(self) -> None:
        for name, terms in zip(self._cell.vectors, self._reverse.vectors, strict=True):
            if terms:
                slot = Slot(f"d_vector_{name}", timed=False)
                self._spelling.names.of(slot, f"d_own_{name}")
                total = self._total(terms, [self._leaf("vector_sum", name, slot)])
                self._spelling.aim(self.goals, self.leaves, self._lowering.value(total), slot)

    def _state(self, at: int) -> None:
        """Add to the gradient of the old h, or overwrite that of another new state."""
        slot = Slot(f"d_state_{self._cell.states[at]}", timed=at == 0)
        self._spelling.names.of(slot, "d_old_h")
        more = [] if at else [self._leaf("output", at, slot)]
        backs = {
            each.node: self._lowering.results[each.node][1]
            for each in self._reverse.order
            if isinstance(each, Back) and each.state == at and each.node in self._lowering.results
        }
        added = {node: back for node, back in backs.items() if back not in self.goals}
        more += [node for node in backs if node not in added]
        statement = self._lowering.value(self._total(self._reverse.state[at], more))
        for back in added.values():
            is_zero = statement.op == "constant"
            args = [statement, *back.args]
            statement = (
                back if is_zero else self._graph.statement("addback", args, back.value, "both")
            )
        self._spelling.aim(self.goals, self.leaves, statement, slot)
