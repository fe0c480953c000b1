"""The Numba source of a cell's time loop, forwards and backwards, from the graph of its step.

Forwards, what the gradient needs is kept: values of functions, and what else it reads of zx and of
products. Backwards, each gradient is an anchor times a factor of kept values, as
``harness.recurrence`` derives them. A product inside the step cuts it into stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract import Cell
from harness.recurrence import derive
from harness_numpy.compiled.ahead import Ahead
from harness_numpy.compiled.back import Back
from harness_numpy.compiled.layout import Kernel, Layout
from harness_numpy.compiled.statements import Body, Code


@dataclass(frozen=True)
class Plan:
    """The generated module of a cell.

    Attributes:
        source: its text.
        ahead, back: the stages of a step.
        ahead_arguments, back_arguments: those of the functions over all time steps.
        prepare: what is computed once per call; None: nothing.
        outer: the products of old states: taken before the step, and after the step back.
        sizes: how many pieces of H units ``kept`` and the like have.
        states, products: their names as parts of the arguments' names.
    """

    source: str
    ahead: Sequence[Kernel]
    back: Sequence[Kernel]
    ahead_arguments: Sequence[str]
    back_arguments: Sequence[str]
    prepare: Kernel | None
    outer: Sequence[int]
    sizes: Mapping[str, int]
    states: Sequence[str]
    products: Sequence[str]


def source(cell: Cell) -> str:
    """Return the module that the variant ``numba`` compiles for a cell."""
    return plan(cell).source


def plan(cell: Cell) -> Plan:
    """Derive the recurrence of a cell and write its code.

    Raises:
        UnsupportedError: the cell's step cannot be traced.
    """
    return _Module(Layout(derive(cell))).plan()


class _Module:
    def __init__(self, layout: Layout) -> None:
        self.layout, self.derived, self.cell = layout, layout.derived, layout.cell
        self.ahead, self.back = Ahead(layout).kernels(), Back(layout).kernels()

    def plan(self) -> Plan:
        """Write all functions."""
        layout, ahead, back, prepare = self.layout, self.ahead, self.back, self._prepare()
        sizes = {
            "kept": len(layout.kept), "means": len(layout.means), "unit": len(layout.units),
            "anchor": len(layout.anchors),
            "scratch": max(each.body.scratch for each in (*ahead, *back)),
        }  # fmt: skip
        return Plan(
            self._text(prepare), ahead, back, self._arguments(ahead), self._arguments(back),
            prepare, layout.outer, sizes, layout.states, layout.products,
        )  # fmt: skip

    def _prepare(self) -> Kernel | None:
        if not self.layout.units:
            return None
        vectors = {node: Code(f"own{{{at}}}") for at, node in enumerate(self.derived.vectors)}
        targets = {node: f"unit{{{at}}}" for at, node in enumerate(self.layout.units)}
        body = Body(self.layout.rows, vectors, targets)
        for node in self.layout.units:
            body.value(node)
        return Kernel("prepare", (), None, body)

    def _text(self, prepare: Kernel | None) -> str:
        stages = [*self.ahead, *self.back]
        kernels = stages if prepare is None else [*stages, prepare]
        functions = sorted(set().union(*(each.body.functions for each in kernels)))
        lines = [f'"""The time loop of {self.cell.name}; generated from its ``step``."""', ""]
        if functions:
            lines.append(f"from harness_numpy.compiled.functions import {', '.join(functions)}")
        if self.cell.products:
            lines.append("from harness_numpy.compiled.few import product")
        lines.append("from harness_numpy.compiled.jit import compiled")
        if prepare is not None:
            code = [f"n = unit.shape[0] // {len(self.layout.units)}", *prepare.body.lines()]
            lines += _function("prepare(own, unit)", [*_constants(prepare.body, "own"), *code])
        for each in stages:
            like = each.arrays[0]
            code = [f"n = {like}.shape[2]", f"for b in range({like}.shape[1]):"]
            code += _indented(each.body.lines() or ["pass"])
            head = f"{each.name}(t, {', '.join(each.arrays)})"
            lines += _function(head, [*_constants(each.body, like), *code])
        lines += self._whole("ahead", self.ahead) + self._whole("back", self.back)
        return "\n".join(lines) + "\n"

    def _whole(self, name: str, stages: Sequence[Kernel]) -> list[str]:
        """Write the loop over all time steps with its own products."""
        ahead = name == "ahead"
        outer = [self._product(index, ahead=ahead) for index in self.layout.outer]
        code = list(outer) if ahead else []
        for stage in stages:
            code.append(f"{stage.name}(t, {', '.join(stage.arrays)})")
            if stage.product is not None:
                code.append(self._product(stage.product, ahead=ahead))
        code += [] if ahead else outer
        steps = f"{stages[0].arrays[0]}.shape[0]"
        order = f"range({steps} - 1)" if ahead else f"range({steps} - 1, -1, -1)"
        head = f"{name}({', '.join(self._arguments(stages))})"
        return _function(head, [f"for t in {order}:", *_indented(code)])

    def _arguments(self, stages: Sequence[Kernel]) -> list[str]:
        """Return those of the function over all time steps, the one with the shape first."""
        names = dict.fromkeys(name for stage in stages for name in stage.arrays)
        for index in range(len(self.layout.products)):
            call = self._product(index, ahead=stages is self.ahead)
            arguments = call.removeprefix("product(").removesuffix(")").replace("[t]", "")
            names |= dict.fromkeys(arguments.split(", "))
        return list(names)

    def _product(self, index: int, *, ahead: bool) -> str:
        name, operand = self.layout.products[index], self.derived.operands[index]
        if not ahead:
            return f"product(d_product_{name}[t], behind_{name}, back_{name})"
        of = f"operand_{name}"
        if operand.op == "state":
            of = f"state_{self.layout.states[operand.value]}"
        return f"product({of}[t], ahead_{name}, product_{name})"


def _constants(body: Body, like: str) -> list[str]:
    return [f"{name} = {like}.dtype.type({value!r})" for value, name in body.constants.items()]


def _function(head: str, lines: Iterable[str]) -> list[str]:
    return ["", "", "@compiled", f"def {head}:", *_indented(lines)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
