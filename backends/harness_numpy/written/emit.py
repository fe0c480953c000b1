"""NumPy's operations and their spelling: every call writes into its destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property

from harness.recurrence import Node, Recurrence, reachable
from harness.recurrence.statements.lowering import Lowering, width_rank
from harness.recurrence.statements.prepared import prepared
from harness.recurrence.statements.program import Program, write
from harness.recurrence.statements.slots import Code, Slot, runs
from harness.recurrence.statements.spelling import Chunk, Spelling
from harness_numpy.recurrence.layer import is_sum_with_zx

# Operations of the graph under another name; ``maximum`` and ``divide`` are NumPy's own.
NAMES: Mapping[str, str] = {"mean": "mean", "positive": "greater", "relu": "maximum"}


class NumpyLowering(Lowering):
    """Binary operations."""

    @cached_property
    def exact(self) -> frozenset[Node]:
        """The sigmoids that reach a divisor or a logarithm: half a tanh would give zero."""
        recurrence = self.recurrence
        roots = [*recurrence.after, *recurrence.operands, *recurrence.reverse.factors()]
        divisors = [node.args[-1] for node in reachable(roots) if node.op in {"divide", "log"}]
        return frozenset(node for node in reachable(divisors) if node.op == "sigmoid")

    def sum(self, node: Node) -> Node:
        """Return a chain: a term with a coefficient first, then the positive ones."""
        coefficients, constant = node.value
        terms = []
        for coefficient, argument in zip(coefficients, node.args, strict=True):
            scale, statement = self.scaled(argument)
            terms.append((coefficient * scale, statement))
        terms.sort(key=lambda term: (width_rank(term[1]), abs(term[0]) == 1, -term[0]))
        coefficient, total = terms.pop(0)
        if coefficient == -1 and constant:
            total = self.make("subtract", self.graph.constant(constant), total)
            constant = 0.0
        else:
            total = self.multiple(total, coefficient)
        for coefficient, statement in terms:
            if abs(coefficient) == 1:
                total = self.make("add" if coefficient > 0 else "subtract", total, statement)
            else:
                total = self.make("add", total, self.multiple(statement, coefficient))
        return self.make("add", total, self.graph.constant(constant)) if constant else total

    def function(self, node: Node, args: Sequence[Node]) -> tuple[float, Node]:
        """Return one operation, or a few."""
        zero = self.graph.constant(0.0)
        if node.op == "sigmoid" and node in self.exact:
            power = self.make("exp", self.make("negative", *args))
            return 1.0, self.make("reciprocal", self.make("add", power, self.graph.constant(1.0)))
        if node.op in {"sigmoid", "tanh"}:
            return 1.0, self.make("gate", *args, value=node.op)
        if node.op == "softplus":
            power = self.make("exp", self.make("negative", self.make("absolute", *args)))
            above = self.make("maximum", *args, zero)
            return 1.0, self.make("add", self.make("log1p", power), above)
        more = [zero] if node.op in {"relu", "positive"} else []
        return 1.0, self.make(NAMES.get(node.op, node.op), *args, *more, width=node.width)


class NumpySpelling(Spelling):
    """Buffers are (T, n, B, H), or (n, B, H) of one time step: one part is contiguous."""

    lowering, mixed = NumpyLowering, Spelling.mixed | {"gate"}
    flat, fills = False, False

    def laid_out(self) -> tuple[list[Chunk], list[Slot]]:
        """Return gradients that overwrite zx, and those of products that differ from them."""
        recurrence, cell = self.recurrence, self.recurrence.cell
        zx = Slot("d_zx", 0, len(cell.gates))
        chunks, products = [], []
        for gate, slot in enumerate(zx.parts):
            self.names.of(Slot("zx", gate, gate + 1), f"zx_{cell.gates[gate]}")
            self.names.of(slot, f"d_zx_{cell.gates[gate]}")
            chunks.append(Chunk(slot, recurrence.reverse.zx[gate]))
        for index, pieces in enumerate(recurrence.pieces):
            rows = zx
            if not is_sum_with_zx(recurrence, index):
                rows = Slot(f"d_product_{cell.products[index].name}", 0, len(pieces))
                terms = recurrence.reverse.products[index]
                for slot, piece, term in zip(rows.parts, pieces, terms, strict=True):
                    self.names.of(slot, f"d_{recurrence.label(piece)}")
                    chunks.append(Chunk(slot, term))
            products.append(rows)
        return chunks, products

    def inputs(self) -> Mapping[Node, Slot]:
        """Return the gates of zx that no product is added to."""
        return {
            node: Slot("zx", gate, gate + 1)
            for gate, node in enumerate(self.recurrence.gates)
            if gate not in self.recurrence.merged
        }

    def label(self, node: Node) -> str:
        """Name the gates."""
        if node.op != "gate" or node.args[0].op != "product":
            return ""
        index, piece = node.args[0].value
        cell = self.recurrence.cell
        return f"gate_{(cell.products[index].gates or cell.gates)[piece]}"

    def operand_slots(self) -> Mapping[Node, Slot]:
        """Return those of operands that are not states."""
        recurrence, slots = self.recurrence, dict[Node, Slot]()
        for node, product in zip(recurrence.operands, recurrence.cell.products, strict=True):
            if node not in {*recurrence.before, *recurrence.after, *slots}:
                slots[node] = Slot(f"operand_{product.name}")
                self.names.of(slots[node], f"operand_{product.name}")
        return slots

    def back_slot(self, index: int) -> Slot | None:
        """Return where a packed product writes."""
        slot = Slot(f"back_{self.recurrence.cell.products[index].name}", timed=False)
        self.names.of(slot, slot.buffer)
        return slot

    def product(self, code: Code, index: int, x: str, kept: Sequence[bool]) -> Sequence[Slot]:
        """Write a packed product, and add zx or its biases where it lies or is kept."""
        pieces, stated = self.recurrence.pieces[index], self.recurrence.cell.products[index]
        parts = Slot(f"product_{stated.name}", 0, len(pieces), timed=False).parts
        for part, piece in zip(parts, pieces, strict=True):
            self.names.of(part, self.recurrence.label(piece))
        slots = [
            self.new_kept(piece) if stays else part
            for piece, part, stays in zip(pieces, parts, kept, strict=True)
        ]
        code.line(f"{code.fix(f'product_{stated.name}', 'ahead', index)}({x})")
        merged = {
            piece: gate for gate, (of, piece) in self.recurrence.merged.items() if of == index
        }
        ends = ((at, merged[at], slots[at].first, slots[at].buffer) for at in sorted(merged))
        for first, last in runs(ends):
            zx = code.name(Slot("zx", merged[first], merged[last] + 1))
            y = code.name(slots[first].to(slots[last]))
            code.line(f"add({code.name(parts[first].to(parts[last]))}, {zx}, out={y})")
        for at, (part, slot) in enumerate(zip(parts, slots, strict=True)):
            if at in merged:
                continue
            if stated.bias:
                label = f"bias_{self.recurrence.label(pieces[at])}"
                bias = code.fix(label, "bias", f"bias_{stated.name}", at)
                code.line(f"add({code.name(part)}, {bias}, out={code.name(slot)})")
            elif slot != part:
                code.line(f"copyto({code.name(slot)}, {code.name(part)})")
        return slots

    def statement(
        self, code: Code, nodes: Sequence[Node], slot: Slot, y: str, args: Sequence[str]
    ) -> None:
        """Write one call; more for the gates."""
        op, value = nodes[0].op, nodes[0].value
        if op == "copy":
            code.line(f"copyto({y}, {args[0]})")
        elif op == "mean":
            code.line(f"mean({args[0]}, axis=-1, keepdims=True, out={y})")
        elif op == "back":
            name = self.recurrence.cell.products[value].name
            rows = code.name(Slot(f"rows_{name}"), f"d_{name}")  # the pieces as one axis
            code.line(f"{code.fix(f'reverse_{name}', 'behind', value)}({rows})")
        elif op == "gate":
            _gates(code, [node.value == "sigmoid" for node in nodes], y, args[0])
        else:
            code.line(f"{op}({', '.join(args)}, out={y})")

    def head(self, lines: Sequence[str]) -> str:
        """Import the functions."""
        calls = {line.split("(")[0] for line in lines if "out=" in line or "copyto" in line}
        return f"from numpy import {', '.join(sorted(calls))}"


def _gates(code: Code, sigmoids: Sequence[bool], y: str, x: str) -> None:
    """Write neighbouring functions: a sigmoid is 0.5 + 0.5 tanh(0.5 x)."""
    if not any(sigmoids):
        code.line(f"tanh({x}, out={y})")
        return
    scale = shift = "0.5"
    if not all(sigmoids):
        scale = code.fix(f"scale_{y}", "each", [0.5 if sigmoid else 1.0 for sigmoid in sigmoids])
        shift = code.fix(f"shift_{y}", "each", [0.5 if sigmoid else 0.0 for sigmoid in sigmoids])
    code.line(f"multiply({x}, {scale}, out={y})")
    code.line(f"tanh({y}, out={y})")
    code.line(f"multiply({y}, {scale}, out={y})")
    code.line(f"add({y}, {shift}, out={y})")


@cache
def program(recurrence: Recurrence) -> Program:
    """Write the code of a recurrence."""
    return write(NumpySpelling(prepared(recurrence)))
