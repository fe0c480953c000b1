"""Where values lie, the names of these slots, and the statements of a function."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from harness.recurrence.graph import Node


@dataclass(frozen=True)
class Slot:
    """A part of a buffer.

    Attributes:
        buffer: its name.
        first, last: the parts of H units; ``last`` is not included.
        shift: the time step, counted from that of the loop.
        timed: whether the buffer has an entry per time step.
        wide: (B, H) per part; False: (B, 1).
        axis: whether the parts are an axis of the view, so that one value is taken with each.
    """

    buffer: str
    first: int = 0
    last: int = 1
    shift: int = 0
    timed: bool = True
    wide: bool = True
    axis: bool = False

    @property
    def parts(self) -> list[Slot]:
        """The slots of one part each."""
        return [
            replace(self, first=at, last=at + 1, axis=False) for at in range(self.first, self.last)
        ]

    def moved(self, parts: int) -> Slot:
        """Return the slot so many parts further."""
        return replace(self, first=self.first + parts, last=self.last + parts)

    def to(self, end: Slot, *, axis: bool = False) -> Slot:
        """Return the slot from this one to the end of another."""
        return replace(self, last=end.last, axis=axis)


class Names:
    """Names in one program.

    Args:
        reserved: names that no slot may have.
        flat: each new slot is a buffer of its own; False: the next part of one.

    Attributes:
        slots: slot -> name.
        fixed: name -> what it is: of arguments that no time step changes.
        buffers: the buffers that the program needs for its own values, each as one slot.
    """

    def __init__(self, reserved: Iterable[str] = (), *, flat: bool) -> None:
        self._reserved, self._flat = tuple(reserved), flat
        self._counts: Counter[str] = Counter()
        self.slots: dict[Slot, str] = {}
        self.fixed: dict[str, tuple[Any, ...]] = {}
        self.buffers: dict[str, Slot] = {}

    def of(self, slot: Slot, label: str = "") -> str:
        """Return the name of a slot: ``label``, with a number if it is another's name."""
        if slot not in self.slots:
            base = re.sub(r"\W", "_", label or self._label(slot))
            name, count, used = base, 2, {*self._reserved, *self.slots.values(), *self.fixed}
            while name in used:
                name, count = f"{base}_{count}", count + 1
            self.slots[slot] = name
        return self.slots[slot]

    def _label(self, slot: Slot) -> str:
        if slot in slot.parts:
            return f"{slot.buffer}_{slot.first}"
        first, *_, last = (self.of(part) for part in slot.parts * 2)
        end = last.removeprefix(first[: first.rfind("_") + 1])
        return f"{first}_of_gates" if first == last else f"{first}_to_{end}"

    def new(self, kind: str, *, timed: bool, wide: bool, label: str = "") -> Slot:
        """Return a new slot."""
        kind += "" if wide else "_narrow"
        at = self._counts[kind]
        self._counts[kind] += 1
        slot = Slot(kind, at, at + 1, timed=timed, wide=wide)
        if self._flat:
            slot = replace(slot, buffer=f"{kind}_{at}", first=0, last=1)
        self.buffers[slot.buffer] = replace(slot, first=0)
        self.of(slot, label or f"{kind}_{at}")
        return slot

    def unit(self, node: Node) -> str:
        """Return the name of a value (H,) that is computed before the loop."""
        for name, what in self.fixed.items():
            if what == ("unit", node):
                return name
        name = f"own_{node.value}" if node.op == "vector" else f"unit_{node.index}"
        self.fixed[name] = ("unit", node)
        return name


class Code:
    """The statements of one function.

    Attributes:
        names: of the program.
        lines: as text.
        used: name -> slot, of the slots in them.
        fixed: the names of further arguments in them.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.lines: list[str] = []
        self.used: dict[str, Slot] = {}
        self.fixed: set[str] = set()

    def line(self, text: str) -> None:
        """Add a statement."""
        self.lines.append(text)

    def name(self, slot: Slot, label: str = "") -> str:
        """Return the name of a slot, and note that it is used."""
        name = self.names.of(slot, label)
        self.used[name] = slot
        return name

    def fix(self, name: str, *what: object) -> str:
        """Return the name of an argument that no time step changes, and say what it is."""
        while name in self.names.slots.values() or self.names.fixed.get(name, what) != what:
            name += "_"
        self.names.fixed[name] = what
        self.fixed.add(name)
        return name


def is_unit(node: Node) -> bool:
    """Say whether a value is the same for all sequences."""
    return node.width in {"unit", "constant"}


def runs(tuples: Iterable[tuple[Any, ...]]) -> list[tuple[int, int]]:
    """Return the first numbers of the ends of runs in which all numbers grow by one.

    Texts must be equal in a run.
    """
    ends: list[list[int]] = []
    previous: tuple[Any, ...] = ()
    for each in tuples:
        follows = tuple(part + 1 if isinstance(part, int) else part for part in previous)
        if each == follows:
            ends[-1][1] = each[0]
        else:
            ends.append([each[0], each[0]])
        previous = each
    return [(first, last) for first, last in ends]
