"""The order of statements, and the slot of each result."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.recurrence.graph import Node
from harness.recurrence.statements.slots import Code, Slot, is_unit
from harness.recurrence.statements.spelling import Spelling


class Schedule(Code):
    """The statements of one function.

    A statement comes just before the first that reads it, together with those that can come now and
    do the same with neighbouring slots.

    Args:
        spelling: of the engine.
        slots: of the values that exist.
        goals: statement -> the slot that its result must lie in.
        kept: statements whose results stay for all time steps, in any slot.
        spendable: existing values that may be overwritten once they are read.
        whole: of all time steps at once; nothing is joined then.

    Attributes:
        slots: of all values, in the end.
    """

    def __init__(
        self,
        spelling: Spelling,
        slots: Mapping[Node, Slot],
        goals: Mapping[Node, Slot],
        kept: Collection[Node] = (),
        spendable: Collection[Node] = (),
        *,
        whole: bool = False,
    ) -> None:
        super().__init__(spelling.names)
        self._spelling, self._whole = spelling, whole
        self.slots, self._goals, self._kept = dict(slots), goals, set(kept)
        self._occupants = {slot: node for node, slot in slots.items()}
        self._spendable, self._scratch = set(spendable), set[Slot]()
        self._free: list[Slot] = []
        self._reserved: dict[Node, Slot] = {}
        self._late: dict[Node, Slot] = {}  # goals that were occupied when their time came
        self._readers: dict[Node, set[Node]] = {}  # statements to come
        self._waiting = self._all([*goals, *kept])
        for node in [*goals, *kept]:
            self._compute(node)
        for node, slot in self._late.items():
            copy = spelling.graph.statement("copy", (node,), slot)
            spelling.statement(self, [copy], slot, self.name(slot), [self._at(node)])

    def _all(self, roots: Iterable[Node]) -> list[Node]:
        """Return all statements, in the order of the graph; note who reads what."""
        waiting, result = list(roots), set[Node]()
        while waiting:
            node = waiting.pop()
            if node not in result and not self._exists(node):
                result.add(node)
                waiting += node.args
                for argument in node.args:
                    self._readers.setdefault(argument, set()).add(node)
        return sorted(result, key=lambda node: node.index)

    def _at(self, node: Node) -> str:
        """Return the name or number of a value that exists."""
        if node.op == "constant":
            return repr(node.value)
        if is_unit(node):
            return self.fix(self.names.unit(node), "unit", node)
        return self.name(self.slots[node])

    def _exists(self, node: Node) -> bool:
        return node in self.slots or is_unit(node)

    def _compute(self, node: Node) -> None:
        """Write a statement, and before it what it needs."""
        for argument in () if self._exists(node) else node.args:
            self._compute(argument)
        if self._exists(node):
            return
        if node.op != "product":
            self._call(self._joined(node))
            return
        (operand,), (index, _) = node.args, node.value
        pieces = self._spelling.pieces(index, operand)
        kept = [piece in self._kept for piece in pieces]
        slots = self._spelling.product(self, index, self._at(operand), kept)
        for piece, slot in zip(pieces, slots, strict=True):
            self._finish(piece, slot)

    def _call(self, nodes: Sequence[Node]) -> None:
        slots = [self._position(node) or self._new(node) for node in nodes]
        columns = list(zip(*(node.args for node in nodes), strict=True))
        several = len(nodes) > 1
        shared = any(each[0] is each[-1] for each in columns if not is_unit(each[0]))
        axis = several and shared and self._spelling.flat
        args = [
            self._at(each[0])
            if is_unit(each[0])
            else self.name(self.slots[each[0]].to(self.slots[each[-1]], axis=axis))
            for each in columns
        ]
        slot = slots[0].to(slots[-1], axis=axis)
        self._spelling.statement(self, nodes, slot, self.name(slot), args)
        for node, own in zip(nodes, slots, strict=True):
            self._finish(node, own)

    def _finish(self, node: Node, slot: Slot) -> None:
        """Note where a result lies, and free the slots of what nothing reads any more."""
        self.slots[node], self._occupants[slot] = slot, node
        self._spendable.add(node)
        for argument in dict.fromkeys(node.args):
            readers = self._readers.get(argument, set())
            readers.discard(node)
            old = self.slots.get(argument)
            lives = old is not None and self._occupants[old] is argument
            if old in self._scratch and lives and not readers and argument not in self._late:
                self._free.append(old)

    def _joined(self, node: Node) -> list[Node]:
        """Return a statement with its neighbours, in the order of their slots."""
        nodes = [node]
        if not self._whole and node.op != "mean":
            while (before := self._neighbour(nodes[0], -1)) is not None:
                nodes.insert(0, before)
            while (after := self._neighbour(nodes[-1], 1)) is not None:
                nodes.append(after)
        return nodes

    def _neighbour(self, node: Node, distance: int) -> Node | None:
        fitting = (each for each in self._waiting if self._fits(node, each, distance))
        return next(fitting, None)

    def _fits(self, node: Node, other: Node, distance: int) -> bool:
        """Say whether a statement can come now and does the same in slots at a distance."""
        if (
            (other.op, other.width) != (node.op, node.width)
            or (other.value != node.value and node.op not in self._spelling.mixed)
            or other in self.slots
            or not all(map(self._exists, other.args))
        ):
            return False
        moved = [pair for pair in zip(node.args, other.args, strict=True) if pair[0] is not pair[1]]
        for mine, theirs in moved:
            if is_unit(mine) or is_unit(theirs):
                return False
            if self.slots[theirs] != self.slots[mine].moved(distance):
                return False
        here, there = self._position(node), self._position(other)
        if here is None or there is None:
            will_be = here is there and all(each in self._kept for each in (node, other))
            return bool(moved) and will_be and not self._spelling.flat
        return bool(moved) and there == here.moved(distance)

    def _position(self, node: Node) -> Slot | None:
        """Return the slot of a result if it needs no new one."""
        if node in self._goals:
            return self._goals[node] if self._is_free(self._goals[node], node) else None
        for part in node.args:
            if self._may_overwrite(part, node):
                return self.slots[part]
        if node in self._kept:
            return self._reserved.get(node)
        goal = self._goals.get(self._reader(node))
        fits = goal is not None and goal.wide == (node.width == "both")
        return goal if goal is not None and fits and self._is_free(goal, node) else None

    def _reader(self, node: Node) -> Node:
        """Return the one statement that reads a value; the value if there are others."""
        readers = self._readers.get(node, set())
        return next(iter(readers)) if len(readers) == 1 else node

    def _is_free(self, slot: Slot, node: Node) -> bool:
        """Say whether nothing but ``node`` reads what lies in a slot."""
        occupant = self._occupants.get(slot)
        return occupant is None or self._readers.get(occupant, set()) <= {node}

    def _may_overwrite(self, part: Node, node: Node) -> bool:
        slot = self.slots.get(part)
        return (
            slot is not None
            and part in self._spendable
            and part not in self._kept
            and part not in self._goals
            and part.width == node.width
            and self._readers[part] == {node}
            and (slot.timed or node not in self._kept)
        )

    def _new(self, node: Node) -> Slot:
        reader = self._reader(node)
        if node in self._goals:
            self._late[node] = self._goals[node]
        elif node in self._kept:
            return self._spelling.new_kept(node)
        elif (
            reader in self._kept
            and reader not in self._goals
            and reader.width == node.width
            and reader.op != "product"
            and not any(self._may_overwrite(part, reader) for part in reader.args)
        ):
            self._reserved[reader] = self._spelling.new_kept(reader)
            return self._reserved[reader]
        wide = node.width == "both"
        slot = next((each for each in self._free if each.wide == wide), None)
        if slot is None:
            kind = "whole" if self._whole else "part"
            slot = self.names.new(kind, timed=self._whole, wide=wide)
            self._scratch.add(slot)
        else:
            self._free.remove(slot)
        return slot
