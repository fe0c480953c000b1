"""What ``fused`` computes in one time step, what it keeps, and what it computes of all at once.

It follows from the graph of the cell's step, in the form that XLA's CPU code runs fastest (measured
on AVX-512, H = 128, B = 32): neighbouring gates as one elementwise operation on (B, n*H), since a
loop over slices of it is not vectorised; and the factors of the gradient, which do not depend on
later time steps, for all time steps at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from harness.contract import Cell
from harness.recurrence import Anchor, Node, Recurrence, Term, derive, reachable

COSTLY = {"product", "sigmoid", "tanh", "exp", "log", "softplus", "sqrt", "mean"}
# sigmoid(x) = tanh(x / 2) / 2 + 1/2 loses the digits of small results, which these bring to light.
SENSITIVE = {"divide", "log", "sqrt"}


@dataclass(frozen=True)
class Run:
    """Neighbouring gates sigmoid(zx + product) and tanh(zx + product), as one operation.

    Attributes:
        nodes: the values, one per gate.
        gate: the first gate.
        product: the index of the product.
        piece: its first piece.
    """

    nodes: tuple[Node, ...]
    gate: int
    product: int
    piece: int

    @property
    def next(self) -> tuple[int, int, int]:
        """The gate, product and piece that would make it longer."""
        count = len(self.nodes)
        return self.gate + count, self.product, self.piece + count

    @property
    def scales(self) -> tuple[float, ...]:
        """A number s per gate: the value is tanh(s x) s + (1 - s)."""
        return tuple(0.5 if node.op == "sigmoid" else 1.0 for node in self.nodes)


@dataclass(frozen=True)
class Cut:
    """``count`` neighbouring pieces of a product."""

    product: int
    piece: int
    count: int


class Plan:
    """The order of work for a cell.

    Attributes:
        recurrence: what follows from the cell's step.
        runs: gates that one operation computes.
        kept_runs: the runs of each forward step that the gradient needs whole.
        kept: single values that it needs.
        inputs: what the reverse loop reads of each time step: factors, or the one array from which
            it computes a factor.
        emitted: the anchors of terms for which no time step waits: of d_zx and of vectors.
        gates: the parts of d_zx: pieces of d_product, a term, or None for zero.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        self.recurrence, reverse = recurrence, recurrence.reverse
        self.runs = tuple(_runs(recurrence))
        self._stored = {*recurrence.gates, *recurrence.before, *recurrence.after}
        needed = self._needed([*reverse.factors(), *recurrence.operands])
        self.kept_runs = tuple(run for run in self.runs if needed.issuperset(run.nodes))
        needed -= {node for run in self.kept_runs for node in run.nodes}
        self.kept = tuple(sorted(needed, key=lambda node: node.index))
        anchors = [each.terms for each in reverse.order if isinstance(each, Anchor)]
        rows = (*anchors, *reverse.products, *reverse.state)
        factors = {term.factor: None for row in rows for term in row if term is not None}
        self.inputs = tuple(
            {self._source(factor): None for factor in factors if _over_time(factor)}
        )
        self.gates = tuple(_gates(recurrence))
        outside = [each for each in self.gates if isinstance(each, Term)]
        outside += [term for terms in reverse.vectors for term in terms]
        self.emitted = tuple({term.anchor: None for term in outside})

    def _needed(self, roots: Iterable[Node]) -> set[Node]:
        """Return the values of a forward step without which the roots would cost much again."""
        forwards = set(reachable([*self.recurrence.after, *self.recurrence.operands]))
        needed, seen, waiting = set[Node](), set(self._stored), list(roots)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            cheap = node.op != "product" and all(
                not _over_time(argument) or argument in self._stored for argument in node.args
            )
            if node.op in COSTLY and _over_time(node) and node in forwards and not cheap:
                needed.add(node)
            else:
                waiting += node.args
        return needed

    def _source(self, factor: Node) -> Node:
        """Return the one array that gives the factor by arithmetic, or the factor itself."""
        runs = (node for run in self.kept_runs for node in run.nodes)
        stored = {*self._stored, *self.kept, *runs}
        sources, waiting = set[Node](), [factor]
        while waiting:
            node = waiting.pop()
            if node in stored:
                sources.add(node)
            elif node.op in COSTLY:
                return factor
            else:
                waiting += [argument for argument in node.args if _over_time(argument)]
        return sources.pop() if len(sources) == 1 else factor


@cache
def plan_of(recurrence: Recurrence) -> Plan:
    """Return the plan of a recurrence; made once."""
    return Plan(recurrence)


def _over_time(node: Node) -> bool:
    """Say whether a value has a time axis when all time steps are computed at once."""
    return node.width in {"both", "sequence"}


def _gates(recurrence: Recurrence) -> Iterable[Cut | Term | None]:
    """Yield the parts of d_zx; neighbouring pieces of one product are one part."""
    cut: Cut | None = None
    for gate, term in enumerate(recurrence.reverse.zx):
        index, piece = recurrence.merged.get(gate, (None, None))
        if cut is not None and (index, piece) == (cut.product, cut.piece + cut.count):
            cut = Cut(cut.product, cut.piece, cut.count + 1)
            continue
        if cut is not None:
            yield cut
        cut = None if index is None or piece is None else Cut(index, piece, 1)
        if cut is None:
            yield term
    if cut is not None:
        yield cut


def _runs(recurrence: Recurrence) -> list[Run]:
    nodes = reachable([*recurrence.after, *recurrence.operands])
    if any(node.op in SENSITIVE for node in nodes):
        return []
    by_gate: dict[int, Node] = {}
    for node in nodes:
        if node.op in {"sigmoid", "tanh"} and node.args[0].op == "sum":
            (total,) = node.args
            if total.value != ((1.0, 1.0), 0.0):
                continue
            ops = {argument.op: argument for argument in total.args}
            if set(ops) == {"zx", "product"} and ops["zx"].value in recurrence.merged:
                by_gate[ops["zx"].value] = node
    runs: list[Run] = []
    for gate, node in sorted(by_gate.items(), key=lambda item: item[0]):
        product, piece = recurrence.merged[gate]
        last = runs[-1] if runs else None
        if last is not None and last.next == (gate, product, piece):
            runs[-1] = replace(last, nodes=(*last.nodes, node))
        else:
            runs.append(Run((node,), gate, product, piece))
    return runs


def source(cell: Cell) -> str:
    """Return what ``jax:fused`` computes of a cell, as text: XLA makes the code."""
    plan, names = plan_of(derive(cell)), dict[Node, str]()
    lines = [plan.recurrence.listing(names), "# jax:fused"]
    runs = {run: " ".join(cell.gates[run.gate :][: len(run.nodes)]) for run in plan.runs}
    lines += [f"# gates that one operation computes: {text}" for text in runs.values()]
    singles = [names.get(node) or plan.recurrence.label(node) for node in plan.kept]
    kept = [*cell.states, *(runs[run] for run in plan.kept_runs), *singles]
    lines.append(f"# kept of each time step: {', '.join(kept)}")
    early = [node for node in plan.recurrence.reverse.factors() if node in plan.inputs]
    if texts := [names[node] for node in early if node in names]:
        lines.append(f"# computed of all time steps at once: {', '.join(texts)}")
    return "\n".join(lines)
