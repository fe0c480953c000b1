"""What an engine says about itself: where values lie, its operations, and how they are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from harness.recurrence.derived import Recurrence
from harness.recurrence.graph import Node
from harness.recurrence.reverse import Term
from harness.recurrence.statements.lowering import Lowering
from harness.recurrence.statements.slots import Code, Names, Slot


class Chunk(NamedTuple):
    """The slot of a gradient of H units, of zx or of a product; ``term`` None: it is zero."""

    slot: Slot
    term: Term | None


class Spelling(ABC):
    """How an engine writes the program of a recurrence.

    Attributes:
        flat: the parts of a buffer lie side by side in its last axis, (B, n*H); a step overwrites
            zx; False: the parts are an axis before B.
        fills: a factor lies where the gradient that it gives will; False: gradients of zx overwrite
            zx.
        lowering: to the engine's operations.
        mixed: operations that are joined with neighbours although their ``value`` differs.
        reserved: names that no value may have.
    """

    lowering: ClassVar[type[Lowering]]
    flat: ClassVar[bool]
    fills: ClassVar[bool]
    mixed: ClassVar[frozenset[str]] = frozenset({"copy"})
    reserved: ClassVar[tuple[str, ...]] = ()

    def __init__(self, recurrence: Recurrence) -> None:
        self.recurrence, self.graph = recurrence, recurrence.graph
        self.names = Names(self.reserved, flat=self.flat)
        self.chunks, self.products = self.laid_out()

    @abstractmethod
    def laid_out(self) -> tuple[list[Chunk], list[Slot]]:
        """Return where gradients lie: all chunks, and of each product its pieces; name them."""

    @abstractmethod
    def inputs(self) -> Mapping[Node, Slot]:
        """Return the slots of the zx that are read by themselves, and name all."""

    @abstractmethod
    def statement(
        self, code: Code, nodes: Sequence[Node], slot: Slot, y: str, args: Sequence[str]
    ) -> None:
        """Write nodes of one operation, in neighbouring slots, into ``slot``, named ``y``."""

    @abstractmethod
    def product(self, code: Code, index: int, x: str, kept: Sequence[bool]) -> Sequence[Slot]:
        """Write a learnt product of ``x``; return the slots of its pieces.

        A kept one must lie in a slot with an entry per time step.
        """

    @abstractmethod
    def head(self, lines: Sequence[str]) -> str:
        """Return the imports that the lines need."""

    def label(self, node: Node) -> str:
        """Return a name for a kept value, or an empty text."""
        return ""

    def new_kept(self, node: Node) -> Slot:
        """Return a new slot for a value that is kept."""
        wide, label = node.width == "both", self.label(node)
        return self.names.new("kept", timed=True, wide=wide, label=label)

    def pieces(self, index: int, operand: Node) -> list[Node]:
        """Return the pieces of a product."""
        count = len(self.recurrence.pieces[index])
        return [self.graph.product(operand, index, at) for at in range(count)]

    def operand_slots(self) -> Mapping[Node, Slot]:
        """Return operands of products that must lie in slots of their own."""
        return {}

    def back_slot(self, index: int) -> Slot | None:
        """Return where a product of the reverse is written.

        None: anywhere; and ``addback`` adds it to a value.
        """
        return None

    def aim(
        self, goals: dict[Node, Slot], leaves: Mapping[Node, Slot], statement: Node, slot: Slot
    ) -> Node:
        """Note the slot of a result; return the statement that leaves it there."""
        if leaves.get(statement) == slot:
            return statement
        exists = statement in {*goals, *leaves} or statement.op == "product"
        if exists or slot.wide != (statement.width == "both"):
            statement = self.graph.statement("copy", (statement,), slot, "both")
        goals[statement] = slot
        return statement
