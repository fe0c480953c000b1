"""Where the values of a time step are in memory, and which of them the gradient will read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.recurrence import Anchor, Node, Recurrence, reachable
from harness_numpy.compiled.statements import SLOW, Body, Code, Rows
from harness_numpy.recurrence.layer import is_sum_with_zx


@dataclass(frozen=True)
class Kernel:
    """One compiled function.

    Attributes:
        name: ``ahead_0``, ``back_0`` ...: the stages of a step, ``prepare``: once per call.
        arrays: its arguments after ``t``.
        product: the product to take after it, of what it wrote; None: none.
        body: what it does for one sequence.
    """

    name: str
    arrays: tuple[str, ...]
    product: int | None
    body: Body


def identifiers(names: Iterable[str]) -> list[str]:
    """Return names that can be part of a variable; the others get their number instead."""
    return [name if name.isidentifier() else f"{at}_" for at, name in enumerate(names)]


class Layout:
    """The memory of one cell's time loop.

    Attributes:
        states, products: their names, as parts of the arrays' names.
        inner: the products of what the step computes, in their order; each ends a stage.
        outer: the products of old states.
        units: values per unit, computed once per call.
        kept: values (T, B, H) that the gradient reads and the step does not leave anyway.
        means: such values per sequence, (T, B).
        carried: the states whose gradient is handed on along pointwise paths.
        joint: per product, whether d_product is d_zx.
        rows: the arrays' rows, by the names that code has for them.
    """

    def __init__(self, derived: Recurrence) -> None:
        self.derived, self.cell = derived, derived.cell
        self.states = identifiers(derived.cell.states)
        self.products = identifiers(product.name for product in derived.cell.products)
        self.roots = [*derived.after, *derived.operands]
        ahead = set(reachable(self.roots))
        inner = [i for i, node in enumerate(derived.operands) if node.op != "state"]
        self.inner = sorted(inner, key=lambda index: derived.operands[index].index)
        self.outer = [i for i in range(len(derived.operands)) if i not in inner]
        factors = derived.reverse.factors()
        everything = [*self.roots, *factors]
        self.units = [
            node for node in reachable(everything) if node.width == "unit" and node.op in SLOW
        ]
        kept = self._needed(factors, ahead)
        if self.inner:
            kept |= {
                node
                for node in ahead
                if node not in self.roots and (node.op in SLOW or node.op == "mean")
            }
        kept -= set(self.units)
        both = [node for node in kept if node.width in {"unit", "both"}]
        self.kept = sorted(both, key=self._position)
        self.means = sorted(kept - set(both), key=lambda node: node.index)
        self.anchors = [each for each in derived.reverse.order if isinstance(each, Anchor)]
        self.carried = [
            state for state, terms in enumerate(derived.reverse.state) if state > 0 or terms
        ]
        self.joint = [is_sum_with_zx(derived, index) for index in range(len(derived.pieces))]
        self.rows = dict(self._rows())

    def _needed(self, factors: Iterable[Node], ahead: set[Node]) -> set[Node]:
        """Return what the factors read and the step does not leave in memory anyway."""
        kept, seen, waiting = set[Node](), set[Node](), list(factors)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            inputs = [each for each in node.args if each.op in {"zx", "product"}]
            if node in self.roots or node.op in {"state", "vector", "constant"}:
                continue
            if (
                node.op in {"zx", "product"}
                or (node in ahead and (node.op in SLOW or node.op == "mean"))
                or (node in ahead and len(inputs) > 1 and node.width == "both")
            ):
                kept.add(node)
            else:
                waiting += node.args
        return kept

    def _position(self, node: Node) -> tuple[int, int]:
        """Order gates as zx has them: neighbours may share a loop."""
        inputs = [each for argument in node.args for each in argument.args if each.op == "zx"]
        gate = inputs[0].value if inputs and node.op in SLOW else len(self.cell.gates)
        return gate, node.index

    def _rows(self) -> Iterable[tuple[str, Rows]]:
        cell = self.cell
        yield "zx", Rows("zx", "zx[t, b]", cell.gates)
        names = [self._kept_name(at, node) for at, node in enumerate(self.kept)]
        yield "kept", Rows("kept", "kept[t, b]", names)
        yield "scratch", Rows("scratch", "scratch", ())
        yield "own", Rows("own", "own", cell.vectors)
        yield "unit", Rows("unit", "unit", ())
        yield "anchor", Rows("anchor", "anchor[b]", ())
        yield "d_hidden", Rows("d_hidden", "d_hidden[t, b]", ("all",))
        for name in self.states:
            yield f"old_{name}", Rows(f"state_{name}", f"state_{name}[t, b]", ("all",))
            yield f"new_{name}", Rows(f"state_{name}", f"state_{name}[t + 1, b]", ("all",))
            yield f"d_state_{name}", Rows(f"d_state_{name}", f"d_state_{name}[b]", ("all",))
        for name in cell.vectors:
            yield f"d_own_{name}", Rows(f"d_own_{name}", f"d_own_{name}[b]", ("all",))
        for name, product in zip(self.products, cell.products, strict=True):
            gates = product.gates or cell.gates
            yield f"product_{name}", Rows(f"product_{name}", f"product_{name}[b]", gates)
            yield f"bias_{name}", Rows(f"bias_{name}", f"bias_{name}", gates)
            yield f"operand_{name}", Rows(f"operand_{name}", f"operand_{name}[t, b]", ("all",))
            yield f"back_{name}", Rows(f"back_{name}", f"back_{name}[b]", ("all",))
            yield f"d_product_{name}", Rows(f"d_product_{name}", f"d_product_{name}[t, b]", gates)

    def _kept_name(self, at: int, node: Node) -> str:
        gate = self._position(node)[0]
        if node.op in {"zx", "product"}:
            return self.derived.label(node)
        return self.cell.gates[gate] if gate < len(self.cell.gates) else f"{node.op}_{at}"

    def codes(self) -> dict[Node, Code]:
        """Return what is there before the step."""
        derived = self.derived
        codes = {
            node: Code(f"old_{self.states[at]}{{0}}") for at, node in enumerate(derived.before)
        }
        codes |= {node: Code(f"own{{{at}}}") for at, node in enumerate(derived.vectors)}
        codes |= {node: Code(f"unit{{{at}}}") for at, node in enumerate(self.units)}
        return codes

    def pieces(self, index: int) -> dict[Node, Code]:
        """Return the pieces of a product, with their biases where zx has them not."""
        product, merged = self.cell.products[index], set(self.derived.merged.values())
        codes = {}
        for at, node in enumerate(self.derived.pieces[index]):
            code = Code(f"product_{self.products[index]}{{{at}}}")
            if product.bias and (index, at) not in merged:
                code = Code(f"({code.text} + bias_{self.products[index]}{{{at}}})", 1)
            codes[node] = code
        return codes

    def left(self) -> dict[Node, Code]:
        """Return what the step left in memory."""
        derived = self.derived
        codes = {node: Code(f"kept{{{at}}}") for at, node in enumerate(self.kept)}
        for index in self.inner:
            codes[derived.operands[index]] = Code(f"operand_{self.products[index]}{{0}}")
        codes |= {
            node: Code(f"new_{name}{{0}}")
            for name, node in zip(self.states, derived.after, strict=True)
        }
        return codes | self.codes()

    def kernel(self, name: str, body: Body, product: int | None) -> Kernel:
        """Return a function with the arrays that its body takes."""
        arrays = body.arrays(("means", "anchor_means"))
        always = "d_hidden" if name.startswith("back") else f"state_{self.states[0]}"
        return Kernel(name, (always, *sorted(arrays - {always})), product, body)


def read_counts(roots: Iterable[Node], codes: Mapping[Node, Code]) -> dict[Node, int]:
    """Return how often each node is read on the way to the roots from what is known."""
    counts, waiting = dict[Node, int](), list(roots)
    while waiting:
        node = waiting.pop()
        counts[node] = counts.get(node, 0) + 1
        if counts[node] == 1 and node not in codes:
            waiting += node.args
    return counts
