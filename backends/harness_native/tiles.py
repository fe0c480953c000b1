"""What ends a tile: the equations of a stage, forwards and backwards, as C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.recurrence import Node, Term
from harness_native.plan import Plan
from harness_native.text import HIDDEN, Block, Own, function, identifier, over_tile, safe, total


class EndForward:
    """What ends a tile forwards: every load of a row comes before every store."""

    def __init__(self, plan: Plan, own: Own, stage: int) -> None:
        self.plan, self.cell, self.own, self.stage = plan, plan.recurrence.cell, own, stage
        self.pointers: dict[str, str] = {}
        self.block = Block()
        self.block.load, self.block.label = self._loaded, self._label
        self.stores: list[str] = []

    def text(self) -> str:
        """Return the function."""
        results = self.plan.results(self.stage)
        self.block.count(results)
        for node in results:
            value = self.block.vector(node)
            for address in self._addresses(node):
                self._store(address, value)
        return self._function(f"end_forward_{self.stage}")

    def _function(self, name: str) -> str:
        body = [*self.block.loads, *self.block.lines, *self.stores]
        head = [HIDDEN, *self.pointers.values()]
        return function(name, [*head, *over_tile(body)] if body else [])

    def _store(self, address: str, value: str) -> None:
        self.stores.append(f"NAME(store)({address}, {value}, n);")

    def _loaded(self, node: Node) -> str | None:
        """Return how a value is loaded that lies in memory or in the tile."""
        if node.op == "constant" or not self.plan.in_memory(node, self.stage):
            return None
        return self._load(node)

    def _label(self, node: Node) -> str | None:
        if node in self.plan.kept:
            return f"{_slot_name(self.plan, node)}_"
        return _leaf_name(self.plan, node)

    def _load(self, node: Node) -> str:
        plan = self.plan
        if node.width == "unit":
            return self.own.address(node)
        if node.op == "state":
            name = f"old_{identifier(self.cell.states[node.value])}"
            self._point(name, f"const real *{name} = NAME(before)(range, {node.value}, t);")
            return f"NAME(load)({name} + at, n)"
        if node.op == "zx":
            offset = f" + {node.value} * hidden" if node.value else ""
            return f"NAME(load)(NAME(zx_of)(range, t, row + b) + column{offset}, n)"
        if node.op == "product" and plan.stage_of(node) == self.stage:
            tiles = [group for group in plan.groups if group.stage == self.stage]
            index, piece = node.value
            for tile, group in enumerate(tiles):
                if group.product == index and 0 <= piece - group.first < group.count:
                    address = total(f"{tile} * TILE", "b * MOST_VECTORS", f"u * {group.count}",
                                 str(piece - group.first))  # fmt: skip
                    return f"tile[{address}]"
        return f"NAME(load)({self._addresses(node)[0]}, n)"

    def _addresses(self, node: Node) -> list[str]:
        """Return where a result of the step lies, as addresses."""
        plan = self.plan
        addresses = []
        for index, each in enumerate(plan.after):
            if each is node:
                name = f"new_{identifier(self.cell.states[index])}"
                self._point(name, f"real *{name} = AT(range->layer->states[{index}], t);")
                addresses.append(f"{name} + at")
        if node in plan.kept:
            slot = plan.kept[node]
            if slot < len(self.cell.gates):
                self._point("gates", "real *gates = WIDE(range->layer->gates, t);")
                addresses.append(total("gates", "wide", f"{slot} * hidden"))
            else:
                name = _slot_name(plan, node)
                at = slot - len(self.cell.gates)
                self._point(name, f"real *{name} = AT(range->layer->kept[{at}], t);")
                addresses.append(f"{name} + at")
        for index, each in enumerate(plan.operands):
            if each is node and plan.inner[index]:
                name = f"operand_{index}"
                self._point(name, f"real *{name} = AT(range->layer->operand[{index}], t);")
                addresses.append(f"{name} + at")
        return addresses

    def _point(self, name: str, line: str) -> None:
        self.pointers.setdefault(name, line)


class EndBackward(EndForward):
    """What ends a tile backwards; every load of a row comes before every store."""

    def text(self) -> str:
        """Return the function."""
        plan, stage = self.plan, self.stage
        self.block.count([term.factor for term in plan.terms_at(stage)])
        starts = plan.back_tiles(stage)
        graph = self.plan.recurrence.graph
        if stage == 0:
            starts = [graph.leaf("new", index) for index in range(len(plan.after))]
            self._total()
        for leaf in plan.held:
            if leaf in starts:
                self._hold(leaf)
        for node, terms in plan.anchors.items():
            if plan.anchor_stage(node) == stage:
                name = f"total_{node.value}"
                self.block.lines.append(f"vec {name} = {self._total_of(terms)};")
                self.block.names[node] = name
                if node in plan.held:
                    self._hold(node)
        self._gradients()
        self._carry()
        self._vectors()
        return self._function(f"end_reverse_{stage}")

    def _hold(self, leaf: Node) -> None:
        self._store(self._held(leaf), self.block.value(leaf))

    def _held(self, leaf: Node) -> str:
        at = self.plan.held.index(leaf)
        name = f"held_{at}"
        self._point(name, f"real *{name} = range->held + {at} * range->batch * hidden;")
        return f"{name} + at"

    def _total(self) -> None:
        leaf = self.plan.recurrence.graph.leaf("new", 0)
        value = self.block.value(leaf)
        self._point(
            "d_total",
            "real *d_total = range->layer->d_total == NULL ? NULL : AT(range->layer->d_total, t);",
        )
        self.stores.append("if (d_total != NULL)")
        self.stores.append(f"    NAME(store)(d_total + at, {value}, n);")

    def _product(self, term: Term) -> str:
        anchor, factor = self.block.value(term.anchor), term.factor
        if factor.op == "constant" and factor.value == 1:
            return anchor
        if factor.op == "constant" and factor.value == -1:
            return f"-{anchor}"
        if factor.op == "times":
            parts = [self.block.value(argument) for argument in factor.args]
            if factor not in self.block.names and self.block.uses.get(factor) == 1:
                return " * ".join([anchor, *map(safe, parts)])
        return f"{anchor} * {safe(self.block.value(factor))}"

    def _total_of(self, terms: Sequence[Term]) -> str:
        return " + ".join(map(self._product, terms))

    def _gradients(self) -> None:
        plan, stage = self.plan, self.stage
        gate_of = {piece: gate for gate, piece in self.plan.recurrence.merged.items()}
        for gate, term in enumerate(plan.zx):
            if plan.reverse_stage(term) == stage:
                self._point("d_zx", "real *d_zx = WIDE(range->layer->d_zx, t);")
                self._store(
                    total("d_zx", "wide", f"{gate} * hidden"), self._named(term, f"d_zx_{gate}")
                )
        for index, row in enumerate(plan.products):
            if plan.shared[index] is not None:
                continue
            count, name = len(row), f"d_product_{index}"
            for piece, term in enumerate(row):
                last = max((plan.reverse_stage(each) for each in row if each), default=0)
                if (last if term is None else plan.reverse_stage(term)) == stage:
                    self._point(
                        name,
                        f"real *{name} = PIECES(range->layer->d_product[{index}], {count}, t);",
                    )
                    row_at = total(name, f"(row + b) * {count} * hidden", "column",
                                  f"{piece} * hidden")  # fmt: skip
                    merged = gate_of.get((index, piece))
                    label = f"{name}_{piece}" if merged is None else f"d_zx_{merged}"
                    self._store(row_at, self._named(term, label))

    def _named(self, term: Term | None, name: str) -> str:
        if term is None:
            return "(vec){0}"
        line = f"vec {name} = {self._product(term)};"
        if line not in self.block.lines:
            self.block.lines.append(line)
        return name

    def _carry(self) -> None:
        plan = self.plan
        fed = {leaf.value for leaf in plan.back_tiles(0)}
        for index, terms in enumerate(plan.state):
            stages = [plan.reverse_stage(term) for term in terms]
            now = [term for term in terms if plan.reverse_stage(term) == self.stage]
            if now:
                address = f"{self._carried(index)} + at"
                value = self._total_of(now)
                if min(stages) < self.stage:
                    name = f"carried_{index}"
                    self.block.loads.append(f"vec {name} = NAME(load)({address}, n);")
                    value = f"{name} + {value}"
                self._store(address, value)
            elif not terms and index not in fed and self.stage == 0:
                self._store(f"{self._carried(index)} + at", "(vec){0}")

    def _carried(self, index: int) -> str:
        """Return the gradient (B, H) that reaches a state past the products."""
        name = f"carry_{identifier(self.cell.states[index])}"
        self._point(name, f"real *{name} = range->carry + {index} * range->batch * hidden;")
        return name

    def _vectors(self) -> None:
        for index, terms in enumerate(self.plan.vectors):
            now = [term for term in terms if self.plan.reverse_stage(term) == self.stage]
            if now:
                at = total(f"{index} * range->units", "column / LANES")
                self.stores.append(f"range->sums[{at}] += {self._total_of(now)};")

    def _loaded(self, node: Node) -> str | None:
        """Return how a value is loaded that the reverse finds somewhere."""
        plan = self.plan
        if node.op in {"new", "back", "anchor"}:
            return self._load_anchor(node)
        if node.op == "constant" or not plan.is_kept(node):
            return None
        return self._load(node)

    def _load_anchor(self, leaf: Node) -> str:
        plan = self.plan
        if leaf in plan.back_tiles(self.stage):
            at = plan.back_tiles(self.stage).index(leaf)
            return f"tile[{total(f'{at} * TILE', 'b * MOST_VECTORS', 'u')}]"
        if self.stage > 0 or leaf.op != "new":
            return f"NAME(load)({self._held(leaf)}, n)"
        address = f"NAME(load)({self._carried(leaf.value)} + at, n)"
        if leaf.value:
            return address
        self._point("d_direct", "const real *d_direct = AT(range->layer->d_direct, t);")
        return f"NAME(load)(d_direct + at, n) + {address}"

    def _load(self, node: Node) -> str:
        if node.width == "unit" or node.op == "state":
            return super()._load(node)
        return f"NAME(load)({self._addresses(node)[0]}, n)"


def _slot_name(plan: Plan, node: Node) -> str:
    gates, slot = plan.recurrence.cell.gates, plan.kept[node]
    return identifier(gates[slot]) if slot < len(gates) else f"kept_{slot - len(gates)}"


def _leaf_name(plan: Plan, node: Node) -> str | None:
    cell = plan.recurrence.cell
    names: dict[str, Callable[[Any], str]] = {
        "state": lambda at: f"{identifier(cell.states[at])}_before",
        "new": lambda at: f"d_new_{identifier(cell.states[at])}",
        "back": lambda at: f"back_{identifier(cell.products[at].name)}",
        "zx": lambda at: f"zx_{identifier(cell.gates[at])}",
        "vector": lambda name: f"own_{identifier(name)}",
        "product": lambda _: identifier(plan.recurrence.label(node)),
    }
    if node.op in names:
        return names[node.op](node.value)
    if node in plan.after:
        return f"{identifier(cell.states[plan.after.index(node)])}_after"
    return None
