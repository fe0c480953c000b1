"""Variant ``vectorised``: NumPy code written from the graph of a cell, one module per graph.

Forwards, statements compute into their destination, and neighbouring gates are one call.
Backwards, every factor that does not wait for a gradient is taken for a block of time steps that
fits the second-level cache; per step an anchor times a factor remains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Array, Cell
from harness.recurrence import Recurrence as Derived
from harness.recurrence import derive
from harness_numpy.recurrence.layer import Recurrence, Shape, Weights, joint_bias
from harness_numpy.recurrence.packed import Packed
from harness_numpy.written.backward import Backward, factor_statements
from harness_numpy.written.forward import Forward
from harness_numpy.written.plan import Plan
from harness_numpy.written.statements import IMPORTS, Statements

BLOCK = 65_536  # elements of the factors of one block of time steps
INDENT = "    "


@dataclass(frozen=True)
class Code:
    """The module of one graph, and the sizes of the arrays that it takes.

    Attributes:
        source: its text.
        functions: its functions by name.
        kept, narrow: arrays (B, H) and (B, 1) of every time step.
        factors, narrow_factors: the same, of a block.
        scratch, block_scratch, anchors: arrays (B, H) of one time step, or of a block.
    """

    source: str
    functions: Mapping[str, Callable[..., Any]]
    kept: int
    narrow: int
    factors: int
    narrow_factors: int
    scratch: int
    block_scratch: int
    anchors: int


_known: dict[str, Code] = {}


def code_of(derived: Derived) -> Code:
    """Return the code of a cell, written once per graph and process."""
    if derived.digest not in _known:
        _known[derived.digest] = _written(derived)
    return _known[derived.digest]


def source(cell: Cell) -> str:
    """Return the module that runs the cell."""
    return code_of(derive(cell)).source


class Vectorised(Recurrence):
    """One layer in the code written for its cell."""

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        code = self._code = code_of(self.derived)
        steps, batch, hidden = shape.steps, shape.batch, shape.hidden
        self.gates = self._by_gate(self.zx)
        self.d_pieces = [self._by_gate(d_product) for d_product in self.d_products]
        self.kept = self._array(steps, code.kept, batch, hidden)
        self.narrow = self._array(steps, code.narrow, batch, 1)
        self.scratch = self._array(code.scratch, batch, hidden)
        per_step = max(1, code.factors) * batch * hidden
        self.block = max(1, min(steps, BLOCK // per_step))
        self.factors = self._array(self.block, code.factors, batch, hidden)
        self.narrow_factors = self._array(self.block, code.narrow_factors, batch, 1)
        self.block_scratch = self._array(code.block_scratch, self.block, batch, hidden)
        self.anchors = self._array(code.anchors, batch, hidden)
        self.carries = self._array(len(cell.states), batch, hidden)
        self.spares = self._array(len(cell.states), batch, hidden)
        self.ahead, self.behind = [], []
        for pieces in self.derived.pieces:
            width, options = len(pieces) * hidden, {"threads": shape.threads}
            self.ahead.append(
                Packed(batch, hidden, width, shape.dtype, blocks=len(pieces), **options)
            )
            self.behind.append(Packed(batch, width, hidden, shape.dtype, **options))
        self._forward_views = code.functions["forward_views"](self)
        self._backward_views = code.functions["backward_views"](self)
        self._factor_views = code.functions["factor_views"](self)

    def _by_gate(self, array: Array) -> Array:
        """Return (T, B, G*H) as (T, G, B, H), a view."""
        shape = self.shape
        return array.reshape(shape.steps, shape.batch, -1, shape.hidden).transpose(0, 2, 1, 3)

    def input_bias(self, weights: Weights) -> Array:
        """Return bias_ih and the biases of products that only meet zx in a sum."""
        return joint_bias(self.derived, weights)

    def forward(self, weights: Weights) -> None:
        """Pack the products and run the loop."""
        for product, packed in zip(self.cell.products, self.ahead, strict=True):
            packed.load(weights[f"weight_{product.name}"].T)
        self._code.functions["forward"](self, weights, self._forward_views)

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Pack the products and run the loop back."""
        for product, packed in zip(self.cell.products, self.behind, strict=True):
            packed.load(weights[f"weight_{product.name}"])
        for at, carry in enumerate(self.carries):
            carry[...] = 0.0 if d_final is None else d_final[at]
        for d_vector in self.d_vectors:
            d_vector.fill(0)
        views = self._backward_views, self._factor_views
        carries: Sequence[Array] = self._code.functions["backward"](self, weights, *views, d_hidden)
        return carries


