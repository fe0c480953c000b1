"""Names in a written program: of the slots of values, and of what no time step changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.recurrence import Node, infix


@dataclass(frozen=True)
class Slot:
    """Where a value lies.

    Attributes:
        buffer: the name of the tensor.
        first, last: the part of its last axis, in units of H.
        shift: the time step, counted from that of the loop.
        timed: whether the tensor has an entry per time step.
        wide: (B, H) per gate; False: (B, 1).
        gates: whether its gates are an axis: (B, n, H).
    """

    buffer: str
    first: int = 0
    last: int = 1
    shift: int = 0
    timed: bool = True
    wide: bool = True
    gates: bool = False

    @property
    def width(self) -> str:
        """As of a node."""
        return "both" if self.wide else "sequence"


class Names:
    """The names of slots and of values that no time step changes, in one program."""

    def __init__(self) -> None:
        self.slots: dict[Slot, str] = {}
        self.fixed: dict[str, tuple[Any, ...]] = {}  # name -> what it is
        self.units: dict[Node, str] = {}
        self.unit_lines: list[str] = []

    def of(self, slot: Slot, label: str = "") -> str:
        """Return the name of a slot, ``label`` if it has none."""
        if slot not in self.slots:
            used = set(self.slots.values()) | set(self.fixed)
            base = label or f"{slot.buffer}_{slot.first}_{slot.last}_{int(slot.gates)}"
            name, count = base, 2
            while name in used:
                name, count = f"{base}_{count}", count + 1
            self.slots[slot] = name
        return self.slots[slot]

    def new(self, kind: str) -> str:
        """Return the name of a new buffer."""
        count = len({slot.buffer for slot in self.slots if slot.buffer.startswith(f"{kind}_")})
        return f"{kind}_{count}"

    def number(self, value: float, *, wide: bool = True) -> str:
        """Return the name of a tensor that holds a number; ``wide``: it may be (B, H)."""
        name = "number_" + f"{value:g}".replace("-", "minus_").replace(".", "_").replace("+", "")
        name += "" if wide else "_narrow"
        self.fixed[name] = ("number", value, wide)
        return name

    def unit(self, node: Node) -> str:
        """Return the name of a value (H,) that is computed before the loop."""
        if node not in self.units:
            if node.op == "vector":
                name = f"own_{node.value}"
            else:
                args = [
                    repr(each.value) if each.op == "constant" else self.unit(each)
                    for each in node.args
                ]
                name = f"unit_{len(self.unit_lines)}"
                self.unit_lines.append(f"{name} = {infix(node, args, call=_call)}")
            self.units[node] = name
            self.fixed[name] = ("unit", node)
        return self.units[node]


def _call(op: str, args: Sequence[str]) -> str:
    if op == "tanh_half":
        return f"ops.tanh(0.5 * {args[0]})"
    if op == "sign":
        return f"torch.sign({args[0]})"
    args = [f"torch.as_tensor({arg})" if op == "maximum" else arg for arg in args]
    return f"ops.{op}({', '.join(args)})"


def is_unit(node: Node) -> bool:
    """Say whether a value is the same for all sequences."""
    return node.width in {"unit", "constant"}
