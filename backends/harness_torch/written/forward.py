"""Writes the step of a cell: products first, gates where zx lies, new states into theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.recurrence import Node
from harness_torch.written.layout import Layout
from harness_torch.written.names import Names, Slot, is_unit
from harness_torch.written.prepared import Prepared
from harness_torch.written.writer import Writer

CHEAP = {"sum", "times", "relu", "positive", "sign", "absolute", "maximum"}  # computed anew


class Forward:
    """Schedules the statements of a step."""

    def __init__(self, graph: Prepared, layout: Layout, names: Names) -> None:
        self.graph, self.free, self.names = graph, layout.free, names
        self.cell = graph.recurrence.cell
        slots = self._leaves()
        roots = [*graph.after, *graph.operands]
        self.writer = Writer(names, slots, roots)
        self.ready = {*graph.before, *(node for node in graph.gates if node in slots)}
        self.pending = self._pending(roots)
        self.kept = self._kept()
        ends = [node for node in graph.after if node not in self.pending]  # copied at the end
        operands = [node for node in graph.operands if node not in graph.before]
        read = [*ends, *operands, *(part for each in self.pending for part in self.parts(each))]
        self.left = Counter(read)  # how many statements will read each value

    def parts(self, node: Node) -> list[Node]:
        """Return what the statement of a node reads."""
        writer, parts = self.writer, list(node.args)
        if node.op == "sum":
            mixed = writer.mixture(node)
            terms = [part for each in node.args for part in writer.addend(each).nodes]
            parts = list(mixed) if mixed else terms
        elif node.op == "times":
            parts = writer.flat(node.args)
        return [part for part in parts if not is_unit(part)]

    def kept_slots(self) -> dict[Node, Slot]:
        """Return where the values are that stay until the reverse."""
        slots = {node: self.writer.slots[node] for node in self.kept}
        for state, old, new in zip(
            self.cell.states, self.graph.before, self.graph.after, strict=True
        ):
            slots[old] = Slot(f"state_{state}")
            if new not in self.graph.before:
                slots.setdefault(new, Slot(f"state_{state}", shift=1))
        return slots

    def run(self) -> None:
        """Write all statements."""
        products = list(range(len(self.graph.operands)))
        while self.pending or products:
            if now := [k for k in products if self.graph.operands[k] in self.ready]:
                for index in now:
                    self._product(index)
                    products.remove(index)
                continue
            ready = [node for node in self.pending if self.ready.issuperset(self.parts(node))]
            ready.sort(key=lambda node: node.index)
            if group := [node for node in ready if self._is_gate(node)]:
                self._gates(group)
            else:
                self._statement(ready[0])
        self._copies()

    def _leaves(self) -> dict[Node, Slot]:
        """Return where the values lie that a step begins with, and the products."""
        graph, cell, names = self.graph, self.cell, self.names
        slots: dict[Node, Slot] = {}
        for state, node in zip(cell.states, graph.before, strict=True):
            slots[node] = Slot(f"state_{state}")
            names.of(slots[node], f"old_{state}")
        for gate, node in enumerate(graph.gates):
            product = graph.merged.get(gate)
            leaf = node if product is None else graph.pieces[product[0]][product[1]]
            slots[leaf] = Slot("zx", gate, gate + 1)
            names.of(slots[leaf], f"z_{cell.gates[gate]}")
        for index, free in enumerate(self.free):
            stated = cell.products[index]
            for at, piece in enumerate(free):
                slot = Slot(f"product_{index}", at, at + 1)
                names.of(slot, f"{stated.name}_{(stated.gates or cell.gates)[piece]}")
                slots[graph.pieces[index][piece]] = slot
        return slots

    def _pending(self, roots: Sequence[Node]) -> list[Node]:
        pending, waiting = dict[Node, None](), list(roots)
        while waiting:
            node = waiting.pop()
            if node not in pending and not self.writer.has(node):
                pending[node] = None
                waiting += self.parts(node)
        return list(pending)

    def _kept(self) -> set[Node]:
        """Return the values that the factors, and the gradients of weights, are computed from."""
        graph, pending = self.graph, set(self.pending)
        kept = {node for node in graph.operands if node not in graph.before}
        waiting, seen = [term.factor for term in graph.reverse.terms()], set[Node]()
        while waiting:
            node = waiting.pop()
            if node in seen or is_unit(node) or node in kept or node in graph.before:
                continue
            seen.add(node)
            if node in graph.after:
                continue
            if node.op in {"zx", "product"} or (node in pending and node.op not in CHEAP):
                kept.add(node)
            else:
                waiting += node.args
        return kept

    def _product(self, index: int) -> None:
        operand, row = self.graph.operands[index], self.graph.pieces[index]
        x = self.writer.at(operand)
        merged = {piece: gate for gate, (k, piece) in self.graph.merged.items() if k == index}
        product, writer = self.cell.products[index], self.writer
        for first, last in runs(sorted(merged.items())):
            slot = Slot("zx", merged[first], merged[first] + last - first)
            z = writer.name(slot, self._label(slot))
            writer.line(f"{z}.addmm_({x}, {self._weight(index, first, last)})")
        free = self.free[index]
        for first, last in runs([(piece, at) for at, piece in enumerate(free)]):
            at = free.index(first)
            slot = Slot(f"product_{index}", at, at + last - first)
            y = writer.name(slot, f"{product.name}_{first}_to_{last}")
            weight = self._weight(index, first, last)
            if product.bias:
                bias = self._fixed(
                    f"bias_{product.name}_{first}_{last}", "bias", index, first, last
                )
                writer.line(f"torch.addmm({bias}, {x}, {weight}, out={y})")
            else:
                writer.line(f"torch.mm({x}, {weight}, out={y})")
        self.ready |= set(row)
        self.left[operand] -= 1

    def _label(self, slot: Slot) -> str:
        return f"z_{self.cell.gates[slot.first]}_to_{self.cell.gates[slot.last - 1]}"

    def _weight(self, index: int, first: int, last: int) -> str:
        name = f"weight_{self.cell.products[index].name}_{first}_{last}"
        return self._fixed(name, "weight", index, first, last)

    def _fixed(self, name: str, *what: Any) -> str:
        self.names.fixed[name] = what
        self.writer.fixed.add(name)
        return name

    def _free_slot(self, node: Node, part: Node) -> Slot | None:
        """Return the place of ``part`` if the result of ``node`` may overwrite it."""
        slot = self.writer.slots.get(part)
        if (
            slot is None
            or part in self.kept
            or part in self.graph.before
            or slot.buffer.startswith("state_")
            or self.left[part] != 1
            or self.parts(node).count(part) != 1
            or part.width != node.width
            or (node in self.kept and not slot.timed)
        ):
            return None
        return slot

    def _is_gate(self, node: Node) -> bool:
        """Say whether a sigmoid or tanh overwrites a gate."""
        if node.op not in {"sigmoid", "tanh_half"} or node in self.graph.after:
            return False
        slot = self._free_slot(node, node.args[0])
        return slot is not None and slot.buffer == "zx"

    def _gates(self, group: Sequence[Node]) -> None:
        at = {self.writer.slots[node.args[0]].first: node for node in group}
        writer = self.writer
        for first, last in runs([(gate, gate) for gate in sorted(at)]):
            slot = Slot("zx", first, last)
            z = writer.name(slot, self._label(slot))
            writer.line(f"{z}.sigmoid_()")
        for gate, node in sorted(at.items()):
            if node.op == "tanh_half":
                z = writer.name(Slot("zx", gate, gate + 1))
                writer.line(
                    f"torch.add({writer.number(-1.0, Slot('zx'))}, {z}, alpha=2.0, out={z})"
                )
            self._done(node, Slot("zx", gate, gate + 1))

    def _statement(self, node: Node) -> None:
        writer, base = self.writer, None
        if node in self.graph.after:
            state = self.cell.states[self.graph.after.index(node)]
            dest = Slot(f"state_{state}", shift=1)
            writer.name(dest, f"new_{state}")
            writer.spent = {part for part in self.parts(node) if self._free_slot(node, part)}
        else:
            base = next(filter(lambda part: self._free_slot(node, part), self._bases(node)), None)
            overwritten = None if base is None else self._free_slot(node, base)
            dest = overwritten or self._new_slot(node)
            writer.name(dest, dest.buffer)
        writer.write(node, dest, base=base if node.op in {"sum", "times"} else None)
        self._done(node, dest)

    def _bases(self, node: Node) -> Sequence[Node]:
        """Return the arguments whose place the result may take."""
        if node.op != "sum":
            return self.parts(node) if node.op == "times" or len(node.args) == 1 else ()
        if self.writer.mixture(node):
            return ()
        pairs = zip(node.value[0], node.args, strict=True)
        return [each for c, each in pairs if c == 1 and not self.writer.addend(each).op]

    def _new_slot(self, node: Node) -> Slot:
        timed = node in self.kept
        kind = "kept" if timed else "part"
        return Slot(self.names.new(kind), timed=timed, wide=node.width != "sequence")

    def _done(self, node: Node, slot: Slot) -> None:
        self.writer.slots[node] = slot
        for part in self.parts(node):
            self.left[part] -= 1
        self.pending.remove(node)
        self.ready.add(node)

    def _copies(self) -> None:
        """Write new states that are old states, or other new states."""
        for state, node in zip(self.cell.states, self.graph.after, strict=True):
            dest = Slot(f"state_{state}", shift=1)
            if self.writer.slots[node] != dest:
                y = self.writer.name(dest, f"new_{state}")
                self.writer.line(f"{y}.copy_({self.writer.at(node)})")


def runs(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (first, last) of the runs in which both numbers of a pair grow by one."""
    ends: list[list[int]] = []
    previous = (-2, -2)
    for pair in pairs:
        if pair == (previous[0] + 1, previous[1] + 1):
            ends[-1][1] = pair[0] + 1
        else:
            ends.append([pair[0], pair[0] + 1])
        previous = pair
    return [(first, last) for first, last in ends]
