"""Writes the reverse of a cell: all factors at once, then anchors times factors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from harness.recurrence import Anchor, Back, Node, Term
from harness_torch.written.layout import Layout
from harness_torch.written.names import Names, Slot, is_unit
from harness_torch.written.prepared import Prepared
from harness_torch.written.writer import Addend, Writer


class Backward:
    """Writes the factors of all time steps, the reverse of one, and the vectors' gradients."""

    def __init__(
        self,
        graph: Prepared,
        layout: Layout,
        names: Names,
        there: Mapping[Node, Slot],
        rolling: Collection[int],
    ) -> None:
        self.graph, self.layout, self.names = graph, layout, names
        self.there, self.rolling = dict(there), rolling
        self.cell, self.chunks = graph.recurrence.cell, layout.terms
        self.stored = {term.anchor for terms in graph.reverse.vectors for term in terms}
        self.anchors = self._leaves()
        self.slots: dict[Node, Slot] = {}  # of factors
        self.scales: dict[Node, float] = {}  # of factors: what they lack
        self.fill = self._fill()
        self.writer = Writer(self.names, {**self.there, **self.slots, **self.anchors})
        self.left = Counter(term.anchor for term in self._terms())  # statements to come
        self.done: set[int] = set()

    def run(self) -> int | None:
        """Write the reverse; return a state whose gradient cannot be taken in place."""
        for each in self.graph.reverse.order:
            if isinstance(each, Anchor):
                self._anchor(each)
            else:
                self._back(each)
        self._gradients(range(len(self.chunks)))
        for at in range(len(self.cell.states)):
            if not self._state(at):
                return at
        for node in self.stored:
            if node.op == "new" and node.value and node.value not in self.rolling:
                return int(node.value)
        return None

    def vectors(self) -> tuple[Writer, str]:
        """Write the gradients of the vectors."""
        terms = [_bare(term) for row in self.graph.reverse.vectors for term in row]
        roots = [factor for _, _, factor in terms if factor is not None]
        slots = {**self.there, **self.anchors}
        writer = Writer(self.names, slots, roots, whole=True)
        results = []
        for name, row in zip(self.cell.vectors, self.graph.reverse.vectors, strict=True):
            parts = []
            for anchor, c, factor in map(_bare, row):
                a, scale = writer.at(anchor), "" if c == 1 else f" * {c!r}"
                if factor is None:
                    parts.append(f"{a}.sum((0, 1)){scale}")
                elif is_unit(factor):
                    parts.append(f"{a}.sum((0, 1)) * {writer.at(factor)}{scale}")
                else:
                    parts.append(f"({a} * {writer.need(factor)}).sum((0, 1)){scale}")
            results.append(f"{name!r}: {' + '.join(parts) or '0.0'}")
        return writer, f"{{{', '.join(results)}}}"

    def _anchor_nodes(self) -> set[Node]:
        return {term.anchor for term in self.graph.reverse.terms()}

    def _terms(self) -> list[Term]:
        """Return the terms of one time step, those that the vectors take excepted."""
        reverse = self.graph.reverse
        terms = [term for each in reverse.order if isinstance(each, Anchor) for term in each.terms]
        terms += [term for term in self.chunks if term is not None]
        return terms + [term for row in reverse.state for term in row]

    def _leaves(self) -> dict[Node, Slot]:
        slots = {}
        for node in sorted(self._anchor_nodes(), key=lambda each: each.index):
            if node.op == "new":
                state = self.cell.states[node.value]
                if node.value == 0 or node.value in self.rolling:
                    slots[node] = Slot(f"d_{state}", shift=1)
                    self.names.of(slots[node], f"d_new_{state}")
                else:
                    slots[node] = Slot(f"d_{state}", timed=False)
                    self.names.of(slots[node], f"d_{state}")
        return slots

    def _fill(self) -> Writer:
        """Write the factors of all time steps."""
        chunks = [(at, term) for at, term in enumerate(self.chunks) if term is not None]
        filled = [(at, *_bare(term)[1:]) for at, term in chunks if self._is_filled(term)]
        others = self._others()
        roots = [*others, *(factor for _, _, factor in filled if factor is not None)]
        writer = Writer(self.names, self.there, roots, whole=True)
        for at, term in enumerate(self.chunks):
            if term is None:
                writer.line(f"{writer.name(self._chunk(at), self._label(at))}.zero_()")
        for node in sorted(set(roots), key=lambda each: each.index):
            for at, scale, factor in filled:
                if factor is node:
                    slot = self._chunk(at)
                    writer.name(slot, self._label(at))
                    writer.write(node, slot, scale)
                    if scale == 1:
                        writer.slots.setdefault(node, slot)
            if node in others:
                self._other(writer, node)
        return writer

    def _others(self) -> list[Node]:
        """Return the factors that are multiplied by anchors into a sum, and are not there."""
        chunks = {id(term) for term in self.chunks}
        terms = [term for term in self._terms() if id(term) not in chunks]
        factors = dict.fromkeys(_bare(term)[2] for term in terms)
        return [
            each
            for each in factors
            if each is not None and not is_unit(each) and each not in self.there
        ]

    def _other(self, writer: Writer, node: Node) -> None:
        slot = self.slots[node] = writer.scratch(node)
        if node.op == "times" and not writer.has(node):
            self.scales[node] = writer.unscaled_product(node.args, slot)
        else:
            writer.write(node, slot)
        if self.scales.get(node, 1.0) == 1:
            writer.slots.setdefault(node, slot)

    def _is_filled(self, term: Term) -> bool:
        c, factor = _bare(term)[1:]
        return factor is not None and not is_unit(factor) and not (c == 1 and factor in self.there)

    def _chunk(self, at: int, last: int | None = None, *, gates: bool = False) -> Slot:
        return Slot("d_gates", at, at + 1 if last is None else last, gates=gates)

    def _label(self, at: int) -> str:
        gate = at - self.layout.zx
        if 0 <= gate < len(self.cell.gates):
            return f"d_z_{self.cell.gates[gate]}"
        for index, rows in enumerate(self.layout.rows):
            if rows.first <= at < rows.last:
                product = self.cell.products[index]
                names = product.gates or self.cell.gates
                return f"d_{product.name}_{names[rows.order[at - rows.first]]}"
        return ""

    def _sum(self, terms: Sequence[Term]) -> list[Addend]:
        addends = []
        for term in terms:
            anchor, scale, factor = _bare(term)
            if factor is None:
                addends.append(Addend(scale, "", (anchor,)))
            else:
                scale *= self.scales.get(factor, 1.0)
                addends.append(Addend(scale, "mul", (anchor, factor)))
            self.left[anchor] -= 1
        return addends

    def _anchor(self, each: Anchor) -> None:
        node, writer = each.node, self.writer
        base = next((term for term in each.terms if self._in_place(each, term)), None)
        if base is not None:
            slot = writer.slots[base.anchor]
            self.left[base.anchor] -= 1
            writer.add(self._sum([term for term in each.terms if term is not base]), slot)
        else:
            slot = Slot(f"total_{node.value}", timed=node in self.stored)
            wide = replace(slot, buffer=f"{slot.buffer}_wide") if each.mean else slot
            if each.mean:
                slot = replace(slot, wide=False)
                wide = replace(wide, timed=False)
            y = writer.name(wide, wide.buffer)
            terms = self._sum(each.terms)
            writer.begin(terms, 0.0, wide)
            writer.add(terms, wide)
            if each.mean:
                writer.line(f"torch.mean({y}, -1, True, out={writer.name(slot, slot.buffer)})")
        writer.slots[node] = self.anchors[node] = slot

    def _in_place(self, each: Anchor, term: Term) -> bool:
        slot = self.writer.slots[term.anchor]
        return (
            not each.mean
            and each.node not in self.stored
            and term.anchor not in self.stored
            and _bare(term)[1:] == (1.0, None)
            and self.left[term.anchor] == 1
            and not slot.timed
            and slot.wide
        )

    def _back(self, each: Back) -> None:
        rows = self.layout.rows[each.index]
        self._gradients(range(rows.first, rows.last))
        if each.state is None:
            slot = Slot(f"back_{each.index}", timed=each.node in self.stored)
            y = self.writer.name(slot, f"back_{self.cell.products[each.index].name}")
            d, weight = self._product(each.index)
            self.writer.line(f"torch.mm({d}, {weight}, out={y})")
            self.writer.slots[each.node] = self.anchors[each.node] = slot

    def _product(self, index: int) -> tuple[str, str]:
        rows, product = self.layout.rows[index], self.cell.products[index]
        d = self.writer.name(self._chunk(rows.first, rows.last), f"d_{product.name}")
        weight = f"weight_{product.name}"
        self.names.fixed[weight] = ("back", index)
        self.writer.fixed.add(weight)
        return d, weight

    def _gradients(self, wanted: Sequence[int]) -> None:
        """Write the gradients of the products and zx: factors times their anchors."""
        for at in wanted:
            term = self.chunks[at]
            if at in self.done or term is None:
                continue
            if not self._is_filled(term):
                self._direct(at, term)
                continue
            first, last = at, at + 1
            while self._joins(first - 1, term):
                first -= 1
            while self._joins(last, term):
                last += 1
            several = last - first > 1
            anchor = replace(self.writer.slots[term.anchor], gates=several)
            base = self.names.of(self.writer.slots[term.anchor])
            x = self.writer.name(anchor, f"{base}_of_gates" if several else base)
            slot = self._chunk(first, last, gates=several)
            ends = self._label(first), self._label(last - 1).removeprefix("d_").removeprefix("z_")
            label = "_to_".join(ends) if several else ends[0]
            self.writer.line(f"{self.writer.name(slot, label)}.mul_({x})")
            self.done |= set(range(first, last))
            self.left[term.anchor] -= last - first

    def _joins(self, at: int, term: Term) -> bool:
        if not 0 <= at < len(self.chunks) or at in self.done:
            return False
        other = self.chunks[at]
        return other is not None and other.anchor is term.anchor and self._is_filled(other)

    def _direct(self, at: int, term: Term) -> None:
        """Write a gradient whose factor is there, without a copy of the factor."""
        writer, y = self.writer, self.writer.name(self._chunk(at), self._label(at))
        anchor, c, factor = _bare(term)
        x = writer.at(anchor)
        self.left[anchor] -= 1
        self.done.add(at)
        if factor is None:
            writer.line(f"{y}.copy_({x})" + ("" if c == 1 else f".mul_({c!r})"))
        else:
            f = writer.at(factor)
            if anchor.width == factor.width == "sequence":
                writer.line(f"{y}.copy_({x} * {f})")
            else:
                writer.line(f"torch.mul({x}, {f}, out={y})")
            if c != 1:
                writer.line(f"{y}.mul_({c!r})")

    def _state(self, at: int) -> bool:
        """Write the gradient of an old state; False: it cannot take the place of the new one's."""
        name, terms = self.cell.states[at], list(self.graph.reverse.state[at])
        if at == 0 or at in self.rolling:
            dest = Slot(f"d_{name}")
            y = self.writer.name(dest, f"d_old_{name}")
            begun = at == 0  # with the gradient by the output
        else:
            dest = Slot(f"d_{name}", timed=False)
            here = [term for term in terms if self.writer.slots[term.anchor] == dest]
            if len(here) > 1 or self._is_read(dest, besides=here):
                return False
            y = self.writer.name(dest, f"d_{name}")
            for term in here:
                terms.remove(term)
                self._scale(y, term)
            begun = bool(here)
        addends = self._sum(terms)
        if not begun:
            self._begin(addends, dest)
        self.writer.add(addends, dest)
        for each in self.graph.reverse.order:
            if isinstance(each, Back) and each.state == at:
                d, weight = self._product(each.index)
                self.writer.line(f"{y}.addmm_({d}, {weight})")
        return True

    def _is_read(self, slot: Slot, besides: Sequence[Term]) -> bool:
        """Say whether a statement to come reads what lies there."""
        besides_of = Counter(term.anchor for term in besides)
        here = [node for node, where in self.writer.slots.items() if where == slot]
        return any(self.left[node] > besides_of[node] for node in here)

    def _scale(self, y: str, term: Term) -> None:
        """Multiply an anchor by its factor where it lies."""
        anchor, scale, factor = _bare(term)
        self.left[anchor] -= 1
        if factor is not None:
            self.writer.line(f"{y}.mul_({self.writer.at(factor)})")
            scale *= self.scales.get(factor, 1.0)
        if scale != 1:
            self.writer.line(f"{y}.mul_({scale!r})")

    def _begin(self, terms: list[Addend], dest: Slot) -> None:
        if terms:
            self.writer.begin(terms, 0.0, dest)
        else:
            self.writer.line(f"{self.writer.name(dest)}.zero_()")


def _bare_factor(node: Node) -> tuple[float, Node | None]:
    """Return c and x of a factor c x; x is None for a number."""
    if node.op == "constant":
        return node.value, None
    if node.op == "sum" and len(node.args) == 1 and node.value[1] == 0:
        return node.value[0][0], node.args[0]
    return 1.0, node


def _bare(term: Term) -> tuple[Node, float, Node | None]:
    return term.anchor, *_bare_factor(term.factor)
