"""One Python module per recurrence: ``forward``, ``factors`` and ``backward``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.contract import Ops, Tensor
from harness.recurrence.derived import Recurrence, evaluate
from harness.recurrence.graph import Node, reachable
from harness.recurrence.stages import SLOW
from harness.recurrence.statements.backward import Backward
from harness.recurrence.statements.schedule import Schedule
from harness.recurrence.statements.slots import Slot, is_unit
from harness.recurrence.statements.spelling import Spelling

LOOPS = {"forward": "for {} in rows:", "factors": "", "backward": "for {} in reversed(rows):"}
COSTLY = {*SLOW, "tanh_half", "mean", "product", "zx"}  # other values are computed again


@dataclass(frozen=True)
class Function:
    """What a function of the module is called with, in this order.

    Attributes:
        rows: slots of which a loop takes one list, with a tuple per time step.
        slots: further slots.
        fixed: the names of what no time step changes.
    """

    rows: tuple[Slot, ...]
    slots: tuple[Slot, ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A module, and what its functions take.

    Attributes:
        source: its text.
        functions: by name.
        fixed: name -> what it is, of arguments that no time step changes.
        buffers: those for values of the program itself, each as one slot.
        products: per product, where its gradient lies.
        operands: per product, where its operand lies.
    """

    recurrence: Recurrence
    source: str
    functions: Mapping[str, Function]
    fixed: Mapping[str, tuple[Any, ...]]
    buffers: Mapping[str, Slot]
    products: Sequence[Slot]
    operands: tuple[Slot, ...]

    @cached_property
    def code(self) -> Mapping[str, Callable[..., Any]]:
        """The functions, compiled at the first use."""
        namespace: dict[str, Any] = {}
        exec(compile(self.source, f"<{self.recurrence.cell.name}>", "exec"), namespace)  # noqa: S102
        return namespace

    def units(self, ops: Ops, own: Iterable[Tensor]) -> dict[str, Tensor]:
        """Compute the values (H,) that no time step changes, by name, from the vectors."""
        nodes = {name: what[0] for name, (kind, *what) in self.fixed.items() if kind == "unit"}
        values = dict(zip(self.recurrence.vectors, own, strict=True))
        evaluate(ops, list(nodes.values()), values)
        return {name: values[node] for name, node in nodes.items()}

    def rows(
        self, function: str, steps: int, by_step: Callable[[Slot], Sequence[Tensor]]
    ) -> list[tuple[Tensor, ...]]:
        """Return the first argument of a loop, from the views of a slot by time step."""
        columns = [by_step(slot) for slot in self.functions[function].rows]
        return list(zip(*columns, strict=True)) or [()] * steps

    def run(self, function: str, fixed: Mapping[str, Any], *arguments: Any) -> None:
        """Call a function."""
        names = self.functions[function].fixed
        self.code[function](*arguments, *(fixed[name] for name in names))


def write(spelling: Spelling) -> Program:
    """Write all functions."""
    recurrence, names = spelling.recurrence, spelling.names
    forward, kept = _forward(spelling)
    back = Backward(spelling, kept)
    schedules = {
        "forward": forward,
        "factors": Schedule(spelling, kept, back.factors, whole=True),
        "backward": Schedule(spelling, back.leaves, back.goals, spendable=back.spendable),
    }
    texts, functions = list[str](), dict[str, Function]()
    for name, schedule in schedules.items():
        text, functions[name] = _function(name, schedule)
        texts.append(text)
    title = f'"""The step of {recurrence.cell.name} and its gradient, for all time steps."""\n'
    head = spelling.head([line for each in schedules.values() for line in each.lines])
    fixed = names.fixed.items()
    units = [f"# {name} = {what[1]}" for name, what in fixed if name.startswith("unit_")]
    source = "\n\n\n".join(["\n".join([title, head, *units]), *texts]) + "\n"
    operands = tuple(kept[operand] for operand in recurrence.operands)
    return Program(
        recurrence, source, functions, names.fixed, names.buffers, spelling.products, operands
    )


def _forward(spelling: Spelling) -> tuple[Schedule, Mapping[Node, Slot]]:
    """Return the forward pass, and the values that exist after it."""
    recurrence, names = spelling.recurrence, spelling.names
    old, new = dict[Node, Slot](), list[Slot]()
    for name, node in zip(recurrence.cell.states, recurrence.before, strict=True):
        old[node] = Slot(f"state_{name}")
        new.append(Slot(f"state_{name}", shift=1))
        names.of(old[node], f"old_{name}")
        names.of(new[-1], f"new_{name}")
    inputs = spelling.inputs()
    leaves, kept = {**old, **inputs}, _kept(recurrence)
    roots = [*recurrence.after, *recurrence.operands]
    lowering = spelling.lowering(recurrence, leaves, roots, kept)
    goals: dict[Node, Slot] = {}
    after = list(zip(recurrence.after, new, strict=True))
    for node, slot in [*after, *spelling.operand_slots().items()]:
        spelling.aim(goals, leaves, lowering.value(node), slot)
    statements = {node: lowering.value(node) for node in kept}
    spendable = inputs if spelling.flat else ()
    schedule = Schedule(spelling, leaves, goals, statements.values(), spendable)
    slots = {node: schedule.slots[statement] for node, statement in statements.items()}
    return schedule, {**dict(after), **slots, **old}


def _kept(recurrence: Recurrence) -> list[Node]:
    """Return the values that factors, and gradients of weights, are computed from."""
    forward = reachable([*recurrence.after, *recurrence.operands])
    costly = {node for node in forward if node.op in COSTLY}
    kept = {node for node in recurrence.operands if node not in recurrence.before}
    seen = {*recurrence.before, *recurrence.after, *kept}
    waiting = recurrence.reverse.factors()
    while waiting:
        node = waiting.pop()
        if node not in seen and not is_unit(node):
            seen.add(node)
            if node in costly:
                kept.add(node)
            else:
                waiting += node.args
    return sorted(kept, key=lambda node: node.index)


def _function(name: str, schedule: Schedule) -> tuple[str, Function]:
    """Return a function as text, and what it is called with."""
    words, loop = set(re.findall(r"\w+", "\n".join(schedule.lines))), LOOPS[name]
    used = {name: slot for name, slot in schedule.used.items() if name in words}
    rows = {name: slot for name, slot in used.items() if loop and slot.timed}
    slots = {name: slot for name, slot in used.items() if name not in rows}
    fixed, first = sorted(schedule.fixed), ["rows"] if loop else []
    lines = [f"def {name}({', '.join([*first, *slots, *fixed])}):"]
    if loop:
        names = ", ".join(rows) + ("," if len(rows) == 1 else "")
        lines.append("    " + loop.format(names or "_"))
    indent = " " * (8 if loop else 4)
    lines += [indent + line for line in schedule.lines or ["pass"]]
    return "\n".join(lines), Function(tuple(rows.values()), tuple(slots.values()), tuple(fixed))
