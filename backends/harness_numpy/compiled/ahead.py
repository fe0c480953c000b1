"""The stages of a time step forwards: new states, operands of products, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence

from harness.recurrence import Node
from harness_numpy.compiled.layout import Kernel, Layout, read_counts
from harness_numpy.compiled.statements import Body, Code


class Ahead:
    """Writes the stages of the step."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.derived = layout, layout.derived
        self.targets = {node: f"kept{{{at}}}" for at, node in enumerate(layout.kept)}
        self.targets |= {node: f"means[t, b, {at}]" for at, node in enumerate(layout.means)}
        for index in layout.inner:
            self.targets[self.derived.operands[index]] = self._operand(index)
        self.targets |= dict(self._states())
        self.everywhere = layout.codes()
        zx = enumerate(self.derived.gates)
        self.everywhere |= {node: Code(f"zx{{{gate}}}") for gate, node in zx}

    def kernels(self) -> list[Kernel]:
        """Return the stages."""
        kernels, arrived = list[Kernel](), list(self.layout.outer)
        for index in self.layout.inner:
            targets = [(self.derived.operands[index], self._operand(index))]
            body = self._stage(arrived, targets)
            kernels.append(self.layout.kernel(f"ahead_{len(kernels)}", body, index))
            arrived = [index]
        kept = [(node, self.targets[node]) for node in (*self.layout.means, *self.layout.kept)]
        body = self._stage(arrived, [*self._states(), *kept])
        kernels.append(self.layout.kernel(f"ahead_{len(kernels)}", body, None))
        return kernels

    def _operand(self, index: int) -> str:
        return f"operand_{self.layout.products[index]}{{0}}"

    def _states(self) -> list[tuple[Node, str]]:
        targets = [f"new_{name}{{0}}" for name in self.layout.states]
        return list(zip(self.derived.after, targets, strict=True))

    def _stage(self, arrived: Sequence[int], targets: Sequence[tuple[Node, str]]) -> Body:
        """Write the targets after some products have arrived."""
        pieces = {
            node: code for index in arrived for node, code in self.layout.pieces(index).items()
        }
        self.everywhere |= pieces
        uses = read_counts([node for node, _ in targets], self.everywhere)
        body = Body(self.layout.rows, dict(self.everywhere), self.targets, uses)
        for node, code in pieces.items():
            if node in self.targets:  # with its bias, so that it is added once
                body.codes[node] = body.put(self.targets[node], code)
        for node, target in targets:
            code = body.value(node)
            if target not in body.written:
                body.put(target, code)
        for node in body.codes:
            if node in self.targets and (node in pieces or node not in self.everywhere):
                self.everywhere[node] = Code(self.targets[node])
        return body
