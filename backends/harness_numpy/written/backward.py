"""The source of a layer's backward pass: the factors of a block of time steps, and the loop."""

from __future__ import annotations

from collections.abc import Sequence

from harness.recurrence import Anchor, Back, Node, Term
from harness_numpy.recurrence.layer import is_sum_with_zx
from harness_numpy.written.plan import Plan, is_one
from harness_numpy.written.statements import Statements


def factor_statements(plan: Plan) -> Statements:
    """Return the statements that fill the factors of some time steps; all arrays are (n, B, .)."""
    derived = plan.derived
    names = {node: name for node, (name, _) in plan.stored.items()}
    names |= {node: f"zx_{plan.gate(at)}" for at, node in enumerate(derived.gates)}
    names |= {node: f"own_{node.value}" for node in derived.vectors}
    names |= {node: f"v{node.index}" for node in plan.units}
    positions = {node: f"f{at}" for node, at in plan.blocked.items() if node not in names}
    positions |= {node: f"g{at}" for node, at in plan.blocked_narrow.items() if node not in names}
    statements = Statements(plan.factors, names, positions, plan.exact)
    for node in (*plan.blocked, *plan.blocked_narrow):
        value = statements.read(node)
        target = (
            f"f{plan.blocked[node]}" if node in plan.blocked else f"g{plan.blocked_narrow[node]}"
        )
        if value != target:
            statements.write(f"copyto({target}, {value})")
    return statements