def _written(derived: Derived) -> Code:
    plan = Plan(derived)
    ahead, fill, back = Forward(plan), factor_statements(plan), Backward(plan)
    parts = [*_forward(plan, ahead), *_backward(plan, fill, back)]
    used = [name for name in IMPORTS if _reads(parts, f"{name}(")]
    head = f'"""One layer of {derived.cell.name}, written from its step."""'
    text = "\n\n\n".join([f"{head}\n\nfrom numpy import {', '.join(used)}", *parts])
    functions: dict[str, Any] = {}
    exec(compile(text, f"<{derived.cell.name}: numpy>", "exec"), functions)  # noqa: S102
    return Code(
        text + "\n",
        functions,
        len(set(plan.kept.values())),
        len(plan.narrow),
        len(plan.blocked),
        len(plan.blocked_narrow),
        ahead.scratch,
        fill.scratch,
        len(back.anchors),
    )


def _forward(plan: Plan, statements: Forward) -> list[str]:
    """Return the functions of the forward pass."""
    head = [*_units(plan), *_products(plan)]
    for name, (scale, shift) in statements.scales.items():
        for kind, values in (("scale", scale), ("shift", shift)):
            head.append(f"{kind}_{name} = array({values}, layer.zx.dtype)[:, None, None]")
    head += [f"w{at} = layer.scratch[{at}]" for at in range(statements.scratch)]
    views = _used(statements.views, statements.lines)
    loop = [f"for {_names(views)} in views:", *_indented(statements.lines)]
    return [
        _views_function("forward_views", views),
        _function("forward(layer, weights, views)", [*_named(head, statements.lines), *loop]),
    ]


def _products(plan: Plan) -> list[str]:
    """Return the names of all pieces of the products, of runs of them, and of their biases."""
    derived, lines = plan.derived, list[str]()
    for index, product in enumerate(derived.cell.products):
        name, count = product.name, len(derived.pieces[index])
        lines.append(f"product_{name} = layer.ahead[{index}]")
        for run in plan.runs:
            if run.product == index:
                first, stop = run.piece, run.piece + len(run.sums)
                lines.append(f"{name}_{first}_{stop} = product_{name}.out[{first}:{stop}]")
        for at in range(count):
            lines.append(f"{name}_{at} = product_{name}.out[{at}]")
            if product.bias and (index, at) not in derived.merged.values():
                bias = f"weights['bias_{name}'].reshape({count}, -1)[{at}]"
                lines.append(f"bias_{name}_{at} = {bias}")
    return lines


