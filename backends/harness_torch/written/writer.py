"""Statements that compute values of a graph into tensors that are there already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.recurrence import Node
from harness_torch.written.names import Names, Slot, is_unit

UNARY: Mapping[str, str] = {  # {x}: the argument, {y}: where the result goes
    "sigmoid": "torch.sigmoid({x}, out={y})",
    "relu": "torch.clamp_min({x}, 0.0, out={y})",
    "exp": "torch.exp({x}, out={y})",
    "log": "torch.log({x}, out={y})",
    "sqrt": "torch.sqrt({x}, out={y})",
    "absolute": "torch.abs({x}, out={y})",
    "sign": "torch.sign({x}, out={y})",
    "positive": "torch.sign({x}, out={y}).clamp_min_(0.0)",
    "mean": "torch.mean({x}, -1, True, out={y})",
}
PAIR = 2  # factors that one statement multiplies and adds


class Addend(NamedTuple):
    """A term of a sum: ``scale`` times a value, or a product (``mul``) or quotient (``div``)."""

    scale: float
    op: str
    nodes: tuple[Node, ...]

    @property
    def width(self) -> str:
        """Of the values together."""
        return joint(self.nodes)


class Writer:
    """The statements of one function.

    Args:
        names: of the program.
        slots: of the values that are there.
        roots: all that the function will compute.
        whole: all time steps at once, with the derivatives of sigmoid and tanh as one statement;
            else one time step.
    """

    def __init__(
        self,
        names: Names,
        slots: Mapping[Node, Slot],
        roots: Iterable[Node] = (),
        *,
        whole: bool = False,
    ) -> None:
        self.names, self.slots, self.whole = names, dict(slots), whole
        self.lines: list[str] = []
        self.used: dict[str, Slot] = {}
        self.fixed: set[str] = set()
        self.spent: set[Node] = set()  # values that the next statement may overwrite
        self.reads = _reads(roots, self.slots)

    def line(self, text: str) -> None:
        """Add a statement."""
        self.lines.append(text)

    def name(self, slot: Slot, label: str = "") -> str:
        """Return the name of a slot, and remember that it is used."""
        name = self.names.of(slot, label)
        self.used[name] = slot
        return name

    def number(self, value: float, dest: Slot) -> str:
        """Return the name of a number's tensor, for a result in ``dest``."""
        name = self.names.number(value, wide=dest.wide)
        self.fixed.add(name)
        return name

    def has(self, node: Node) -> bool:
        """Say whether a value needs no statement."""
        return is_unit(node) or node in self.slots

    def at(self, node: Node) -> str:
        """Return the name or number of a value that is there."""
        if node.op == "constant":
            return repr(node.value)
        if is_unit(node):
            name = self.names.unit(node)
            self.fixed.add(name)
            return name
        return self.name(self.slots[node])

    def need(self, node: Node) -> str:
        """Return the name of a value; compute it into a tensor of its own if it is not there."""
        if not self.has(node):
            dest = self.scratch(node)
            self.write(node, dest)
            self.slots[node] = dest
        return self.at(node)

    def scratch(self, node: Node) -> Slot:
        """Return a new slot."""
        kind = "factor" if self.whole else "part"
        slot = Slot(self.names.new(kind), timed=self.whole, wide=node.width != "sequence")
        self.name(slot, slot.buffer)
        return slot

    def alone(self, node: Node) -> bool:
        """Say whether one statement alone reads a value that is not there."""
        return not self.has(node) and self.reads.get(node, 0) <= 1

    def write(
        self, node: Node, dest: Slot, scale: float = 1.0, *, base: Node | None = None
    ) -> None:
        """Compute scale * node into ``dest``, which holds ``base`` already."""
        if self.has(node) or node.width != dest.width:
            self._copy(node, dest, scale)
        elif node.op == "sum":
            self._sum(node, dest, scale, base)
        elif node.op == "times":
            self.product(node.args, dest, scale, base)
        else:
            self._function(node, dest)
            if scale != 1:
                self.line(f"{self.name(dest)}.mul_({scale!r})")

    def _copy(self, node: Node, dest: Slot, scale: float) -> None:
        y = self.name(dest)
        if node.op == "constant":
            self.line(f"{y}.fill_({node.value * scale!r})")
            return
        times = "" if scale == 1 else f".mul_({scale!r})"
        self.line(f"{y}.copy_({self.need(node)}){times}")

    def _function(self, node: Node, dest: Slot) -> None:
        y = self.name(dest)
        x, *more = [self.need(argument) for argument in node.args]
        if node.op == "tanh_half":
            if x == y or node.args[0] in self.spent:
                self.line(f"{x}.sigmoid_()")
            else:
                self.line(f"torch.sigmoid({x}, out={y})")
                x = y
            self.line(f"torch.add({self.number(-1.0, dest)}, {x}, alpha=2.0, out={y})")
        elif node.op == "positive" and node.args[0].op == "relu":
            self.line(f"torch.sign({x}, out={y})")  # of a number that is never negative
        elif node.op == "softplus":
            self.line(f"torch.logaddexp({x}, {self.number(0.0, dest)}, out={y})")
        elif node.op == "divide" and node.args[0].op == "constant":
            self.line(f"torch.reciprocal({more[0]}, out={y})")
            if node.args[0].value != 1:
                self.line(f"{y}.mul_({x})")
        elif node.op == "maximum" and any(each.op == "constant" for each in node.args):
            number, value = (x, more[0]) if node.args[0].op == "constant" else (more[0], x)
            self.line(f"torch.clamp_min({value}, {number}, out={y})")
        elif node.op in {"divide", "maximum"}:
            self._pair("div" if node.op == "divide" else "maximum", node.args, dest)
        else:
            self.line(UNARY[node.op].format(x=x, y=y))

    def _pair(self, op: str, nodes: Sequence[Node], dest: Slot) -> None:
        """Write a function of two values that are there."""
        y, args = self.name(dest), ", ".join(self.at(node) for node in nodes)
        if joint(nodes) == dest.width:
            self.line(f"torch.{op}({args}, out={y})")
        else:  # torch would change the shape of ``out``
            self.line(f"{y}.copy_(torch.{op}({args}))")

    def _sum(self, node: Node, dest: Slot, scale: float, base: Node | None) -> None:
        if scale == 1 and base is None and (mixed := self.mixture(node)):
            parts = ", ".join(self.need(each) for each in mixed)
            self.line(f"torch.lerp({parts}, out={self.name(dest)})")
            return
        coefficients, constant = node.value
        constant *= scale
        terms = [
            self.addend(argument)._replace(scale=coefficient * scale)
            for coefficient, argument in zip(coefficients, node.args, strict=True)
            if argument is not base
        ]
        for term in terms:
            for part in term.nodes:
                self.need(part)
        if base is None:
            constant = self.begin(terms, constant, dest)
        self.add(terms, dest)
        if constant:
            self.line(f"{self.name(dest)}.add_({constant!r})")

    def mixture(self, node: Node) -> tuple[Node, Node, Node] | None:
        """Return (a, b, w) of a sum a + w (b - a) that ``lerp`` computes, or None."""
        if node.value != ((1.0, 1.0), 0.0) or node.args[1].op != "times":
            return None
        first, second = node.args
        if len(second.args) != PAIR or not self.alone(second):
            return None
        parts = self._by_difference(first, second) or self._by_complement(first, second)
        fits = parts and joint(parts[:2]) == "both" and all(n.op != "constant" for n in parts)
        return parts if fits else None

    def _by_difference(self, first: Node, second: Node) -> tuple[Node, Node, Node] | None:
        """Of a and w (b - a)."""
        for share, inner in (second.args, second.args[::-1]):
            if inner.op == "sum" and self.alone(inner) and inner.value[1] == 0:
                parts = dict(zip(inner.args, inner.value[0], strict=True))
                if parts.pop(first, 0) == -1 and list(parts.values()) == [1.0]:
                    return first, next(iter(parts)), share
        return None

    def _by_complement(self, first: Node, second: Node) -> tuple[Node, Node, Node] | None:
        """Of (1 - w) a and w b."""
        if first.op != "times" or len(first.args) != PAIR or not self.alone(first):
            return None
        for rest, a in (first.args, first.args[::-1]):
            share = complement(rest)
            if share in second.args and (is_unit(rest) or self.alone(rest)):
                return a, second.args[1 - second.args.index(share)], share
        return None

    def addend(self, node: Node) -> Addend:
        """Return a term of a sum, with the operation that need not be a statement of its own."""
        if self.alone(node):
            if node.op == "times" and len(node.args) == PAIR:
                return Addend(1.0, "mul", node.args)
            if node.op == "divide" and node.args[0].op != "constant":
                return Addend(1.0, "div", node.args)
        return Addend(1.0, "", (node,))

    def begin(self, terms: list[Addend], constant: float, dest: Slot) -> float:
        """Begin a sum in ``dest`` with one or two terms, which are taken away.

        Args:
            terms: of values that are there; at least one.
            constant: one more term.
            dest: where the sum goes.

        Returns:
            the constant if it is not added yet, or 0.
        """
        first = next(
            (each for each in terms if each.scale == 1 and each.op == "mul"),
            next((each for each in terms if each.scale == 1), terms[0]),
        )
        terms.remove(first)
        y, x = self.name(dest), self.at(first.nodes[0])
        fits = first.width == dest.width
        if constant and fits and (first.scale != 1 or not terms):
            if first.op:
                self._pair(first.op, first.nodes, dest)
                x = y
            alpha = _option("alpha", first.scale)
            self.line(f"torch.add({self.number(constant, dest)}, {x}{alpha}, out={y})")
            return 0.0
        scale = first.scale
        if first.op:
            self._pair(first.op, first.nodes, dest)
        elif second := self._second(first, terms, dest):
            terms.remove(second)
            parts = ", ".join(map(self.at, second.nodes))
            option = _option("value" if second.op else "alpha", second.scale)
            adding = f"addc{second.op}" if second.op else "add"
            self.line(f"torch.{adding}({x}, {parts}{option}, out={y})")
        else:
            self.line(f"{y}.copy_({x})")
        if scale != 1:
            self.line(f"{y}.mul_({scale!r})")
        return constant

    def _second(self, first: Addend, terms: Sequence[Addend], dest: Slot) -> Addend | None:
        """Return the term that one statement adds to the first."""
        if first.scale != 1:
            return None
        fitting = [each for each in terms if joint([*first.nodes, *each.nodes]) == dest.width]
        plain = [each for each in fitting if not each.op]
        return next(iter(plain or fitting), None)

    def add(self, terms: Iterable[Addend], dest: Slot) -> None:
        """Add terms, of values that are there, to what lies in ``dest``."""
        y = self.name(dest)
        for scale, op, nodes in terms:
            parts = ", ".join(self.at(each) for each in nodes)
            if op:
                self.line(f"{y}.addc{op}_({parts}{_option('value', scale)})")
            else:
                self.line(f"{y}.add_({parts}{_option('alpha', scale)})")

    def product(
        self,
        args: Sequence[Node],
        dest: Slot,
        scale: float = 1.0,
        base: Node | None = None,
    ) -> None:
        """Compute the product of all, times ``scale``, into ``dest``, which may hold ``base``."""
        scale *= self.unscaled_product(args, dest, scale, base)
        if scale != 1:
            self.line(f"{self.name(dest)}.mul_({scale!r})")

    def unscaled_product(
        self, args: Sequence[Node], dest: Slot, scale: float = 1.0, base: Node | None = None
    ) -> float:
        """Compute a product into ``dest``.

        Args:
            args: the factors.
            dest: where it goes.
            scale: what the caller will multiply it by; some of it may be done here.
            base: the factor that lies in ``dest`` already.

        Returns:
            what the caller must multiply by instead, as a part of ``scale``.
        """
        plain, wanted = self.flat(args), scale
        slopes, more = self._take_slopes(plain) if self.whole else ([], 1.0)
        scale *= more
        y, now = self.name(dest), ""  # the name of the product so far
        if base is not None:
            plain.remove(base)
            now = y
        elif waiting := [part for part in plain if self._may_begin(part, dest)]:
            plain.remove(waiting[0])
            for part in plain:
                self.need(part)
            absorbs = waiting[0].op == "sum"
            self.write(waiting[0], dest, scale if absorbs else 1.0)
            scale, now = 1.0 if absorbs else scale, y
        now = self._multiplied(plain, now, dest)
        for kind, value in slopes:
            self._slope(kind, self.at(value), now, dest)
            now = y
        if now != y:
            self.line(f"{y}.copy_({now})")
        return scale / wanted

    def _may_begin(self, part: Node, dest: Slot) -> bool:
        """Say whether a factor is best computed where the product goes."""
        once = self.reads.get(part, 0) <= 1 or (part.op == "sum" and len(part.args) == 1)
        return once and not self.has(part) and part.width == dest.width

    def _multiplied(self, factors: Sequence[Node], now: str, dest: Slot) -> str:
        """Multiply ``now`` by values; return the name of the result."""
        y, width = self.name(dest), dest.width if now else "constant"
        for part in sorted(factors, key=lambda each: each.width != "both"):
            x, width = self.need(part), joint_widths([width, part.width])
            if not now:
                now = x
                continue
            if now == y:
                self.line(f"{y}.mul_({x})")
            elif width == dest.width:
                self.line(f"torch.mul({now}, {x}, out={y})")
            else:
                self.line(f"{y}.copy_({now} * {x})")
            now = y
        return now

    def _slope(self, kind: str, x: str, now: str, dest: Slot) -> None:
        """Multiply ``now`` by the derivative of sigmoid or tanh, from its value ``x``."""
        y = self.name(dest)
        if now:
            self.line(f"{kind}_backward({now}, {x}, grad_input={y})")
            return
        self.line(f"torch.mul({x}, {x}, out={y})")
        minuend = x if kind == "sigmoid" else self.number(1.0, dest)
        self.line(f"torch.sub({minuend}, {y}, out={y})")

    def flat(self, args: Sequence[Node]) -> list[Node]:
        """Return the factors of a product, with those of products that only it reads."""
        factors: list[Node] = []
        for part in args:
            inner = part.op == "times" and self.alone(part)
            factors += self.flat(part.args) if inner else [part]
        return factors

    def _take_slopes(self, plain: list[Node]) -> tuple[list[tuple[str, Node]], float]:
        """Take y (1 - y) and k (1 - y y) out of ``plain``; return them and the product of all k."""
        slopes, scale = list[tuple[str, Node]](), 1.0
        for part in list(plain):
            value = complement(part)
            if value is not None and value in plain and self._is_wide(value):
                plain.remove(part)
                plain.remove(value)
                slopes.append(("sigmoid", value))
            elif (slope := tanh_slope(part)) and self._is_wide(slope[0]):
                plain.remove(part)
                slopes.append(("tanh", slope[0]))
                scale *= slope[1]
        return sorted(slopes, key=lambda each: each[0]), scale

    def _is_wide(self, node: Node) -> bool:
        return node.width == "both" and self.has(node)


