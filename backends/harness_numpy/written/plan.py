"""Where the values of a step live in NumPy: kept for all time steps, or for a block, or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from harness.recurrence import Node, Recurrence, Term, reachable


@dataclass(frozen=True)
class Run:
    """Neighbouring gates whose zx meets neighbouring pieces of one product: one addition.

    Attributes:
        product, piece, gate: the first of each.
        sums: zx + product per gate.
        values: per gate, the function that takes the place of the sum, or the sum itself.
        slot: of the first in ``kept``.
    """

    product: int
    piece: int
    gate: int
    sums: tuple[Node, ...]
    values: tuple[Node, ...]
    slot: int


@dataclass(frozen=True, eq=False)
class Plan:
    """What one graph needs.

    The reverse takes its factors for a block of time steps at once, from what the forward pass
    kept: the values that factors read and that are not states, without those that one sum or
    product of kept values gives again.
    """

    derived: Recurrence

    @cached_property
    def forward(self) -> list[Node]:
        """Return the nodes of the forward pass, in order."""
        return reachable([*self.derived.after, *self.derived.operands])

    @cached_property
    def factors(self) -> list[Node]:
        """Return the factors that vary, in the order in which gates need them."""
        reverse = self.derived.reverse
        rows = [*reverse.zx, *(term for row in reverse.products for term in row)]
        terms = [term for term in rows if term is not None]
        result = dict.fromkeys(term.factor for term in [*terms, *reverse.terms()])
        return [node for node in result if node.width in {"both", "sequence"}]

    @cached_property
    def exact(self) -> frozenset[Node]:
        """Return the sigmoids that reach a divisor or a logarithm: half a tanh would give zero."""
        divisors = [
            node.args[-1]
            for node in reachable([*self.forward, *self.factors])
            if node.op in {"divide", "log"}
        ]
        return frozenset(node for node in reachable(divisors) if node.op == "sigmoid")

    @cached_property
    def units(self) -> list[Node]:
        """Return the values (H,) that are computed before the loop, arguments first."""
        return [
            node
            for node in reachable([*self.forward, *self._all_factors()])
            if node.args and node.width in {"unit", "constant"}
        ]

    def _all_factors(self) -> list[Node]:
        return [term.factor for term in self.derived.reverse.terms()]

    @cached_property
    def _frontier(self) -> list[Node]:
        """Return what factors read of the forward pass, without leaves and states."""
        forward = {node for node in self.forward if node.args}
        needed = set(filter(_is_computed, (*self.derived.after, *self.derived.operands)))
        result, seen, waiting = set[Node](), set[Node](), list(self.factors)
        while waiting:
            node = waiting.pop()
            if node in seen or node in needed or node.width not in {"both", "sequence"}:
                continue
            seen.add(node)
            if node in forward:
                result.add(node)
            else:
                waiting += node.args
        for node in sorted(result, key=lambda each: -each.index):
            if node.op in {"sum", "times"} and len(node.args) <= 2 and all(  # noqa: PLR2004
                part in result or part in needed or (part.op != "product" and not part.args)
                or part.width in {"unit", "constant"}
                for part in node.args
            ):  # fmt: skip
                result.remove(node)
        return sorted(result, key=lambda each: each.index)

    @cached_property
    def runs(self) -> list[Run]:
        """Return the runs of two gates or more."""
        merged, result, slot = self.derived.merged, list[Run](), 0
        gate = 0
        while gate < len(self.derived.gates):
            stop = gate + 1
            if gate in merged:
                product, piece = merged[gate]
                while merged.get(stop) == (product, piece + stop - gate):
                    stop += 1
                if stop - gate > 1:
                    sums = tuple(self._sum_of(each) for each in range(gate, stop))
                    values = tuple(map(self._in_place_of, sums))
                    result.append(Run(product, piece, gate, sums, values, slot))
                    slot += stop - gate
            gate = stop
        return result

    def _sum_of(self, gate: int) -> Node:
        zx = self.derived.gates[gate]
        return next(node for node in self.forward if zx in node.args)

    def _in_place_of(self, total: Node) -> Node:
        """Return the function that may overwrite the sum, or the sum."""
        readers = [node for node in self.forward if total in node.args]
        needed = {*self.derived.after, *self.derived.operands, *self._frontier}
        if len(readers) != 1 or total in needed:
            return total
        (reader,) = readers
        ends = {*self.derived.after, *self.derived.operands}
        fits = reader.op in {"sigmoid", "tanh"} and reader not in self.exact
        return reader if fits and reader not in ends else total

    def groups(self, run: Run) -> Iterator[range]:
        """Yield the stretches of a run whose functions do not wait for one another."""
        start = 0
        for at in range(len(run.values) + 1):
            if at < len(run.values) and run.values[at] is not run.sums[at]:
                before = run.values[start:at]
                if not any(_depend(run.values[at], each) for each in before):
                    continue
                yield range(start, at)
                start = at
            else:
                if at > start:
                    yield range(start, at)
                start = at + 1

    @cached_property
    def kept(self) -> dict[Node, int]:
        """Return node -> its place among the arrays (T, B, H) that are kept."""
        slots = {node: run.slot + at for run in self.runs for at, node in enumerate(run.values)}
        count = sum(len(run.values) for run in self.runs)
        for node in self._frontier:
            if node not in slots and node.width == "both":
                slots[node] = count
                count += 1
        return slots

    @cached_property
    def narrow(self) -> dict[Node, int]:
        """Return node -> its place among the arrays (T, B, 1) that are kept."""
        result = [node for node in self._frontier if node.width == "sequence"]
        return {node: at for at, node in enumerate(result)}

    @cached_property
    def stored(self) -> dict[Node, tuple[str, str]]:
        """Return node -> its name in one time step, and the array of all time steps."""
        derived, cell = self.derived, self.derived.cell
        result: dict[Node, tuple[str, str]] = {}
        labels = {
            value: f"gate_{self.gate(run.gate + at)}"
            for run in self.runs
            for at, value in enumerate(run.values)
        }
        for node, slot in self.kept.items():
            result[node] = labels.get(node, f"kept_{slot}"), f"layer.kept[:, {slot}]"
        for node, slot in self.narrow.items():
            result[node] = f"narrow_{slot}", f"layer.narrow[:, {slot}]"
        for at, name in enumerate(cell.states):
            result[derived.before[at]] = f"old_{name}", f"layer.states[{at}][:-1]"
            if _is_computed(derived.after[at]):
                result.setdefault(derived.after[at], (f"new_{name}", f"layer.states[{at}][1:]"))
        for at, product in enumerate(cell.products):
            if _is_computed(derived.operands[at]):
                position = f"operand_{product.name}", f"layer.operands[{at}]"
                result.setdefault(derived.operands[at], position)
        return result

    @cached_property
    def blocked(self) -> dict[Node, int]:
        """Return factor -> its place among the arrays (B, H) of a block of time steps."""
        result = [node for node in self.factors if node not in self.stored and node.width == "both"]
        return {node: at for at, node in enumerate(result)}

    @cached_property
    def blocked_narrow(self) -> dict[Node, int]:
        """Return factor -> its place among the arrays (B, 1) of a block of time steps."""
        result = [n for n in self.factors if n not in self.stored and n.width == "sequence"]
        return {node: at for at, node in enumerate(result)}

    def gate(self, at: int) -> str:
        """Return a gate's name as part of an identifier."""
        return re.sub(r"\W", "_", self.derived.cell.gates[at])


def _is_computed(node: Node) -> bool:
    """Say whether the forward pass computes a state or operand into its array."""
    return bool(node.args) and node.op != "product" and node.width == "both"


def _depend(a: Node, b: Node) -> bool:
    return a in reachable([b]) or b in reachable([a])


def is_one(term: Term) -> bool:
    """Say whether a term is its anchor alone."""
    return term.factor.op == "constant" and term.factor.value == 1