class Backward:
    """Writes the body of the loop that goes back.

    Attributes:
        lines: the statements.
        views: name -> array whose time steps the loop reads or writes.
        factors: the same, of a block of time steps.
        anchors: the arrays (B, H) that it needs.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.derived = plan, plan.derived
        self.lines: list[str] = []
        self.views = dict(plan.stored.values())
        self.factors = {f"f{at}": f"layer.factors[:, {at}]" for at in plan.blocked.values()}
        self.factors |= {
            f"g{at}": f"layer.narrow_factors[:, {at}]" for at in plan.blocked_narrow.values()
        }
        self.anchors: list[str] = ["spare"]
        self._written: set[int] = set()
        self._names: dict[Node, str] = {}
        states = self.derived.cell.states
        for at, name in enumerate(states):
            self._names[self.derived.graph.leaf("new", at)] = f"carry_{name}" if at else "d_h"
        for each in self.derived.reverse.order:
            if isinstance(each, Anchor):
                self._anchor(each)
            else:
                self._product(each)
        self._row("zx", range(len(self.derived.gates)), self.derived.reverse.zx, "layer.gates")
        self._vectors()
        self._states()

    def _factor(self, node: Node) -> str:
        plan = self.plan
        if node.op == "constant":
            return repr(node.value)
        if node.width in {"unit", "constant"}:
            return f"own_{node.value}" if node.op == "vector" else f"v{node.index}"
        if node in plan.stored:
            return plan.stored[node][0]
        return f"f{plan.blocked[node]}" if node in plan.blocked else f"g{plan.blocked_narrow[node]}"

    def _total(self, terms: Sequence[Term], more: Sequence[str], into: str) -> None:
        """Write the sum of terms, and of arrays."""
        plain = [self._names[term.anchor] for term in terms if is_one(term)] + list(more)
        scaled = [term for term in terms if not is_one(term)]
        products = [f"{self._names[t.anchor]}, {self._factor(t.factor)}" for t in scaled]
        if products:
            self.lines.append(f"multiply({products[0]}, out={into})")
        elif len(plain) > 1:
            self.lines.append(f"add({plain.pop()}, {plain.pop()}, out={into})")
        else:
            self.lines.append(f"copyto({into}, {plain.pop() if plain else '0'})")
        for product in products[1:]:
            self.lines += [f"multiply({product}, out=spare)", f"add({into}, spare, out={into})"]
        self.lines += [f"add({into}, {part}, out={into})" for part in plain]

    def _anchor(self, each: Anchor) -> None:
        name = f"total_{each.node.value}"
        self.anchors.append(name)
        self._total(each.terms, [], name)
        if each.mean:
            self.lines.append(f"mean_{each.node.value} = mean({name}, axis=-1, keepdims=True)")
            name = f"mean_{each.node.value}"
        self._names[each.node] = name

    def _product(self, each: Back) -> None:
        index, derived = each.index, self.derived
        product, row = derived.cell.products[index].name, derived.reverse.products[each.index]
        self._names[each.node] = f"back_{product}"
        gates = {gate: piece for gate, (p, piece) in derived.merged.items() if p == index}
        for gate in sorted(gates):
            stop = gate + 1
            while stop in gates:
                stop += 1
            if gate not in self._written:
                self._row("zx", range(gate, stop), derived.reverse.zx, "layer.gates")
        if not is_sum_with_zx(derived, index):
            self._piece_row(index, {piece: gate for gate, piece in gates.items()})
        if any(row):
            self.views[f"d_product_{product}"] = f"layer.d_products[{index}]"
            self.lines.append(f"product_{product}(d_product_{product})")

    def _piece_row(self, index: int, gates: dict[int, int]) -> None:
        """Write the gradient of a product; where it is that of zx, copy it."""
        row = self.derived.reverse.products[index]
        name, at = self.derived.cell.products[index].name, 0
        array = f"layer.d_pieces[{index}]"
        while at < len(row):
            stop = at + 1
            if at in gates:
                while gates.get(stop) == gates[at] + stop - at:
                    stop += 1
                zx = self._stretch("zx", gates[at], gates[at] + stop - at, "layer.gates")
                self.lines.append(f"copyto({self._stretch(name, at, stop, array)}, {zx})")
            else:
                while stop < len(row) and stop not in gates:
                    stop += 1
                self._row(name, range(at, stop), row, array)
            at = stop

    def _row(self, name: str, positions: range, row: Sequence[Term | None], array: str) -> None:
        """Write neighbouring gradients, those of one anchor and neighbouring factors at once."""
        left = [at for at in positions if name != "zx" or at not in self._written]
        if name == "zx":
            self._written.update(left)
        while left:
            start = stop = left[0]
            while stop in left and self._joins(row[start], row[stop], stop - start):
                stop += 1
            stop = max(stop, start + 1)
            into, term = self._stretch(name, start, stop, array), row[start]
            if term is None:
                self.lines.append(f"copyto({into}, 0)")
            elif is_one(term):
                self.lines.append(f"copyto({into}, {self._names[term.anchor]})")
            else:
                factor = self._factor(term.factor)
                if stop - start > 1:
                    first = self.plan.blocked[term.factor]
                    factor = f"f{first}_{first + stop - start}"
                    array_of = f"layer.factors[:, {first}:{first + stop - start}]"
                    self.factors[factor] = array_of
                self.lines.append(f"multiply({factor}, {self._names[term.anchor]}, out={into})")
            left = [at for at in left if at >= stop]

    def _joins(self, first: Term | None, term: Term | None, distance: int) -> bool:
        blocked = self.plan.blocked
        return (
            first is not None
            and term is not None
            and first.anchor is term.anchor
            and first.factor in blocked
            and blocked.get(term.factor) == blocked[first.factor] + distance
        )

    def _stretch(self, name: str, start: int, stop: int, array: str) -> str:
        single = stop - start == 1
        view = f"d_{name}_{start}" if single else f"d_{name}_{start}_{stop}"
        self.views[view] = f"{array}[:, {start}]" if single else f"{array}[:, {start}:{stop}]"
        return view

    def _vectors(self) -> None:
        cell = self.derived.cell
        for name, terms in zip(cell.vectors, self.derived.reverse.vectors, strict=True):
            for term in terms:
                self._total([term], [], "spare")
                self.lines.append(f"add(d_own_{name}, spare, out=d_own_{name})")

    def _states(self) -> None:
        """Write what the next time step back adds to the gradients of its new states."""
        swapped = []
        for at, (name, terms) in enumerate(
            zip(self.derived.cell.states, self.derived.reverse.state, strict=True)
        ):
            backs = [
                self._names[each.node]
                for each in self.derived.reverse.order
                if isinstance(each, Back)
                and each.state == at
                and any(self.derived.reverse.products[each.index])
            ]
            if at == 0 and not terms and len(backs) == 1:
                self.lines.append(f"carry_{name} = {backs[0]}")
                continue
            into = f"spare_{name}" if at else f"carry_{name}"
            self._total(terms, backs, into)
            swapped += [name] if at else []
        for name in swapped:
            self.lines.append(f"carry_{name}, spare_{name} = spare_{name}, carry_{name}")
