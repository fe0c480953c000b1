"""The source of a layer's forward pass: one loop over time."""

from __future__ import annotations

from harness.recurrence import Node
from harness_numpy.written.plan import Plan, Run
from harness_numpy.written.statements import Statements


class Forward(Statements):
    """Writes the body of the loop: products, gates in groups, then the new states."""

    def __init__(self, plan: Plan) -> None:
        derived = plan.derived
        names = {node: name for node, (name, _) in plan.stored.items() if node in derived.before}
        names |= {node: f"zx_{plan.gate(at)}" for at, node in enumerate(derived.gates)}
        names |= {node: f"own_{node.value}" for node in derived.vectors}
        names |= {node: f"v{node.index}" for node in plan.units}
        targets = {n: name for n, (name, _) in plan.stored.items() if n not in names}
        for run in plan.runs:
            targets |= {
                total: targets[value] for total, value in zip(run.sums, run.values, strict=True)
            }
        roots = [*derived.after, *derived.operands]
        begun = frozenset(total for run in plan.runs for total in run.sums)
        super().__init__(roots, names, targets, plan.exact, begun)
        self.plan = plan
        self.views = dict(plan.stored.values())
        self.views |= {
            f"zx_{plan.gate(at)}": f"layer.gates[:, {at}]" for at in range(len(derived.gates))
        }
        self.scales: dict[str, tuple[list[float], list[float]]] = {}
        self._groups = {
            run.values[at]: (run, group)
            for run in plan.runs
            for group in plan.groups(run)
            for at in group
            if len(group) > 1
        }
        self._called: set[int] = set()
        for name, node in zip(derived.cell.states, derived.after, strict=True):
            value = self.read(node)
            if value != f"new_{name}":
                self.views[f"new_{name}"] = f"layer.states[{derived.cell.states.index(name)}][1:]"
                self.write(f"copyto(new_{name}, {value})")
        for index in range(len(derived.operands)):
            self._operand(index)

    def _compute(self, node: Node) -> None:
        if node.op == "product":
            self._product(node.value[0])
        elif node in self._groups:
            self._gates(*self._groups[node])
        else:
            super()._compute(node)

    def _operand(self, index: int) -> str:
        """Return what a product is taken of, an array (B, H)."""
        node, name = self.plan.derived.operands[index], self.plan.derived.cell.products[index].name
        value = self.read(node)
        if value.startswith(("old_", "new_", "operand_")):
            return value
        self.views[f"operand_{name}"] = f"layer.operands[{index}]"
        if index not in self._called:
            self.write(f"copyto(operand_{name}, {value})")
        return f"operand_{name}"

    def _product(self, index: int) -> None:
        derived = self.plan.derived
        product = derived.cell.products[index]
        self.write(f"product_{product.name}({self._operand(index)})")
        self._called.add(index)
        merged = set(derived.merged.values())
        for run in self.plan.runs:
            if run.product == index:
                self._add(run)
        for at, piece in enumerate(derived.pieces[index]):
            name = f"{product.name}_{at}"
            if piece in self.plan.kept or (piece in self._left and (index, at) not in merged):
                target = self.plan.stored[piece][0] if piece in self.plan.kept else name
                if product.bias and (index, at) not in merged:
                    self.write(f"add({name}, bias_{name}, out={target})")
                elif target != name:
                    self.write(f"copyto({target}, {name})")
                name = target
            self.know(piece, name)

    def _add(self, run: Run) -> None:
        """Write the sums of all gates of a run."""
        count, derived = len(run.sums), self.plan.derived
        name = derived.cell.products[run.product].name
        pieces = f"{name}_{run.piece}_{run.piece + count}"
        zx = f"zx_{run.gate}_{run.gate + count}"
        self.views[zx] = f"layer.gates[:, {run.gate}:{run.gate + count}]"
        self.write(f"add({pieces}, {zx}, out={self._stretch(run, range(count))})")
        for at, total in enumerate(run.sums):
            piece = derived.pieces[run.product][run.piece + at]
            self.start(total, [derived.gates[run.gate + at], piece])

    def _stretch(self, run: Run, group: range) -> str:
        """Return the name of neighbouring kept values."""
        if len(group) == 1:
            return self.target(run.values[group[0]])
        start, stop = run.slot + group.start, run.slot + group.stop
        self.views[f"kept_{start}_{stop}"] = f"layer.kept[:, {start}:{stop}]"
        return f"kept_{start}_{stop}"

    def _gates(self, run: Run, group: range) -> None:
        """Write the functions of neighbouring gates, in place."""
        for at in group:
            self.read(run.sums[at])
        both, values = self._stretch(run, group), [run.values[at] for at in group]
        halves = [0.5 if value.op == "sigmoid" else 1.0 for value in values]
        scale, shift = "0.5", "0.5"
        if len(set(halves)) > 1:
            scale, shift = f"scale_{both}", f"shift_{both}"
            self.scales[both] = halves, [0.5 if half == 0.5 else 0.0 for half in halves]  # noqa: PLR2004
        around = any(value.op == "sigmoid" for value in values)
        steps = ("multiply", "tanh", "multiply", "add") if around else ("tanh",)
        for step, second in zip(steps, (scale, None, scale, shift), strict=False):
            arguments = both if second is None or not around else f"{both}, {second}"
            self.write(f"{step}({arguments}, out={both})")
        for value in values:
            self.know(value, self.target(value))
