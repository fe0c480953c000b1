"""The statements of a stage, for one sequence and unit, in the language of any engine of loops.

Every load comes before every store, so a value may lie where another one goes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from harness.recurrence.graph import Node, infix
from harness.recurrence.reverse import Term
from harness.recurrence.stages import SLOW, Location, Stages

LONGEST = 50  # characters of an expression that is written where it is read


class Spelling(ABC):
    """How an engine writes statements.

    Args:
        reserved: names that no variable may have.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._names = set(reserved)

    @abstractmethod
    def number(self, value: float) -> str:
        """Return a constant."""

    @abstractmethod
    def call(self, op: str, args: Sequence[str]) -> str:
        """Return a function of values.

        Besides those of the graph: ``where_positive(d, x)``, d if x > 0, else 0; and ``splat(x)``,
        a value of a constant.
        """

    @abstractmethod
    def define(self, name: str, text: str) -> str:
        """Return the statement that gives a value a name."""

    @abstractmethod
    def read(self, location: Location) -> str:
        """Return the value that lies there."""

    @abstractmethod
    def write(self, location: Location, value: str) -> Sequence[str]:
        """Return the statements that store a value; of a mean or a vector's gradient, that add."""

    def unique(self, name: str) -> str:
        """Return a variable's name that no other one has."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


class Loop:
    """The statements of one stage.

    Args:
        stages: of the cell.
        spelling: of the engine.
        read: where a value lies; None: it is computed.
    """

    def __init__(
        self, stages: Stages, spelling: Spelling, read: Callable[[Node], Location | None]
    ) -> None:
        self._stages, self._spelling, self._read = stages, spelling, read
        self._loads: list[str] = []
        self._lines: list[str] = []
        self._stores: list[str] = []
        self._names: dict[Node, str] = {}
        self._uses: dict[Node, int] = {}
        self._terms: dict[Term, str] = {}
        cell = stages.recurrence.cell
        self._gates, self._states = identifiers(cell.gates), identifiers(cell.states)

    def statements(self) -> list[str]:
        """Return all."""
        return [*self._loads, *self._lines, *self._stores]

    def store(self, node: Node, location: Location) -> None:
        """Compute a value and write it."""
        self._write(location, self._whole(node))

    def count(self, roots: Iterable[Node]) -> None:
        """Count how often each value is read, so that what is read once is written in place."""
        waiting, seen = list(roots), set[Node]()
        for root in waiting:
            self._uses[root] = self._uses.get(root, 0) + 1
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                args = () if self._read(node) is not None else node.args
                waiting += args
                for argument in args:
                    self._uses[argument] = self._uses.get(argument, 0) + 1

    def gradients(self, stage: int) -> None:
        """Compute and write the gradients of a stage backwards."""
        stages = self._stages
        now = [each for each in stages.gradients if each.stage == stage]
        terms = dict.fromkeys(term for each in now for term in each.terms)
        self.count([term.factor for term in terms])
        for leaf in stages.reverse_stage:
            if stage == stages.reverse_stage[leaf] and leaf.op != "anchor":
                if leaf.op == "new" and leaf.value == 0:
                    self._write(Location("d_total"), self._value(leaf))
                self._hold(leaf)
        anchors = {leaf.value: leaf for leaf in stages.reverse_stage if leaf.op == "anchor"}
        for each in now:
            location, value = each.location, self._sum(each.terms)
            if location.array == "anchor":
                leaf = anchors[location.at]
                if leaf in stages.d_means:
                    self._write(Location("d_mean", stages.d_means.index(leaf)), value)
                else:
                    self._names[leaf] = self._named(f"total_{location.at}", value)
                    self._hold(leaf)
            elif location.array in {"d_zx", "d_product"} and each.terms:
                (term,) = each.terms
                if term not in self._terms:
                    self._terms[term] = self._named(self._gradient_label(location), value)
                self._write(location, self._terms[term])
            elif each.adds and location.array == "carry":  # to a vector's, every store adds
                before = self._spelling.unique(f"carry_{location.at}_before")
                self._loads.append(self._spelling.define(before, self._spelling.read(location)))
                self._write(location, f"{before} + {value}")
            else:
                self._write(location, value)

    def _hold(self, leaf: Node) -> None:
        if leaf in self._stages.held:
            self._write(Location("held", self._stages.held.index(leaf)), self._value(leaf))

    def _write(self, location: Location, value: str) -> None:
        self._stores += self._spelling.write(location, value)

    def _sum(self, terms: Sequence[Term]) -> str:
        if not terms:
            return self._spelling.call("splat", [self._spelling.number(0.0)])
        return " + ".join(map(self._product, terms))

    def _product(self, term: Term) -> str:
        anchor, factor = self._value(term.anchor), term.factor
        if factor.op == "constant" and abs(factor.value) == 1:
            return anchor if factor.value == 1 else f"-{anchor}"
        if self._read(factor) is None and factor not in self._names:
            if factor.op == "positive":  # no product: it is slow for subnormal numbers
                decisive = self._whole(factor.args[0])
                return self._spelling.call("where_positive", [anchor, decisive])
            if factor.op == "times" and self._uses.get(factor) == 1:
                return " * ".join([anchor, *(_safe(self._value(each)) for each in factor.args)])
        return f"{anchor} * {_safe(self._value(factor))}"

    def _value(self, node: Node) -> str:
        """Return the name of a value, or an expression; append what computes it."""
        spelling = self._spelling
        if node.op == "constant":
            return spelling.number(node.value)
        if node not in self._names:
            location = self._read(node)
            if location is not None:
                name = spelling.unique(self._label(node))
                self._loads.append(spelling.define(name, spelling.read(location)))
            else:
                args = [self._value(argument) for argument in node.args]
                text = infix(node, args, number=spelling.number, call=spelling.call)
                if self._uses.get(node) == 1 and node.op not in SLOW and len(text) < LONGEST:
                    return text
                name = self._named(self._label(node), text)
            self._names[node] = name
        return self._names[node]

    def _whole(self, node: Node) -> str:
        text = self._value(node)
        return self._spelling.call("splat", [text]) if node.op == "constant" else text

    def _named(self, label: str, text: str) -> str:
        name = self._spelling.unique(label)
        self._lines.append(self._spelling.define(name, text))
        return name

    def _label(self, node: Node) -> str:
        stages = self._stages
        if stages.kept.get(node, len(self._gates)) < len(self._gates):
            return f"{self._gates[stages.kept[node]]}_"
        if node.op == "state":
            return f"{self._states[node.value]}_before"
        if node in stages.after:
            return f"{self._states[stages.after.index(node)]}_after"
        if node.op in {"zx", "product", "new", "back"}:
            return _variable(stages.recurrence.label(node))
        return f"own_{_variable(node.value)}" if node.op == "vector" else f"v{len(self._names)}"

    def _gradient_label(self, location: Location) -> str:
        recurrence = self._stages.recurrence
        if location.array == "d_zx":
            leaf = recurrence.gates[location.at]
        else:
            leaf = recurrence.pieces[location.at][location.piece]
        return f"d_{_variable(recurrence.label(leaf))}"


def forward(stages: Stages, stage: int, spelling: Spelling) -> list[str]:
    """Return the statements of a stage forwards."""
    loop = Loop(stages, spelling, lambda node: stages.read_forward(node, stage))
    results = stages.results(stage)
    loop.count(dict.fromkeys(node for node, _ in results))
    for node, location in results:
        loop.store(node, location)
    return loop.statements()


def reverse(stages: Stages, stage: int, spelling: Spelling) -> list[str]:
    """Return the statements of a stage backwards."""
    loop = Loop(stages, spelling, lambda node: stages.read_reverse(node, stage))
    loop.gradients(stage)
    return loop.statements()


def own(stages: Stages, spelling: Spelling) -> list[str]:
    """Return the statements that compute the values that are the same for all sequences."""
    vectors = stages.recurrence.cell.vectors
    loop = Loop(
        stages,
        spelling,
        lambda node: Location("vector", vectors.index(node.value)) if node.op == "vector" else None,
    )
    for at, node in enumerate(stages.own):
        loop.store(node, Location("own", at))
    return loop.statements()


def identifiers(names: Sequence[str]) -> list[str]:
    """Return names that can be part of a variable in any language, each another."""
    results: list[str] = []
    for name in names:
        text = _variable(name)
        while text in results or (text != name and text in names):
            text += "_"
        results.append(text)
    return results


def _variable(name: str) -> str:
    return re.sub(r"\W|^\d", "_", name, flags=re.ASCII)


def _safe(part: str) -> str:
    return f"({part})" if " " in part or part.startswith("-") else part