def _backward(plan: Plan, fill: Statements, back: Backward) -> list[str]:
    """Return the functions of the backward pass."""
    derived, states = plan.derived, plan.derived.cell.states
    names = dict.fromkeys(line.split(" = ")[0] for line in _units(plan) if " = " in line)
    units = "".join(f", {name}" for name in names if _reads(fill.lines, name))
    head = _units(plan)
    for index, product in enumerate(derived.cell.products):
        head.append(f"product_{product.name} = layer.behind[{index}]")
        head.append(f"back_{product.name} = product_{product.name}.out[0]")
    for at, name in enumerate(derived.cell.vectors):
        head.append(f"d_own_{name} = layer.d_vectors[{at}]")
    head += [f"{name} = layer.anchors[{at}]" for at, name in enumerate(back.anchors)]
    head += [f"spare_{name} = layer.spares[{at}]" for at, name in enumerate(states)]
    views, factors = _used(back.views, back.lines), _used(back.factors, back.lines)
    carries = [f"carry_{name}" for name in states]
    filling = [
        "at = t % block",
        "if at == block - 1 or t == steps - 1:",
        f"{INDENT}fill(layer, t - at, t + 1{units})",
    ]
    keeping = [
        f"for d_state, carry in zip(layer.d_others, ({', '.join(carries[1:])},)):",
        f"{INDENT}d_state[t] = carry",
    ]
    body = [
        *(filling if fill.lines else []),
        f"{_names(views)} = views[t]",
        *([f"{_names(factors)} = factor_views[at]"] if factors else []),
        "d_h = d_hidden[t]",
        f"add(d_h, {carries[0]}, out=d_h)",
        *(keeping if len(states) > 1 else []),
        *back.lines,
    ]
    loop = [
        *(f"{carry} = layer.carries[{at}]" for at, carry in enumerate(carries)),
        "steps, block = layer.shape.steps, layer.block",
        "for t in range(steps - 1, -1, -1):",
        *_indented(body),
        f"return [{', '.join(carries)}]",
    ]
    return [
        *([_fill(plan, fill, units)] if fill.lines else []),
        _views_function("backward_views", views),
        _views_function("factor_views", factors),
        _function(
            "backward(layer, weights, views, factor_views, d_hidden)", [*_named(head, loop), *loop]
        ),
    ]


def _fill(plan: Plan, fill: Statements, units: str) -> str:
    """Return the function that computes the factors of a block."""
    arrays = {name: f"{array}[start:stop]" for name, array in plan.stored.values()}
    for at in range(len(plan.derived.gates)):
        arrays[f"zx_{plan.gate(at)}"] = f"layer.gates[start:stop, {at}]"
    for at in range(fill.scratch):
        arrays[f"w{at}"] = f"layer.block_scratch[{at}, : stop - start]"
    for at in plan.blocked.values():
        arrays[f"f{at}"] = f"layer.factors[: stop - start, {at}]"
    for at in plan.blocked_narrow.values():
        arrays[f"g{at}"] = f"layer.narrow_factors[: stop - start, {at}]"
    head = [f"{name} = {array}" for name, array in _used(arrays, fill.lines).items()]
    return _function(f"fill(layer, start, stop{units})", [*head, *fill.lines])


def _units(plan: Plan) -> list[str]:
    """Return the statements for the vectors and what is computed from them alone."""
    vectors = plan.derived.vectors
    names = {node: f"own_{node.value}" for node in vectors}
    statements = Statements(plan.units, names, {}, plan.exact)
    for node in plan.units:
        statements.read(node)
    return [*(f"own_{node.value} = weights['{node.value}']" for node in vectors), *statements.lines]


def _reads(lines: Sequence[str], name: str) -> bool:
    pattern = re.compile(rf"(?<!\w){re.escape(name)}" + (r"\b" if name[-1] != "(" else ""))
    return any(pattern.search(line) for line in lines)


def _used(views: Mapping[str, str], lines: Sequence[str]) -> dict[str, str]:
    """Return the views whose names are in the lines."""
    return {name: array for name, array in views.items() if _reads(lines, name)}


def _named(head: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return the assignments of ``head`` that the lines, or later assignments, read."""
    kept: list[str] = []
    for line in reversed(head):
        name = line.split(" = ")[0]
        if " = " not in line or _reads([*lines, *kept], name):
            kept.insert(0, line)
    return kept


def _indented(lines: Sequence[str]) -> list[str]:
    return [INDENT + line for line in lines]


def _function(head: str, body: Sequence[str]) -> str:
    return "\n".join([f"def {head}:", *_indented(body)])


def _names(views: Mapping[str, str]) -> str:
    return f"({', '.join(views)},)"


def _views_function(name: str, views: Mapping[str, str]) -> str:
    """Return a function that gives, per time step, the views of the loop."""
    arrays = "".join(f"\n{2 * INDENT}{array}," for array in views.values())
    return f"def {name}(layer):\n{INDENT}return list(zip({arrays}\n{INDENT}))"
