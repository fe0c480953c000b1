"""Pieces of C: functions, sums, names, and the statements of one row of a tile."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

from harness.recurrence import Node, infix
from harness_native.keep import SLOW

TILE_ARGUMENTS = "AT_TILE"  # see driver.h
HIDDEN = "ptrdiff_t hidden = range->hidden;"
WIDTH = 100  # of a line


class Own:
    """The values (H,) that a step reads, computed once for all sequences and time steps.

    Attributes:
        values: each with its place.
    """

    def __init__(self) -> None:
        self.values: dict[Node, int] = {}

    def address(self, node: Node) -> str:
        """Return where the vector of a value lies, for the unit at ``column``."""
        return self._at(self.values.setdefault(node, len(self.values)))

    def filling(self, vectors: Sequence[str]) -> list[str]:
        """Return the statements that compute all, for a column."""
        block = Block()
        block.load = lambda node: (
            f"NAME(load)((real *)range->layer->vector[{vectors.index(node.value)}] + column, n)"
            if node.op == "vector"
            else None
        )
        stores = [f"{self._at(at)} = {block.vector(node)};" for node, at in self.values.items()]
        return [*block.loads, *block.lines, *stores]

    def _at(self, at: int) -> str:
        return f"range->own[{total(f'{at} * range->units', 'column / LANES')}]"


class Block:
    """Statements of one row of a tile: loads, arithmetic."""

    def __init__(self, names: str = "v") -> None:
        self.loads: list[str] = []
        self.lines: list[str] = []
        self.names: dict[Node, str] = {}
        self.load: Callable[[Node], str | None] = lambda _node: None
        self.label: Callable[[Node], str | None] = lambda _node: None
        self.uses: dict[Node, int] = {}
        self._prefix = names

    def count(self, roots: Iterable[Node]) -> None:
        """Count how often each value is read, so that what is read once is written in place."""
        waiting, seen = list(roots), set[Node]()
        for root in waiting:
            self.uses[root] = self.uses.get(root, 0) + 1
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if self.load(node) is None:
                for argument in node.args:
                    self.uses[argument] = self.uses.get(argument, 0) + 1
                    waiting.append(argument)

    def value(self, node: Node) -> str:
        """Return the name of a value, or a number; append what computes it."""
        if node.op == "constant":
            return number(node.value)
        if node in self.names:
            return self.names[node]
        loaded = self.load(node)
        if loaded is not None:
            name = self._name(node)
            self.loads.append(f"vec {name} = {loaded};")
        else:
            text = infix(node, [self.value(argument) for argument in node.args],
                         number=number, call=call)  # fmt: skip
            if self.uses.get(node) == 1 and node.op not in SLOW and len(text) < WIDTH // 2:
                return text
            name = self._name(node)
            self.lines.append(f"vec {name} = {text};")
        self.names[node] = name
        return name

    def _name(self, node: Node) -> str:
        return self.label(node) or f"{self._prefix}{len(self.names)}"

    def vector(self, node: Node) -> str:
        """Return a value as a vector, for a store."""
        text = self.value(node)
        return f"NAME(splat)({text})" if node.op == "constant" else text


def over_tile(lines: Sequence[str]) -> list[str]:
    """Return the loop over the rows and units of a tile, around the statements of one."""
    text = "\n".join(lines)
    names = {
        "n": "int n = NAME(lanes_of)(range, column);",
        "at": "ptrdiff_t at = (row + b) * hidden + column;",
        "wide": "ptrdiff_t wide = (row + b) * range->width + column;",
    }
    used = [line for name, line in names.items() if re.search(rf"\b{name}\b", text)]
    return [
        "for (int b = 0; b < rows; b++)",
        "    for (int u = 0; u < panel->units; u++) {",
        "        ptrdiff_t column = panel->column + u * LANES;",
        *indented([*used, *lines], 2),
        "    }",
    ]


def function(name: str, lines: Sequence[str], arguments: str = TILE_ARGUMENTS) -> str:
    """Return a function of the template."""
    text = "\n".join(lines)
    kept = [
        line for line in lines if line != HIDDEN or text.count("hidden") > HIDDEN.count("hidden")
    ]
    head = f"static void NAME({name})({arguments}) {{"
    body = [part for line in indented(kept) for part in _wrapped(line)]
    return "\n".join((*_wrapped(head), *body, "}"))


def _wrapped(line: str) -> list[str]:
    """Return a statement as lines of at most ``WIDTH`` characters."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [line]


def indented(lines: Iterable[str], by: int = 1) -> list[str]:
    """Return the lines, ``by`` levels deeper."""
    return ["    " * by + line for line in lines]


def total(*parts: str) -> str:
    """Return a sum without the terms that are 0."""
    kept = [part for part in parts if part != "0" and not part.startswith("0 * ")]
    kept = [part.removesuffix(" * 1") for part in kept]
    kept = [re.sub(r"^1 \* ", "", part) for part in kept]
    return " + ".join(kept) or "0"


def safe(part: str) -> str:
    """Return an operand of a product, in parentheses if need be."""
    return f"({part})" if " " in part or part.startswith("-") else part


def call(op: str, args: Sequence[str]) -> str:
    """Return a call of a function of simd.h."""
    return f"NAME({op})({', '.join(args)})"


def number(value: float) -> str:
    """Return a constant of the type ``real``."""
    if value == int(value) and abs(value) < 1e6:  # noqa: PLR2004
        return str(int(value))
    return f"(real){value!r}"


def identifier(name: str) -> str:
    """Return a name of a cell as an identifier of C."""
    return re.sub(r"\W", lambda match: f"u{ord(match[0]):x}", name, flags=re.ASCII)


def comment(name: str) -> str:
    """Return what may stand in a comment."""
    return name.replace("*/", "* /")
