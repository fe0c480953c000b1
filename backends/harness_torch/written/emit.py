"""One kernel per cell, written from its graph: Python statements on tensors that stay.

Forwards, ``addmm_`` adds each product to zx where it lies, and the gates overwrite it. Backwards,
the factors of all time steps are computed at once, and the reverse loop only multiplies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from harness.contract import Cell
from harness.recurrence import Node, Recurrence, derive
from harness.recurrence.statements.program import Program, write
from harness.recurrence.statements.slots import Code, Slot, runs
from harness.recurrence.statements.spelling import Chunk, Spelling
from harness_torch.written.form import Form
from harness_torch.written.lowering import TorchLowering

NAMES = {"divide": "div", "absolute": "abs", "multiply": "mul"}
OPTIONS = {"add": "alpha", "addcmul": "value", "addcdiv": "value"}
SLOPES = ("sigmoid_backward", "tanh_backward")


class TorchSpelling(Spelling):
    """Buffers are (T, B, n*H), or (B, n*H) of one time step: products read and write them."""

    lowering, flat, fills, reserved = TorchLowering, True, True, SLOPES

    def __init__(self, form: Form) -> None:
        self.form = form
        super().__init__(form.recurrence)

    def laid_out(self) -> tuple[list[Chunk], list[Slot]]:
        """Return gradients that lie side by side in ``d_gates``."""
        form, recurrence, chunks = self.form, self.recurrence, list[Chunk]()
        whole = self.names.buffers["d_gates"] = Slot("d_gates", 0, form.columns)
        for at, slot in enumerate(whole.parts):
            if at in form.others:
                index, piece = form.others[at]
                self.names.of(slot, f"d_{recurrence.label(recurrence.pieces[index][piece])}")
                chunks.append(Chunk(slot, recurrence.reverse.products[index][piece]))
            else:
                gate = at - form.zx
                self.names.of(slot, f"d_z_{recurrence.cell.gates[gate]}")
                chunks.append(Chunk(slot, recurrence.reverse.zx[gate]))
        columns = zip(form.firsts, form.orders, strict=True)
        return chunks, [Slot("d_gates", first, first + len(order)) for first, order in columns]

    def inputs(self) -> Mapping[Node, Slot]:
        """Return the gates of zx that no product is added to."""
        slots = Slot("zx", 0, len(self.recurrence.gates)).parts
        for slot, gate in zip(slots, self.recurrence.cell.gates, strict=True):
            self.names.of(slot, f"z_{gate}")
        gates = zip(self.recurrence.gates, slots, strict=True)
        return {node: slot for node, slot in gates if node.value not in self.recurrence.merged}

    def product(self, code: Code, index: int, x: str, kept: Sequence[bool]) -> Sequence[Slot]:
        """Write a product per run of gates, added to zx, and one for the other pieces."""
        pieces, stated = self.recurrence.pieces[index], self.recurrence.cell.products[index]
        form = self.form
        order, free, merged = form.orders[index], form.free[index], form.merged[index]
        slots = {piece: Slot("zx", gate, gate + 1) for gate, piece in merged.items()}
        for first, last in runs((order.index(piece), gate) for gate, piece in merged.items()):
            z = code.name(slots[order[first]].to(slots[order[last]]))
            code.line(f"{z}.addmm_({x}, {self._weight(code, index, first, last + 1)})")
        if free:
            whole = Slot(f"product_{index}", 0, len(free))
            self.names.buffers[whole.buffer] = whole
            for piece, slot in zip(free, whole.parts, strict=True):
                slots[piece] = slot
                self.names.of(slot, self.recurrence.label(pieces[piece]))
            first = order.index(free[0])
            weight, y = self._weight(code, index, first, first + len(free)), code.name(whole)
            if stated.bias:
                label = f"bias_{stated.name}"
                bias = code.fix(label, "whole", label)
                code.line(f"torch.addmm({bias}, {x}, {weight}, out={y})")
            else:
                code.line(f"torch.mm({x}, {weight}, out={y})")
        return [slots[piece] for piece in range(len(pieces))]

    def _weight(self, code: Code, index: int, first: int, stop: int) -> str:
        name = f"weight_{self.recurrence.cell.products[index].name}"
        return code.fix(f"{name}_{first}_{stop}", "rows", name, first, stop)

    def statement(
        self, code: Code, nodes: Sequence[Node], slot: Slot, y: str, args: Sequence[str]
    ) -> None:
        """Write one call, in place if an argument is the destination."""
        (op, value), x = (nodes[0].op, nodes[0].value), args[0]
        if op == "copy":
            code.line(f"{y}.{'fill' if nodes[0].args[0].op == 'constant' else 'copy'}_({x})")
        elif op in {"back", "addback"}:
            name = self.recurrence.cell.products[value].name
            d = code.name(self.products[value], f"d_{name}")
            label = f"weight_{name}"
            weight = code.fix(label, "whole", label)
            added = [x] if op == "addback" else []
            code.line(_call("addmm" if added else "mm", y, [*added, d, weight]))
        elif op == "affine":
            number = _number(code, value[1], slot)
            code.line(f"torch.add({number}, {x}{_option('alpha', value[0])}, out={y})")
        elif op == "softplus":
            code.line(f"torch.logaddexp({x}, {_number(code, 0.0, slot)}, out={y})")
        elif op == "positive":
            code.line(f"torch.sign({x}, out={y}).clamp_min_(0.0)")
        elif op == "mean":
            code.line(f"torch.mean({x}, -1, True, out={y})")
        elif op in SLOPES:
            code.line(f"{op}({', '.join(args)}, grad_input={y})")
        else:
            if op == "multiply":
                args = sorted(args, key=lambda each: each != y)
            options = _option(OPTIONS[op], value) if op in OPTIONS else ""
            code.line(_call(NAMES.get(op, op), y, args, options))

    def head(self, lines: Sequence[str]) -> str:
        """Import torch, and name its derivatives of sigmoid and tanh."""
        used = [name for name in SLOPES if any(line.startswith(name) for line in lines)]
        return "\n".join(
            ["import torch", *(f"{name} = torch.ops.aten.{name}.grad_input" for name in used)]
        )


def _call(function: str, y: str, args: Sequence[str], options: str = "") -> str:
    if args[0] == y and function not in {"maximum", "mm"}:
        return f"{y}.{function}_({', '.join(args[1:])}{options})"
    return f"torch.{function}({', '.join(args)}{options}, out={y})"


def _option(name: str, value: float) -> str:
    return "" if value == 1 else f", {name}={value!r}"


def _number(code: Code, value: float, slot: Slot) -> str:
    """Return the name of a tensor that holds a number, for a result in ``slot``."""
    name = "number_" + f"{value:g}".replace("-", "minus_").replace(".", "_").replace("+", "")
    fits = slot.wide and len(slot.parts) == 1  # it may be (B, H)
    return code.fix(name if fits else f"{name}_narrow", "number", value, fits)


@cache
def written(recurrence: Recurrence) -> tuple[Program, Form]:
    """Write the kernel of a recurrence."""
    form = Form(recurrence)
    return write(TorchSpelling(form)), form


def source(cell: Cell) -> str:
    """Return the kernel of a cell as a Python module."""
    return written(derive(cell))[0].source