def complement(node: Node) -> Node | None:
    """Return y of a node 1 - y."""
    return node.args[0] if node.op == "sum" and node.value == ((-1.0,), 1.0) else None


def tanh_slope(node: Node) -> tuple[Node, float] | None:
    """Return y and k of a node k (1 - y y)."""
    if node.op != "sum" or len(node.args) != 1 or node.value[0] != (-node.value[1],):
        return None
    (square,) = node.args
    is_square = square.op == "times" and square.args == (square.args[0],) * PAIR
    return (square.args[0], node.value[1]) if is_square else None


def joint(nodes: Iterable[Node]) -> str:
    """Return the width of an elementwise result."""
    return joint_widths(node.width for node in nodes)


def joint_widths(widths: Iterable[str]) -> str:
    """Return the width of an elementwise result of such arguments."""
    distinct = set(widths) - {"constant"}
    return "constant" if not distinct else distinct.pop() if len(distinct) == 1 else "both"


def _reads(roots: Iterable[Node], slots: Mapping[Node, Slot]) -> dict[Node, int]:
    """Return how many statements read each value."""
    counts: dict[Node, int] = {}
    waiting, seen = list(roots), set[Node]()
    while waiting:
        node = waiting.pop()
        counts[node] = counts.get(node, 0) + 1
        if node not in seen and node not in slots and not is_unit(node):
            seen.add(node)
            waiting += node.args
    return counts


def _option(name: str, value: float) -> str:
    return "" if value == 1 else f", {name}={value!r}"
