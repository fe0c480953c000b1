"""What a cell's kernel does when, and where its values lie: the stages, and the driver's tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from harness.contract import Cell, UnsupportedError
from harness.recurrence import Recurrence, derive
from harness.recurrence.stages import Stages

MOST = 32  # as in kernel.h
MOST_VECTORS = 4


@dataclass(frozen=True)
class Group:
    """Pieces ``first`` .. ``first + count - 1`` of a product, which share a tile."""

    stage: int
    product: int
    first: int
    count: int


class Plan(Stages):
    """The stages of a cell, with the tiles of its products.

    Attributes:
        groups: the tiles of all stages forwards.
        back_tiles: per stage backwards, what it begins with, a tile each: ``new`` or ``back``.
        shared: per product, the first of the gates whose d_zx is its gradient; None: kept apart.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__(recurrence)
        graph = recurrence.graph
        self.groups = [
            Group(self.stage[parts[0]], index, first, end - first)
            for index, parts in enumerate(self.pieces)
            for tiles in [-(-len(parts) // MOST_VECTORS)]
            for first, end in pairwise(len(parts) * tile // tiles for tile in range(tiles + 1))
        ]
        self._arrives = [
            graph.leaf("back", index) if self.inner[index] else graph.leaf("new", operand.value)
            for index, operand in enumerate(self.operands)
        ]
        self.back_tiles = [
            sorted(
                {leaf for leaf in self._arrives if self.reverse_stage[leaf] == stage},
                key=lambda leaf: int(leaf.value),
            )
            for stage in range(self.reverse_stages)
        ]
        where = {piece: gate for gate, piece in recurrence.merged.items()}
        self.shared: list[int | None] = []
        for index, parts in enumerate(self.pieces):
            gates = [where.get((index, piece), -1) for piece in range(len(parts))]
            alike = gates[0] >= 0 and gates == list(range(gates[0], gates[0] + len(parts)))
            self.shared.append(gates[0] if alike else None)

    @property
    def extra(self) -> int:
        """The number of arrays kept outside the place of zx; a mean takes the first unit of one."""
        return super().extra + len(self.means)

    def tiles(self, stage: int) -> list[Group]:
        """Return the tiles of a stage forwards."""
        return [group for group in self.groups if group.stage == stage]

    def units(self, stage: int) -> int:
        """Return how many vectors of hidden units a panel of a stage holds."""
        return MOST_VECTORS // max((group.count for group in self.tiles(stage)), default=1)

    def back_tile(self, index: int) -> tuple[int, int]:
        """Return the stage and the tile in which the gradient of a product's operand arrives."""
        leaf = self._arrives[index]
        stage = self.reverse_stage[leaf]
        return stage, self.back_tiles[stage].index(leaf)


def plan_of(cell: Cell) -> Plan:
    """Return the plan of a cell, made once per process.

    Raises:
        UnsupportedError: the kernel cannot run the cell; the message says why.
    """
    return _planned(derive(cell))


@lru_cache(maxsize=64)
def _planned(recurrence: Recurrence) -> Plan:
    cell = recurrence.cell
    if reason := recurrence.matrix_refusal("the kernel"):
        raise UnsupportedError(reason)
    if max(map(len, (cell.states, cell.products, cell.vectors, cell.gates))) > MOST:
        raise UnsupportedError(
            f"the kernel takes up to {MOST} gates, states, products and vectors of a cell"
        )
    plan = Plan(recurrence)
    if plan.extra > MOST:
        raise UnsupportedError(
            f"the kernel keeps up to {MOST} values, not {plan.extra} as {cell.name}"
        )
    return plan
