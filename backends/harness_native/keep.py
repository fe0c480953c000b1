"""Which values of a step are kept for its reverse or for a later stage, and where.

The product of a stage and the slow functions are kept, unless they follow from the states; a sum is
computed again. A value may take the place of a gate's zx if no later stage reads that zx, and if
the reverse has read the value when it writes d_zx there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from harness.contract import Cell, UnsupportedError
from harness.recurrence import Node, Recurrence, derive, reachable
from harness_native.plan import MOST, Plan

SLOW = {"sigmoid", "tanh", "exp", "log", "softplus", "sqrt", "divide"}


def plan_of(cell: Cell) -> Plan:
    """Return the plan of a cell, made once per process.

    Raises:
        UnsupportedError: the kernel cannot run the cell; the message says why.
    """
    return _planned(derive(cell))


@lru_cache(maxsize=64)
def _planned(recurrence: Recurrence) -> Plan:
    plan = Plan(recurrence)
    keep(plan)
    return plan


def keep(plan: Plan) -> None:
    """Fill ``plan.kept``: each value with its slot.

    Raises:
        UnsupportedError: there are too many.
    """
    _Choice(plan).run()
    plan.kept = _Slots(plan).run()
    if plan.extra > MOST:
        name = plan.recurrence.cell.name
        raise UnsupportedError(f"the kernel keeps up to {MOST} values, not {plan.extra} as {name}")


class _Choice:
    """Finds the values."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._forward = set(reachable([*plan.after, *plan.operands]))
        self._free: dict[Node, bool] = {}

    def run(self) -> None:
        """Add them to ``plan.kept``."""
        sums: list[Node] = []
        self._cross_all()
        for term in self._plan.all_terms():
            self._need(term.factor, sums)
        for node in sums:
            if not self._computable(node):
                self._plan.kept[node] = -1
        self._cross_all()

    def _cross_all(self) -> None:
        for stage in reversed(range(1, self._plan.stages)):
            self._cross(self._plan.results(stage), stage)

    def _cross(self, roots: Iterable[Node], stage: int) -> None:
        """Keep what a stage needs of the stages before it."""
        for node in roots:
            if self._plan.in_memory(node, stage):
                continue
            earlier = self._plan.stage_of(node) < stage and not self._is_free(node)
            if earlier and (node.op == "product" or node.op in SLOW):
                self._plan.kept[node] = -1
            else:
                self._cross(node.args, stage)

    def _is_free(self, node: Node) -> bool:
        """Say whether a value depends on no product."""
        if node not in self._free:
            self._free[node] = node.op != "product" and all(map(self._is_free, node.args))
        return self._free[node]

    def _need(self, node: Node, sums: list[Node]) -> None:
        """Keep the leaves and the slow functions that the reverse reads; list the sums."""
        if self._plan.is_kept(node) or node in sums:
            return
        if node in self._forward:
            if node.op in {"zx", "product"} or (node.op in SLOW and not self._computable(node)):
                self._plan.kept[node] = -1
                return
            if any(argument.op in {"zx", "product"} for argument in node.args):
                sums.append(node)
                return
        for argument in node.args:
            self._need(argument, sums)

    def _computable(self, node: Node) -> bool:
        """Say whether the reverse can compute a value of the step from what it has."""
        if self._plan.is_kept(node):
            return True
        return bool(node.args) and node.op != "product" and all(map(self._computable, node.args))


class _Slots:
    """Gives each kept value a gate's place: its own, another, or else an array."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def run(self) -> dict[Node, int]:
        """Return each value with its slot, in the order of the slots."""
        plan, gates = self._plan, len(self._plan.recurrence.gates)
        fits = {
            node: [gate for gate in self._by_nearness(node) if self._fits(node, gate)]
            for node in plan.kept
        }
        owner: dict[int, Node] = {}

        def placed(node: Node, tried: set[int]) -> bool:
            for gate in fits[node]:
                if gate not in tried:
                    tried.add(gate)
                    if gate not in owner or placed(owner[gate], tried):
                        owner[gate] = node
                        return True
            return False

        for node in plan.kept:
            placed(node, set())
        rest = iter(range(gates, gates + len(plan.kept)))
        slots = {node: gate for gate, node in owner.items()}
        slots |= {node: next(rest) for node in plan.kept if node not in slots}
        return dict(sorted(slots.items(), key=lambda item: item[1]))

    def _by_nearness(self, node: Node) -> list[int]:
        """Return the gates, those that a value comes from first."""
        gate_of = {piece: gate for gate, piece in self._plan.recurrence.merged.items()}
        near: dict[int, None] = {}
        waiting = [node]
        while waiting:
            each = waiting.pop(0)
            if each.op == "zx":
                near[each.value] = None
            elif each.op == "product":
                if each.value in gate_of:
                    near[gate_of[each.value]] = None
            elif each is node or each not in self._plan.kept:
                waiting += each.args
        return [*near, *(g for g in range(len(self._plan.recurrence.gates)) if g not in near)]

    def _fits(self, node: Node, gate: int) -> bool:
        """Say whether zx of a gate is read before a value takes its place, and d_zx comes after."""
        read = self._last_read(gate) <= self._plan.stage_of(node)
        return read and self._last_use(node) <= self._plan.reverse_stage(self._plan.zx[gate])

    def _last_read(self, gate: int) -> int:
        """Return the last stage forwards that reads zx of a gate."""
        if gate in self._plan.recurrence.merged:
            return self._plan.product_stage(self._plan.recurrence.merged[gate][0])
        leaf, stages = self._plan.recurrence.gates[gate], range(self._plan.stages)
        return max((stage for stage in stages if leaf in self._reads(stage)), default=0)

    def _reads(self, stage: int) -> set[Node]:
        return self._plan.needed(
            self._plan.results(stage), lambda node: self._plan.in_memory(node, stage)
        )

    def _last_use(self, node: Node) -> int:
        """Return the last stage backwards that reads a kept value."""
        last = 0
        for stage in range(self._plan.reverse_stages):
            factors = [term.factor for term in self._plan.terms_at(stage)]
            last = stage if node in self._plan.needed(factors, self._plan.is_kept) else last
        return last
