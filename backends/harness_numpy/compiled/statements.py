"""Loops over contiguous rows, written as Numba source from the nodes of a graph.

LLVM turns a loop into SIMD code if it writes one row, reads few, and calls at most one function of
several instructions. So each such function gets a loop of its own; other arithmetic is written
where it is read. No Numba is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from harness.recurrence import Node, infix

SLOW = {"sigmoid", "tanh", "exp", "log", "softplus"}  # one of these per loop
MOST_ROWS = 6  # read by a loop: LLVM gives up on checking more for overlap
REPEATED = 2  # operations that are repeated rather than stored
ROW = re.compile(r"(\w+)\{(\d+)\}")  # NAME{k}: columns k n to (k + 1) n of an array's row


@dataclass(frozen=True)
class Rows:
    """Rows of an array, by name.

    Attributes:
        array: the array's name.
        row: the code of one row of all columns, for sequence ``b`` at time ``t``.
        columns: the names of the pieces of H units; empty: they have numbers.
    """

    array: str
    row: str
    columns: Sequence[str]


@dataclass(frozen=True)
class Code:
    """An expression of rows ``NAME{k}`` and scalars; ``size`` counts its operations."""

    text: str
    size: int = 0
    level: int = 0

    @property
    def rows(self) -> set[tuple[str, str]]:
        """The rows that it reads."""
        return set(ROW.findall(self.text))


@dataclass
class Statement:
    """``target op text``; for a scalar, the target has no braces; ``reduce`` takes the mean."""

    target: str
    op: str
    text: str
    level: int
    is_mean: bool = False

    def template(self) -> tuple[str, tuple[int, ...]]:
        """Return the statement without its columns, and the columns."""
        whole = f"{self.target} {self.op} {self.text}"
        return ROW.sub(r"\1{}", whole), tuple(int(column) for _, column in ROW.findall(whole))


@dataclass
class Body:
    """The statements for one sequence at one time step.

    Attributes:
        rows: the arrays that may occur, by name.
        known: nodes that need no computation, with their code.
        places: where a node's value goes when it is computed: ``NAME{k}``, or for a scalar an
            element of an array.
        uses: how often each node is read; by default, once.
        scratch, scalars: how many there are.
        constants, functions: that the code names.
        written: the targets.
    """

    rows: Mapping[str, Rows]
    codes: dict[Node, Code]
    targets: Mapping[Node, str] = field(default_factory=dict)
    uses: Mapping[Node, int] = field(default_factory=dict)
    scratch: int = 0
    statements: list[Statement] = field(default_factory=list)
    constants: dict[float, str] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    scalars: int = 0
    _names: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def number(self, value: float) -> str:
        """Return the name of a constant in the arrays' precision."""
        return self.constants.setdefault(value, f"number_{len(self.constants)}")

    def value(self, node: Node) -> Code:
        """Return the code of a node, after statements for what has to be stored first."""
        waiting = [node]
        while waiting:
            current = waiting[-1]
            missing = [each for each in current.args if each not in self.codes]
            if current in self.codes or current.op == "constant" or not missing:
                waiting.pop()
                self._compute(current)
            else:
                waiting += missing
        return self.codes[node]

    def _compute(self, node: Node) -> None:
        if node in self.codes:
            return
        if node.op == "constant":
            self.codes[node] = Code(self.number(node.value))
            return
        args = [self.codes[argument] for argument in node.args]
        target = self.targets.get(node)
        code = args[0] if node.op == "mean" else self.joined(args, partial(self._written, node))
        if node.op == "mean" or not code.rows:
            code = self.mean(code) if node.op == "mean" else self.scalar(code)
            if target is not None:
                self.put(target, code)
        elif target is not None:
            code = self.put(target, code)
        elif node.op in SLOW or (self.uses.get(node, 1) > 1 and code.size > REPEATED):
            code = self.stored(code)
        self.codes[node] = code

    def _written(self, node: Node, parts: Sequence[str]) -> str:
        return infix(node, parts, number=self.number, call=self._call)

    def _call(self, op: str, args: Sequence[str]) -> str:
        self.functions.add(op)
        return f"{op}({', '.join(args)})"

    def joined(self, args: Sequence[Code], write: Callable[[Sequence[str]], str]) -> Code:
        """Return one expression of several, each stored first if together they read many rows."""
        parts = list(args)
        while len(set().union(*(part.rows for part in parts))) > MOST_ROWS:
            largest = max(range(len(parts)), key=lambda at: parts[at].size)
            if parts[largest].size == 0:
                break
            parts[largest] = self.stored(parts[largest])
        return Code(
            write([part.text for part in parts]),
            1 + sum(part.size for part in parts),
            max((part.level for part in parts), default=0),
        )

    def put(self, target: str, code: Code, op: str = "=") -> Code:
        """Write an expression to ``NAME{k}``, or a scalar to an element of an array."""
        self.written.add(target)
        self.statements.append(Statement(target, op, code.text, code.level))
        return Code(target, 0, code.level + 1)

    def stored(self, code: Code) -> Code:
        """Write an expression to a row of scratch memory."""
        self.scratch += 1
        return self.put(f"scratch{{{self.scratch - 1}}}", code)

    def scalar(self, code: Code, *, is_mean: bool = False) -> Code:
        """Give a number per sequence a name."""
        name = f"scalar_{self.scalars}"
        self.scalars += 1
        self.statements.append(Statement(name, "=", code.text, code.level, is_mean))
        return Code(name, 0, code.level + 1)

    def mean(self, code: Code) -> Code:
        """Take the mean of an expression over the units."""
        if not code.rows:
            return self.scalar(code)
        row = code if ROW.fullmatch(code.text) else self.stored(code)
        self.functions.add("mean")
        return self.scalar(row, is_mean=True)

    def lines(self) -> list[str]:
        """Return the code: rows are cut first, equal statements on neighbouring columns are one."""
        ordered = sorted(
            self.statements,
            key=lambda each: (each.level, "{" in each.target, *each.template()),
        )
        used = {base for each in self.statements for base, _ in self._arrays(each)}
        lines = [f"row_{base} = {self.rows[base].row}" for base in sorted(used)]
        for first, count in _merged(ordered):
            lines += [line for line in self._cut(first, count) if line not in lines]
            lines += self._loop(first, count)
        return lines

    def arrays(self, others: Iterable[str] = ()) -> set[str]:
        """Return the names of the arrays that the code takes."""
        arrays = {
            self.rows[base].array for each in self.statements for base, _ in self._arrays(each)
        }
        texts = [part for each in self.statements for part in (each.target, each.text)]
        return arrays | {name for name in others if any(f"{name}[" in text for text in texts)}

    @staticmethod
    def _arrays(statement: Statement) -> list[tuple[str, str]]:
        return ROW.findall(f"{statement.target} {statement.text}")

    def _name(self, base: str, column: int, count: int) -> str:
        """Return the variable of some columns; names of cells must not make two the same."""
        columns = self.rows[base].columns
        if len(columns) == 1:
            return f"row_{base}"
        names = columns[column : column + count] or [str(column)]
        name = re.sub(r"\W", "_", "_".join([base, *dict.fromkeys((names[0], names[-1]))]))
        while self._names.setdefault(name, (base, column, count)) != (base, column, count):
            name += "_"
        return name

    def _cut(self, statement: Statement, count: int) -> list[str]:
        lines = []
        for base, text in dict.fromkeys(self._arrays(statement)):
            first, last = int(text), int(text) + count
            name = self._name(base, first, count)
            if name != f"row_{base}":
                lines.append(f"{name} = row_{base}[{_times_n(first)}:{_times_n(last)}]")
        return lines

    def _loop(self, statement: Statement, count: int) -> list[str]:
        def element(match: re.Match[str]) -> str:
            return f"{self._name(match[1], int(match[2]), count)}[j]"

        if "{" not in statement.target:
            text = ROW.sub(lambda match: self._name(match[1], int(match[2]), count), statement.text)
            return [f"{statement.target} = {f'mean({text})' if statement.is_mean else text}"]
        target, text = ROW.sub(element, statement.target), ROW.sub(element, statement.text)
        return [f"for j in range({_times_n(count)}):", f"    {target} {statement.op} {text}"]


def _times_n(count: int) -> str:
    return {0: "", 1: "n"}.get(count, f"{count} * n")


def _merged(statements: Sequence[Statement]) -> list[tuple[Statement, int]]:
    """Return each statement with the number of neighbouring columns that it serves."""
    groups: list[tuple[Statement, int]] = []
    last: tuple[int, str, tuple[int, ...]] | None = None
    for each in statements:
        template, columns = each.template()
        following = None if last is None else (*last[:2], tuple(at + 1 for at in last[2]))
        if columns and not each.is_mean and (each.level, template, columns) == following:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((each, 1))
        last = (each.level, template, columns)
    return groups
