"""The Numba source of a cell's time loop, from its stages: loops over rows of H scalars.

The stages between two products are one function. LLVM makes SIMD code of a loop over units if no
sum runs through it, so what a mean adds goes to a row of scratch memory first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.contract import Cell
from harness.recurrence import derive
from harness.recurrence.loops import Spelling, forward, identifiers, own, reverse
from harness.recurrence.stages import Location, Stages
from harness_numpy.recurrence.layer import is_sum_with_zx

Write = Callable[[Stages, int, Spelling], list[str]]


@dataclass(frozen=True)
class Kernel:
    """A compiled function.

    Attributes:
        name: ``forward_0``, ``reverse_0`` ...: parts of a time step; ``forward`` and ``reverse``:
            all steps, with a product in compiled code.
        arrays: its arguments; those of a part follow ``t``.
        products: to take after it, of what it wrote.
    """

    name: str
    arrays: tuple[str, ...]
    products: tuple[int, ...] = ()


class Program:
    """The generated module of a cell.

    Attributes:
        source: its text.
        stages: what it computes when.
        forward, reverse: the parts of a time step, then the function over all.
        outer: the products of old states: taken before a step, and after its reverse.
        states, products, vectors: their names as parts of the arrays' names.
        arrays: the names of arrays, and of a function, that other names could equal.
    """

    def __init__(self, cell: Cell) -> None:
        self.stages, self.cell = Stages(derive(cell), retake=False), cell
        self.states, self.vectors = identifiers(cell.states), identifiers(cell.vectors)
        self.products = identifiers([product.name for product in cell.products])
        inner = self.stages.inner
        self.outer = [product for product, is_inner in enumerate(inner) if not is_inner]
        graph, pieces = self.stages.recurrence.graph, self.stages.pieces
        begins = [self.stages.stage[parts[0]] for parts in pieces]
        ends = [
            self.stages.reverse_stage[graph.leaf("back", product)] if is_inner else 0
            for product, is_inner in enumerate(inner)
        ]
        parts = {
            ("state", "carry"): self.states,
            ("vector", "d_vector"): self.vectors,
            ("product", "bias", "operand", "back", "d_product"): self.products,
        }
        self.arrays = {"d_hidden", "d_means", "where_positive"} | {
            f"{array}_{name}"
            for arrays, names in parts.items()
            for array in arrays
            for name in names
        }
        self._functions: set[str] = set()
        self._text: list[str] = []
        self._prepare()
        self.forward = self._parts("forward", f"state_{self.states[0]}", begins, forward)
        self.reverse = self._parts("reverse", "d_hidden", ends, reverse)
        head = [f'"""The time loop of {cell.name}; generated from its ``step``."""', ""]
        names = ", ".join(sorted(self._functions | {"product"}))
        head.append(f"from harness_numpy.compiled.functions import {names}")
        head.append("from harness_numpy.compiled.jit import compiled")
        self.source = "\n".join((*head, *self._text)) + "\n"

    def array(self, location: Location) -> tuple[str, str, str]:
        """Return where a value's row is: the array, the index, and what tells it from others."""
        name, at, piece = location
        gates = len(self.cell.gates)
        if name in {"zx", "d_zx"} or (name == "kept" and at < gates):
            return "zx", f"t, b, {_columns(at)}", self.cell.gates[at]
        before = {"product": "b, ", "bias": "", "d_product": "t, b, "}
        if name in before:
            gate = (self.cell.products[at].gates or self.cell.gates)[piece]
            return f"{name}_{self.products[at]}", before[name] + _columns(piece), gate
        whole = {
            "old": ("state", self.states, "t, b"), "new": ("state", self.states, "t + 1, b"),
            "carry": (name, self.states, "b"), "vector": (name, self.vectors, ":"),
            "d_vector": (name, self.vectors, "b"), "operand": (name, self.products, "t, b"),
            "back": (name, self.products, "b"),
        }  # fmt: skip
        if name in whole:
            array, names, index = whole[name]
            return f"{array}_{names[at]}", index, name
        if name == "kept":
            return name, f"t, b, {_columns(at - gates)}", str(at - gates)
        if name == "d_total":
            return "d_hidden", "t, b", ""
        return name, f"{at}, b" if name == "held" else str(at), str(at)

    def _prepare(self) -> None:
        """Write what computes the values that are the same for all sequences."""
        if self.stages.own:
            rows = Rows(self)
            code = ["n = own.shape[1]", *rows.block(own(self.stages, rows), "own")]
            arguments = ", ".join(["own", *(f"vector_{name}" for name in self.vectors)])
            self._function(f"prepare({arguments})", code, rows)

    def _parts(
        self, way: str, like: str, begins: Sequence[int], write: Write
    ) -> tuple[Kernel, ...]:
        """Write the functions of one way; a product begins a stage."""
        count = self.stages.stages if way == "forward" else self.stages.reverse_stages
        kernels = list[Kernel]()
        cuts = sorted({0, *(begins[at] for at in range(len(begins)) if self.stages.inner[at])})
        for cut, end in zip(cuts, [*cuts[1:], count], strict=True):
            code, arrays, name = list[str](), set[str](), f"{way}_{len(kernels)}"
            for stage in range(cut, end):
                rows = Rows(self)
                code += rows.block(write(self.stages, stage, rows), like)
                arrays |= rows.arrays
                self._functions |= rows.functions
            names = (like, *sorted(arrays - {like}))
            products = [at for at, stage in enumerate(begins) if stage == end]
            kernels.append(Kernel(name, names, tuple(products)))
            loop = [f"for b in range({like}.shape[1]):", *_indented(code or ["pass"])]
            head = f"{name}(t, {', '.join(names)})"
            self._function(head, [f"n = {like}.shape[2]", *loop], Rows(self))
        return (*kernels, self._whole(way, kernels))

    def _whole(self, way: str, kernels: Sequence[Kernel]) -> Kernel:
        """Write the loop over all time steps with its own products."""
        names = dict.fromkeys(name for kernel in kernels for name in kernel.arrays)

        def call(product: int) -> str:
            """Return the code that takes a product."""
            name, operand = self.products[product], self.stages.operands[product]
            factors = f"d_product_{name}", f"back_matrix_{name}", f"back_{name}"
            if way == "forward":
                of = f"operand_{name}"
                if operand.op == "state":
                    of = f"state_{self.states[operand.value]}"
                factors = of, f"matrix_{name}", f"product_{name}"
            names.update(dict.fromkeys(factors))
            return f"product({factors[0]}[t], {factors[1]}, {factors[2]})"

        outer = [call(product) for product in self.outer]
        steps = list[str]()
        for kernel in kernels:
            steps.append(f"{kernel.name}(t, {', '.join(kernel.arrays)})")
            steps += [call(product) for product in kernel.products]
        steps = [*outer, *steps] if way == "forward" else [*steps, *outer]
        count = f"{kernels[0].arrays[0]}.shape[0]"
        order = f"range({count} - 1)" if way == "forward" else f"range({count} - 1, -1, -1)"
        code = [f"for t in {order}:", *_indented(steps)]
        self._function(f"{way}({', '.join(names)})", code, Rows(self))
        return Kernel(way, tuple(names))

    def _function(self, head: str, lines: Iterable[str], rows: Rows) -> None:
        self._functions |= rows.functions
        self._text += ["", "", "@compiled", f"def {head}:", *_indented(lines)]


