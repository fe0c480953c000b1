"""One kernel per cell, written from its graph: Python statements on tensors that stay.

Forwards, ``addmm_`` adds each product to zx where it lies, and the gates overwrite it. Backwards,
every gradient is an anchor times a factor that holds no gradient: the factors of all time steps are
computed at once, and the reverse loop only multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.contract import Cell
from harness.recurrence import Node, Recurrence, derive
from harness_torch.written.backward import Backward
from harness_torch.written.forward import Forward
from harness_torch.written.layout import Layout, layout
from harness_torch.written.names import Names, Slot
from harness_torch.written.prepared import Prepared, prepared
from harness_torch.written.writer import Writer


class Unwritable(Exception):  # noqa: N818
    """The cell needs a form that is not written here; ``GenericKernel`` runs it."""


@dataclass(frozen=True)
class Function:
    """One function of the program, and what it is called with.

    Attributes:
        name: of the function.
        rows: the tensors of each time step, in the order of the loop's names.
        slots: further arguments that are views of buffers.
        fixed: the names of the arguments after them.
    """

    name: str
    rows: tuple[Slot, ...]
    slots: tuple[Slot, ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """The written kernel of a cell.

    Attributes:
        graph: what it computes.
        source: the Python module.
        code: its functions: ``units``, ``forward``, ``factors``, ``backward``, ``vectors``.
        functions: what each is called with, ``units`` excepted.
        fixed: what each fixed argument is.
        shapes: buffer -> (units of H, or 0 for (B, 1); time steps beyond T; whether it has T).
        layout: of the buffer ``d_gates``.
        operands: per product, where its operand lies.
    """

    graph: Prepared
    source: str
    code: Mapping[str, Callable[..., Any]]
    functions: Mapping[str, Function]
    fixed: Mapping[str, tuple[Any, ...]]
    shapes: Mapping[str, tuple[int, int, bool]]
    layout: Layout
    operands: tuple[Slot, ...]


def source(cell: Cell) -> str:
    """Return the kernel of a cell as a Python module.

    Raises:
        Unwritable: it has none.
    """
    return written(derive(cell)).source


@cache
def written(recurrence: Recurrence) -> Program:
    """Write the kernel of a recurrence.

    Raises:
        Unwritable: a product or a new state is the same for all sequences or units.
    """
    nodes = (*recurrence.after, *recurrence.operands)
    if any(node.width != "both" for node in nodes):
        raise Unwritable(f"{recurrence.cell.name} has a state or product that is not (B, H)")
    graph, names = prepared(recurrence), Names()
    parts = layout(graph)
    forward = Forward(graph, parts, names)
    forward.run()
    there = forward.kept_slots()
    backward = _backward(graph, parts, names, there)
    vectors, results = backward.vectors()
    functions = [
        _function("forward", forward.writer, loop="for {} in rows:"),
        _function("factors", backward.fill),
        _function("backward", backward.writer, loop="for {} in reversed(rows):"),
        _function("vectors", vectors, results),
    ]
    title = f'"""The step of {recurrence.cell.name} and its gradient, for all time steps."""'
    texts = [title, _units(recurrence.cell, names), *(text for text, _ in functions)]
    text = "\n\n\n".join(texts) + "\n"
    return Program(
        graph,
        text,
        _executed(text, recurrence.cell),
        {function.name: function for _, function in functions},
        names.fixed,
        _shapes(parts, backward, [function for _, function in functions]),
        parts,
        tuple(there[operand] for operand in graph.operands),
    )


def _backward(graph: Prepared, parts: Layout, names: Names, there: Mapping[Node, Slot]) -> Backward:
    """Write the reverse; find out which states' gradients need an entry per time step."""
    rolling, slots = set[int](), dict(names.slots)
    while True:
        names.slots = dict(slots)
        backward = Backward(graph, parts, names, there, rolling)
        wanting = backward.run()
        if wanting is None:
            return backward
        rolling |= {wanting}


def _units(cell: Cell, names: Names) -> str:
    """Return the function that computes the values (H,), as text."""
    arguments = ", ".join(["ops", *(f"own_{name}" for name in cell.vectors)])
    results = [name for name, what in names.fixed.items() if what[0] == "unit"]
    listed = ", ".join(f"{name!r}: {name}" for name in results)
    lines = [f"def units({arguments}):", *names.unit_lines, f"return {{{listed}}}"]
    return "\n    ".join(lines)


def _function(name: str, writer: Writer, result: str = "", loop: str = "") -> tuple[str, Function]:
    """Return a function as text, and what it is called with."""
    rows = {name: slot for name, slot in writer.used.items() if loop and slot.timed}
    rest = {name: slot for name, slot in writer.used.items() if name not in rows}
    fixed = sorted(writer.fixed)
    lines = [f"def {name}({', '.join([*(['rows'] if rows else []), *rest, *fixed])}):"]
    if rows:
        lines.append("    " + loop.format(", ".join(rows) + ("," if len(rows) == 1 else "")))
    indent = " " * (8 if rows else 4)
    body = writer.lines or ([] if result else ["pass"])
    lines += [indent + line for line in body]
    if result:
        lines.append(f"    return {result}")
    return "\n".join(lines), Function(
        name, tuple(rows.values()), tuple(rest.values()), tuple(fixed)
    )


def _shapes(
    parts: Layout, backward: Backward, functions: Sequence[Function]
) -> dict[str, tuple[int, int, bool]]:
    """Return the shapes of all buffers but zx."""
    shapes = {"d_gates": (len(parts.terms), 0, True)}
    for at, state in enumerate(backward.cell.states):
        rolls = at == 0 or at in backward.rolling
        shapes[f"state_{state}"] = (1, 1, True)
        shapes[f"d_{state}"] = (1, 1, True) if rolls else (1, 0, False)
    for index, free in enumerate(parts.free):
        if free:
            shapes[f"product_{index}"] = (len(free), 0, True)
    for slot in (slot for each in functions for slot in (*each.rows, *each.slots)):
        if slot.buffer != "zx":
            shapes.setdefault(slot.buffer, (int(slot.wide), 0, slot.timed))
    return shapes


def _executed(text: str, cell: Cell) -> dict[str, Callable[..., Any]]:
    import torch  # not at the top: ``harness list`` must stay fast

    namespace: dict[str, Any] = {
        "torch": torch,
        "sigmoid_backward": torch.ops.aten.sigmoid_backward.grad_input,
        "tanh_backward": torch.ops.aten.tanh_backward.grad_input,
    }
    exec(compile(text, f"<torch kernel of {cell.name}>", "exec"), namespace)  # noqa: S102
    return namespace
