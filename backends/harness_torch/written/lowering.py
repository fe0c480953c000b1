"""PyTorch's operations: a sum with a product in one call, derivatives of sigmoid and tanh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.recurrence import Node
from harness.recurrence.statements.lowering import Lowering, complement, joint, width_rank
from harness.recurrence.statements.slots import is_unit

BARE = {"addcmul": "multiply", "addcdiv": "divide"}
PAIR = 2  # factors that one statement multiplies and adds


class Addend(NamedTuple):
    """``scale`` times a value (``add``), a product (``addcmul``) or a quotient (``addcdiv``)."""

    scale: float
    op: str
    parts: tuple[Node, ...]


class TorchLowering(Lowering):
    """Few calls. If ``whole``, y (1 - y) and 1 - y y of values that exist are one call each."""

    def sum(self, node: Node) -> Node:
        """Return ``lerp``, or a chain that begins with a plain term if there is one."""
        if mixed := self._mixture(node):
            return self.make("lerp", *map(self.value, mixed))
        coefficients, constant = node.value
        terms = list(map(self._addend, coefficients, node.args))
        terms.sort(key=lambda each: (rank(each), each.scale != 1, each.op != "add"))
        first, *others = terms
        total = first.parts[0]
        if first.op != "add":
            total = self.make(BARE[first.op], *first.parts)
        if constant and (first.scale != 1 or not others):
            total = self.make("affine", total, value=(first.scale, constant))
            constant = 0.0
        else:
            total = self.multiple(total, first.scale)
        for scale, op, parts in sorted(others, key=lambda each: (rank(each), each.op != "add")):
            total = self.make(op, total, *parts, value=scale)
        if not constant:
            return total
        return self.make("add", total, self.graph.constant(constant), value=1.0)

    def _addend(self, coefficient: float, node: Node) -> Addend:
        """Return a term of a sum, with the operation that needs no call of its own."""
        is_product = node.op == "times" and len(node.args) == PAIR
        if self.alone(node) and (is_product or (node.op == "divide" and not is_unit(node.args[0]))):
            (a, x), (b, y) = map(self.scaled, node.args)
            if is_product:
                return Addend(coefficient * a * b, "addcmul", (x, y))
            return Addend(coefficient * a / b, "addcdiv", (x, y))
        scale, statement = self.scaled(node)
        return Addend(coefficient * scale, "add", (statement,))

    def _mixture(self, node: Node) -> tuple[Node, Node, Node] | None:
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

    def times(self, factors: Sequence[Node]) -> tuple[float, Node]:
        """Return a chain; it ends with the derivatives."""
        plain, slopes, scale = list(factors), list[tuple[str, Node]](), 1.0
        for part in factors if self.whole else ():
            value, slope = complement(part), tanh_slope(part)
            if part in plain and value is not None and value in plain and self._exists(value):
                plain.remove(part)
                plain.remove(value)
                slopes.append(("sigmoid", value))
            elif part in plain and slope is not None and self._exists(slope[0]):
                plain.remove(part)
                slopes.append(("tanh", slope[0]))
                scale *= slope[1]
        sums = [each for each in plain if each.op == "sum" and each not in self.results]
        if scale != 1 and sums:
            plain[plain.index(sums[0])] = self.graph.sum([(scale, sums[0])])
            scale = 1.0
        slopes.sort(key=lambda each: each[0])
        more, result = super().times(plain) if plain else (1.0, self._slope(*slopes.pop(0)))
        for kind, value in slopes:
            result = self.make(f"{kind}_backward", result, value)
        return scale * more, result

    def _slope(self, kind: str, y: Node) -> Node:
        """Return a derivative that nothing is multiplied by."""
        square = self.make("multiply", y, y)
        if kind == "sigmoid":
            return self.make("add", y, square, value=-1.0)
        return self.make("affine", square, value=(-1.0, 1.0))

    def _exists(self, node: Node) -> bool:
        return node.width == "both" and node in self.results

    def function(self, node: Node, args: Sequence[Node]) -> tuple[float, Node]:
        """Return one call, or two."""
        first, *others = args
        numbers = [each.value for each in args if each.op == "constant"]
        if node.op == "tanh_half":
            return 1.0, self.make("affine", self.make("sigmoid", first), value=(2.0, -1.0))
        if node.op == "positive" and node.args[0].op == "relu":
            return 1.0, self.make("sign", first)  # of a number that is never negative
        if node.op == "divide" and numbers:
            return numbers[0], self.make("reciprocal", *others)
        if node.op == "maximum" and numbers:
            (value,) = (each for each in args if each.op != "constant")
            return 1.0, self.make("clamp_min", value, self.graph.constant(numbers[0]))
        if node.op == "relu":
            return 1.0, self.make("clamp_min", first, self.graph.constant(0.0))
        return 1.0, self.make(node.op, *args, width=node.width)


def rank(addend: Addend) -> int:
    """Return what puts wide terms first."""
    return min(map(width_rank, addend.parts))


def tanh_slope(node: Node) -> tuple[Node, float] | None:
    """Return y and k of a node k (1 - y y)."""
    if node.op != "sum" or len(node.args) != 1 or node.value[0] != (-node.value[1],):
        return None
    (square,) = node.args
    is_square = square.op == "times" and square.args == (square.args[0],) * PAIR
    return (square.args[0], node.value[1]) if is_square else None
