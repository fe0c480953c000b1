"""The stages of a time step backwards: each gradient is an anchor times a factor."""

from __future__ import annotations

from collections.abc import Sequence

from harness.recurrence import Anchor, Node, Term
from harness_numpy.compiled.layout import Kernel, Layout, read_counts
from harness_numpy.compiled.statements import Body, Code

LAST = 1_000_000  # the level of statements that overwrite what others read


class Back:
    """Writes the stages of the step back."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.derived, self.cell = layout, layout.derived, layout.cell
        self.states, self.products = layout.states, layout.products
        reverse = self.derived.reverse
        self.everywhere = layout.left()
        self.uses = read_counts(reverse.factors(), self.everywhere)
        self.stages, self.several = 0, bool(layout.inner)
        self.available: set[Node] = set()
        self.done: set[str] = set()
        self.copies: dict[Term, Code] = {}

    def kernels(self) -> list[Kernel]:
        """Return the stages."""
        reverse, kernels = self.derived.reverse, list[Kernel]()
        body = self._body()
        for each in reverse.order:
            if isinstance(each, Anchor):
                self._anchor(body, each)
                continue
            self._d_product(body, each.index)
            if each.state is None:
                self._d_zx(body)
                self._d_own(body)
                name = f"back_{len(kernels)}"
                kernels.append(self.layout.kernel(name, body, each.index))
                self.stages += 1
                body = self._body()
                self.everywhere[each.node] = body.codes[each.node] = Code(
                    f"back_{self.products[each.index]}{{0}}"
                )
                self.available.add(each.node)
        self._d_zx(body)
        self._d_own(body)
        for index in range(len(self.cell.products)):
            self._d_product(body, index)
        for state in self.layout.carried:
            self._d_state(body, state)
        kernels.append(self.layout.kernel(f"back_{len(kernels)}", body, None))
        return kernels

    def _body(self) -> Body:
        """Return an empty stage; the first adds to d loss / d new state what came back in time."""
        body = Body(self.layout.rows, dict(self.everywhere), uses=self.uses)
        for at, _ in enumerate(self.layout.means):
            node = self.layout.means[at]
            body.codes[node] = body.scalar(Code(f"means[t, b, {at}]"))
        if self.several:
            for node in self.available:
                if node.op == "anchor" and node.width == "sequence":
                    body.codes[node] = body.scalar(Code(f"anchor_means[b, {node.value}]"))
        graph, cell = self.derived.graph, self.cell
        for state, name in enumerate(self.states):
            target = "d_hidden{0}" if state == 0 else f"d_state_{name}{{0}}"
            arrived = [
                f"back_{self.products[index]}{{0}}"
                for index in self.layout.outer
                if self.derived.operands[index].value == state
            ]
            if state == 0 and 0 in self.layout.carried:
                arrived.append(f"d_state_{name}{{0}}")
            code = Code(target)
            if self.stages == 0 and arrived:
                code = body.put(target, Code(" + ".join(arrived)), "+=")
            last = self.stages == len(self.layout.inner)
            if state > 0 and last and len(cell.states) > 2:  # noqa: PLR2004 - they swap places
                code = body.stored(code)
            node = graph.leaf("new", state)
            self.available.add(node)
            body.codes[node] = code
        return body

    def _term(self, body: Body, term: Term) -> Code:
        anchor = body.codes[term.anchor]
        if term.factor.op == "constant" and term.factor.value == 1:
            return anchor
        if term.factor.op == "positive":  # no product: it is slow for subnormal numbers
            body.functions.add("where_positive")
            parts = [anchor, body.value(term.factor.args[0])]
            return body.joined(parts, lambda texts: f"where_positive({', '.join(texts)})")
        factor = body.value(term.factor)
        return body.joined([anchor, factor], lambda parts: " * ".join(map(_safe, parts)))

    def _sum(self, body: Body, terms: Sequence[Term]) -> Code:
        parts = [self._term(body, term) for term in terms]
        return body.joined(parts, " + ".join)

    def _anchor(self, body: Body, anchor: Anchor) -> None:
        node = anchor.node
        self.available.add(node)
        code = self._sum(body, anchor.terms)
        if anchor.mean:
            body.codes[node] = body.mean(code)
            if self.several:
                body.put(f"anchor_means[b, {node.value}]", body.codes[node])
        elif self.several:
            self.everywhere[node] = Code(f"anchor{{{node.value}}}")
            body.codes[node] = body.put(f"anchor{{{node.value}}}", code)
        else:
            body.codes[node] = body.stored(code)

    def _d_zx(self, body: Body) -> None:
        for gate, term in enumerate(self.derived.reverse.zx):
            self._gradient(body, f"zx{{{gate}}}", term)

    def _d_product(self, body: Body, index: int) -> None:
        if self.layout.joint[index]:
            self._d_zx(body)
            return
        for piece, term in enumerate(self.derived.reverse.products[index]):
            merged = [gate for gate, at in self.derived.merged.items() if at == (index, piece)]
            for gate in merged:
                self._gradient(body, f"zx{{{gate}}}", self.derived.reverse.zx[gate])
            self._gradient(body, f"d_product_{self.products[index]}{{{piece}}}", term)

    def _gradient(self, body: Body, target: str, term: Term | None) -> None:
        """Write a gradient of zx or of a product, once its anchor is there."""
        if target in self.done or (term is not None and term.anchor not in self.available):
            return
        self.done.add(target)
        if term is None:
            body.put(target, Code(body.number(0.0)))
        elif term in self.copies:
            body.put(target, self.copies[term])
        else:
            self.copies[term] = body.put(target, self._term(body, term))

    def _d_own(self, body: Body) -> None:
        for name, terms in zip(self.cell.vectors, self.derived.reverse.vectors, strict=True):
            target = f"d_own_{name}{{0}}"
            ready = all(term.anchor in self.available for term in terms)
            if terms and ready and target not in self.done:
                self.done.add(target)
                body.put(target, self._sum(body, terms), "+=")

    def _d_state(self, body: Body, state: int) -> None:
        terms, name = self.derived.reverse.state[state], self.states[state]
        code = self._sum(body, terms) if terms else Code(body.number(0.0))
        body.put(f"d_state_{name}{{0}}", Code(code.text, code.size, LAST + state))


def _safe(part: str) -> str:
    return f"({part})" if " " in part else part
