"""Where the gradients of zx and of the products lie: parts of one tensor, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.recurrence import Term
from harness_torch.written.prepared import Prepared


@dataclass(frozen=True)
class Rows:
    """The gradient of one product: a part of the last axis of ``d_gates``.

    Attributes:
        first, last: in units of H.
        order: the product's pieces as they lie there.
    """

    first: int
    last: int
    order: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The parts of ``d_gates``, in units of H.

    Attributes:
        free: per product, its pieces that are not merged with a gate.
        zx: where the gradient of zx begins; the gates follow each other.
        rows: per product, its gradient.
        terms: what each part is.
    """

    free: tuple[tuple[int, ...], ...]
    zx: int
    rows: tuple[Rows, ...]
    terms: tuple[Term | None, ...]


def layout(graph: Prepared) -> Layout:
    """Lay out the gradients of zx and of the products side by side.

    The gradient of a merged piece is that of its gate, so a product whose merged gates are
    neighbours shares them with zx, and has its other pieces before or after zx. Only one product
    can have its pieces on either side; the pieces of others are kept twice.
    """
    reverse, count = graph.reverse, len(graph.gates)
    free = tuple(_free(graph, index) for index in range(len(graph.pieces)))
    before, after = _outside(graph, free)
    zx = 0 if before is None else len(free[before])
    end = zx + count + (0 if after is None else len(free[after]))
    rows, more = [], list[tuple[int, int]]()  # (product, piece)
    for index, pieces in enumerate(graph.pieces):
        gates, order = _merged(graph, index)
        if index == before:
            rows.append(Rows(0, zx + len(gates), (*free[index], *order)))
        elif index == after:
            rows.append(Rows(zx + gates[0], end, (*order, *free[index])))
        elif gates and not free[index] and gates == _run(gates[0], len(gates)):
            rows.append(Rows(zx + gates[0], zx + gates[0] + len(gates), tuple(order)))
        else:
            first = end + len(more)
            rows.append(Rows(first, first + len(pieces), tuple(range(len(pieces)))))
            more += [(index, piece) for piece in range(len(pieces))]
    outside = [
        [] if index is None else [(index, piece) for piece in free[index]]
        for index in (before, after)
    ]
    terms = [
        *(reverse.products[index][piece] for index, piece in outside[0]),
        *(_of_gate(graph, gate) for gate in range(count)),
        *(reverse.products[index][piece] for index, piece in [*outside[1], *more]),
    ]
    return Layout(free, zx, tuple(rows), tuple(terms))


def _of_gate(graph: Prepared, gate: int) -> Term | None:
    if gate not in graph.merged:
        return graph.reverse.zx[gate]
    product, piece = graph.merged[gate]
    return graph.reverse.products[product][piece]


def _free(graph: Prepared, index: int) -> tuple[int, ...]:
    merged = {piece for product, piece in graph.merged.values() if product == index}
    return tuple(piece for piece in range(len(graph.pieces[index])) if piece not in merged)


def _merged(graph: Prepared, index: int) -> tuple[list[int], list[int]]:
    """Return the gates that a product's pieces are merged with, and these pieces."""
    pairs = sorted((gate, piece) for gate, (of, piece) in graph.merged.items() if of == index)
    return [gate for gate, _ in pairs], [piece for _, piece in pairs]


def _outside(graph: Prepared, free: Sequence[tuple[int, ...]]) -> tuple[int | None, int | None]:
    """Return the products whose free pieces lie before and after zx, if there are any."""
    before = after = None
    for index in range(len(graph.pieces)):
        gates, _ = _merged(graph, index)
        if not gates or not free[index]:
            continue
        if before is None and gates == _run(0, len(gates)):
            before = index
        elif after is None and gates == _run(len(graph.gates) - len(gates), len(gates)):
            after = index
    return before, after


def _run(first: int, count: int) -> list[int]:
    return list(range(first, first + count))