class Rows(Spelling):
    """The statements of one stage, on rows of arrays.

    Attributes:
        arrays, functions: what they name.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program.arrays)
        self._program, self._stages = program, program.stages
        self.arrays: set[str] = set()
        self.functions: set[str] = set()
        self._rows: dict[tuple[str, str], str] = {}
        self._before: list[str] = []
        self._after: list[str] = []
        self._numbers: dict[float, str] = {}

    def block(self, statements: Sequence[str], like: str) -> list[str]:
        """Return the loop over the units with what comes before and after it."""
        rows = [f"{name} = {array}[{index}]" for (array, index), name in self._rows.items()]
        numbers = [
            f"{name} = {like}.dtype.type({value!r})" for value, name in self._numbers.items()
        ]
        loop = ["for j in range(n):", *_indented(statements)] if statements else []
        return [*rows, *numbers, *self._before, *loop, *self._after]

    def number(self, value: float) -> str:
        """Return the name of a constant in the arrays' precision."""
        return self._numbers.setdefault(value, f"number_{len(self._numbers)}")

    def call(self, op: str, args: Sequence[str]) -> str:
        """Return a call of one of ``harness_numpy.compiled.functions``."""
        if op == "splat":
            return args[0]
        self.functions.add(op)
        return f"{op}({', '.join(args)})"

    def define(self, name: str, text: str) -> str:
        """Return the definition of a scalar."""
        return f"{name} = {text}"

    def read(self, location: Location) -> str:
        """Return an element of a row, or the sum of what arrives there."""
        array, at, piece = location
        stages, parts = self._stages, [location]
        if array in {"mean", "d_mean"}:
            name, text = self.unique(f"{array}_{at}"), self._mean(location)
            self._before.append(f"{name} = {text}")
            return name
        if array == "product":
            merged = (at, piece)
            gates = [gate for gate, each in stages.recurrence.merged.items() if each == merged]
            parts += [Location("zx", gate) for gate in gates]
            if not gates and stages.recurrence.cell.products[at].bias:
                parts.append(Location("bias", at, piece))
        elif array == "d_new":
            parts = [Location("d_total")] if at == 0 else []
            parts += [Location("carry", at)] if stages.carried[at] else []
            operands = enumerate(stages.operands)
            parts += [
                Location("back", product)
                for product, operand in operands
                if operand.op == "state" and operand.value == at
            ]
        return " + ".join(map(self._element, parts))

    def write(self, location: Location, value: str) -> Sequence[str]:
        """Return the store; none for the gradient of a product that is the one of zx."""
        array, at, _ = location
        if array == "d_product" and is_sum_with_zx(self._stages.recurrence, at):
            return []
        if array in {"mean", "d_mean"}:
            row = self._element(Location("scratch", at))
            self._after.append(
                f"{self._mean(location)} = {self.call('mean', [row.removesuffix('[j]')])}"
            )
            return [f"{row} = {value}"]
        return [f"{self._element(location)} {'+=' if array == 'd_vector' else '='} {value}"]

    def _mean(self, location: Location) -> str:
        self.arrays.add(f"{location.array}s")
        return f"{location.array}s[{'t, ' if location.array == 'mean' else ''}b, {location.at}]"

    def _element(self, location: Location) -> str:
        array, index, piece = self._program.array(location)
        self.arrays.add(array)
        if (array, index) not in self._rows:
            name = re.sub(r"\W", "_", f"row_{array}_{piece}", flags=re.ASCII)
            self._rows[array, index] = self.unique(name)
        return f"{self._rows[array, index]}[j]"


def source(cell: Cell) -> str:
    """Return the module that the variant ``numba`` compiles for a cell.

    Raises:
        UnsupportedError: the cell's step cannot be traced.
    """
    return Program(cell).source


def _columns(piece: int) -> str:
    """Return the slice of a piece of H units."""
    first = {0: "", 1: "n"}.get(piece, f"{piece} * n")
    return f"{first}:{'' if piece == 0 else f'{piece + 1} * '}n"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
