"""NumPy statements for nodes of an expression graph, each computed into its destination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.recurrence import Node

# The operations of a function, on its argument x and its destination y.
FUNCTIONS: Mapping[str, Sequence[tuple[str, ...]]] = {
    **{op: ((op, "x"),) for op in ("tanh", "exp", "log", "sqrt", "absolute", "sign")},
    "relu": (("maximum", "x", "0"),),
    "positive": (("greater", "x", "0"),),
    "mean": (("mean", "x", "axis=-1", "keepdims=True"),),
    "sigmoid": (
        ("multiply", "x", "0.5"), ("tanh", "y"), ("multiply", "y", "0.5"), ("add", "y", "0.5"),
    ),
    "exact sigmoid": (("negative", "x"), ("exp", "y"), ("add", "y", "1"), ("reciprocal", "y")),
    "softplus": (
        ("absolute", "x"), ("negative", "y"), ("exp", "y"), ("log1p", "y"),
        ("add", "y", "maximum(x, 0)"),
    ),
}  # fmt: skip
IMPORTS = (
    "absolute", "add", "array", "copyto", "divide", "exp", "greater", "log", "log1p", "maximum",
    "mean", "multiply", "negative", "reciprocal", "sign", "sqrt", "subtract", "tanh",
)  # fmt: skip


class Statements:
    """Writes what some values need, in the order in which they are asked for.

    A value that one other reads is computed in that other's place; other values (B, H) without a
    place take a scratch array, which is free again after its last reader. Narrower ones are
    variables.

    Args:
        roots: the values that will be asked for.
        names: node -> the name of a value that exists.
        targets: node -> the name of the array that it is to be computed into.
        exact: the sigmoids whose small values must keep their digits.
        begun: the sums of which ``start`` will say that some terms are in their place.
    """

    def __init__(
        self,
        roots: Iterable[Node],
        names: Mapping[Node, str],
        targets: Mapping[Node, str],
        exact: frozenset[Node],
        begun: frozenset[Node] = frozenset(),
    ) -> None:
        self.lines: list[str] = []
        self.scratch = 0  # arrays (B, H) in all
        self._free: list[str] = []
        self._names, self._targets, self._exact = dict(names), dict(targets), exact
        self._begun = begun
        self._own: set[Node] = set()  # those in a scratch array
        self._left = self._count(roots)
        self._into = self._inherited()
        self._started: dict[Node, set[Node]] = {}

    def _count(self, roots: Iterable[Node]) -> dict[Node, int]:
        """Return how often each value to be computed will be read."""
        left: dict[Node, int] = {}
        waiting = list(roots)
        while waiting:
            node = waiting.pop()
            left[node] = left.get(node, 0) + 1
            if left[node] == 1 and node not in self._names:
                waiting += node.args
        for root in roots:
            left[root] += 1  # never free
        return left

    def _inherited(self) -> dict[Node, Node]:
        """Return argument -> the node in whose place it is computed: one argument of each."""
        result: dict[Node, Node] = {}
        for node in self._left:
            if (
                node in {*self._names, *self._begun}
                or node.width != "both"
                or node.op in {"softplus", "product"}
            ):
                continue
            for argument in node.args:
                if (
                    argument.width == "both"
                    and argument.op not in {"product", "constant"}
                    and self._left[argument] == 1
                    and argument not in self._names
                    and argument not in self._targets
                ):
                    result[argument] = node
                    break
        return result

    def start(self, node: Node, terms: Sequence[Node]) -> None:
        """Note that some terms of a sum are in its place already."""
        self._started[node] = set(terms)

    def know(self, node: Node, name: str) -> None:
        """Note that a value exists."""
        self._names[node] = name

    def read(self, node: Node) -> str:
        """Return the expression of a value, after the statements that it needs."""
        if node.op == "constant":
            return repr(node.value)
        if node not in self._names:
            self._compute(node)
        return self._names[node]

    def target(self, node: Node) -> str:
        """Return the name of the array that a value (B, H) is computed into."""
        while node in self._into:
            node = self._into[node]
        if node not in self._targets:
            self._targets[node] = self.take()
            self._own.add(node)
        return self._targets[node]

    def take(self) -> str:
        """Return the name of a free scratch array."""
        if not self._free:
            self._free.append(f"w{self.scratch}")
            self.scratch += 1
        return self._free.pop()

    def give(self, name: str) -> None:
        """Make a scratch array free again."""
        self._free.append(name)

    def write(self, line: str) -> None:
        """Write a statement."""
        self.lines.append(line)

    def _compute(self, node: Node) -> None:
        args = [self.read(argument) for argument in node.args]
        started = self._started.get(node, set())
        placed = node.width == "both" or node in self._targets
        name = self.target(node) if placed else f"v{node.index}"
        Target(self, name, new=not placed).compute(node, args, started, exact=node in self._exact)
        self._names[node] = name
        self._release(node.args)

    def _release(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node in self._left:
                self._left[node] -= 1
                if self._left[node] == 0 and node in self._own:
                    self.give(self._targets[node])


class Target:
    """Writes the operations of one node; the first of them may read its destination.

    Args:
        statements: where to write.
        name: of the destination.
        new: it is a variable to be made.
    """

    def __init__(self, statements: Statements, name: str, *, new: bool) -> None:
        self._statements, self._name, self._new = statements, name, new

    def do(self, function: str, *args: str) -> None:
        """Write one operation."""
        call = ", ".join(args)
        if self._new and function == "greater":  # of booleans
            self._statements.write(f"{self._name} = maximum(sign({args[0]}), 0)")
        elif self._new:
            self._statements.write(f"{self._name} = {function}({call})")
        else:
            self._statements.write(f"{function}({call}, out={self._name})")
        self._new = False

    def compute(self, node: Node, args: list[str], started: set[Node], *, exact: bool) -> None:
        """Write all operations."""
        name = self._name
        if node.op == "sum":
            self._sum(node, args, started)
        elif node.op == "times":
            first, *rest = sorted(args, key=lambda each: each != name)
            for part in rest:
                self.do("multiply", first, part)
                first = name
        elif node.op in {"divide", "maximum"}:
            self.do(node.op, *args)
        else:
            words = {"x": args[0], "y": name, "maximum(x, 0)": f"maximum({args[0]}, 0)"}
            for function, *rest in FUNCTIONS[f"exact {node.op}" if exact else node.op]:
                self.do(function, *(words.get(each, each) for each in rest))

    def _sum(self, node: Node, args: list[str], started: set[Node]) -> None:
        coefficients, constant = node.value
        terms: list[tuple[float, str, str]] = [
            (coefficient, text, argument.width)
            for coefficient, text, argument in zip(coefficients, args, node.args, strict=True)
            if argument not in started
        ]
        # What is in the destination goes first; else a term with a coefficient, then the positive.
        terms.sort(key=lambda term: (term[1] != self._name, abs(term[0]) == 1, -term[0]))
        if not started:
            constant = self._first(terms, constant)
        for coefficient, text, width in terms:
            if abs(coefficient) == 1:
                self.do("add" if coefficient > 0 else "subtract", self._name, text)
            else:
                self._add(self._name, coefficient, text, width)
        if constant:
            self.do("add", self._name, repr(constant))

    def _first(self, terms: list[tuple[float, str, str]], constant: float) -> float:
        """Write the first operation of a sum; return what constant is left of it."""
        coefficient, text, _ = terms.pop(0)
        if abs(coefficient) != 1:
            self.do("multiply", text, repr(coefficient))
            return constant
        units = [term for term in terms if abs(term[0]) == 1]
        positive = [term for term in units if term[0] > 0]
        if coefficient < 0 and positive:
            terms.remove(positive[0])
            self.do("subtract", positive[0][1], text)
        elif coefficient < 0 and constant:
            self.do("subtract", repr(constant), text)
            return 0.0
        elif coefficient < 0:
            self.do("negative", text)
        elif units:
            terms.remove(units[0])
            self.do("add" if units[0][0] > 0 else "subtract", text, units[0][1])
        elif terms:
            self._add(text, *terms.pop(0))
        else:
            self.do("add", text, repr(constant))
            return 0.0
        return constant

    def _add(self, text: str, coefficient: float, other: str, width: str) -> None:
        """Write the sum of ``text`` and a multiple of ``other``."""
        if width != "both" or self._new:
            self.do("add", text, f"{coefficient!r} * {other}")
            return
        scratch = self._statements.take()
        self._statements.write(f"multiply({other}, {coefficient!r}, out={scratch})")
        self.do("add", text, scratch)
        self._statements.give(scratch)
