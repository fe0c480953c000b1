"""Variant ``fused``: BPTT derived from the cell's step, as one ``custom_vjp`` per layer.

The forward scan keeps the values that the factors of the gradient need. They are computed for all
time steps at once. The reverse scan only multiplies gradients by them. The gradients of weights and
vectors are then products and sums over all time steps.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.contract import Cell
from harness.recurrence import Anchor, Node, Recurrence, Term, derive, evaluate
from harness_jax.recurrence.ops import OPS, filled
from harness_jax.recurrence.plan import Cut, Plan, Run, plan_of
from harness_jax.recurrence.weights import (
    LayerOps,
    Weights,
    own,
    vector_gradients,
    weight_gradients,
)

States = tuple[Array, ...]
Result = tuple[Array, States]
Values = dict[Node, Array]
Kept = tuple[tuple[Array, ...], tuple[Array, ...]]  # whole runs, single values
# zx, weights, kept, initial state, states, probe
Residuals = tuple[Array, Weights, Kept, States, States, Array | None]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused(cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None) -> Result:
    """Run one layer over all time steps; signature as ``harness_jax.recurrence.scan.scan``.

    The probe is not added; it only receives the gradient d loss / d h_t.
    """
    return _forward(cell, zx, weights, state, probe)[0]


def _forward(
    cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None
) -> tuple[Result, Residuals]:
    plan, ops, vectors = plan_of(derive(cell)), LayerOps(cell, weights), own(cell, weights, zx)
    recurrence = plan.recurrence
    first_pieces = [pieces[0] for pieces in recurrence.pieces]

    def advance(state: States, zx_t: Array) -> tuple[States, tuple[Kept, States]]:
        values, wholes = _leaves(recurrence, zx_t, state, vectors), dict[Run, Array]()

        def take(node: Node) -> None:
            index = node.value[0]
            operand = filled(values[node.args[0]], state[0])
            product = ops.product(cell.products[index].name, operand)
            pieces = recurrence.pieces[index]
            values.update(zip(pieces, ops.split(product, len(pieces)), strict=True))
            for run in plan.runs:
                if run.product == index:
                    wholes[run] = _activated(run, zx_t, product, state[0].shape[-1])
                    parts = ops.split(wholes[run], len(run.nodes))
                    values.update(zip(run.nodes, parts, strict=True))

        evaluate(ops, [*first_pieces, *recurrence.after, *plan.kept], values, take)
        new = tuple(filled(values[node], state[0]) for node in recurrence.after)
        singles = tuple(values[node] for node in plan.kept)
        return new, ((tuple(wholes[run] for run in plan.kept_runs), singles), new)

    final, (kept, states) = lax.scan(advance, state, zx)
    return (states[0], final), (zx, weights, kept, state, states, probe)


def _activated(run: Run, zx: Array, product: Array, hidden: int) -> Array:
    """Return the gates of a run, (B, n*H): sigmoid(x) is tanh(x / 2) / 2 + 1/2."""
    count = len(run.nodes)
    z = _cut(zx, run.gate, count, hidden) + _cut(product, run.piece, count, hidden)
    if set(run.scales) == {1.0}:
        return jnp.tanh(z)
    if set(run.scales) == {0.5}:
        return jnp.tanh(z * 0.5) * 0.5 + 0.5
    scale = jnp.repeat(jnp.array(run.scales, z.dtype), hidden)
    return jnp.tanh(z * scale) * scale + (1 - scale)


def _backward(cell: Cell, residuals: Residuals, cotangent: tuple[Array, States]) -> tuple[Any, ...]:
    zx, weights, _, _, states, probe = residuals
    plan, (d_outputs, d_final) = plan_of(derive(cell)), cotangent
    values = _over_time(plan, cell, residuals)
    fixed = {node: part for node, part in values.items() if node.width == "unit"}
    new = [plan.recurrence.graph.leaf("new", index) for index in range(len(states))]
    backs = [weights[f"weight_{product.name}"].astype(zx.dtype) for product in cell.products]

    def retreat(d_after: States, now: tuple[Any, Array]) -> tuple[States, tuple[Any, ...]]:
        inputs, d_output = now
        d_new = (d_after[0] + d_output, *d_after[1:])
        work = fixed | dict(zip((*plan.inputs, *new), (*inputs, *d_new), strict=True))
        d_before, d_products = _step_gradients(plan, work, backs, d_output)
        emitted = tuple(work[anchor] for anchor in plan.emitted)
        return d_before, (d_products, emitted, None if probe is None else d_new[0])

    inputs = tuple(values[node] for node in plan.inputs)
    d_start, (d_products, emitted, d_probe) = lax.scan(
        retreat, d_final, (inputs, d_outputs), reverse=True
    )
    values.update(zip(plan.emitted, emitted, strict=True))
    operands = [filled(values[operand], d_outputs) for operand in plan.recurrence.operands]
    vectors = [
        filled(_total(terms, values), d_outputs) for terms in plan.recurrence.reverse.vectors
    ]
    d_weights = weight_gradients(cell, weights, operands, d_products)
    d_weights |= vector_gradients(cell, weights, vectors)
    parts = [
        _cut(d_products[part.product], part.piece, part.count, d_outputs.shape[-1])
        if isinstance(part, Cut)
        else filled(_value(part, values), d_outputs)
        for part in plan.gates
    ]
    d_zx = parts[0] if len(parts) == 1 else OPS.concatenate(parts)
    return d_zx, d_weights, d_start, d_probe


def _step_gradients(
    plan: Plan, values: Values, backs: Sequence[Array], like: Array
) -> tuple[States, tuple[Array, ...]]:
    """Return the gradients of one step: of the states before it, and of the products.

    Args:
        plan: of the cell.
        values: what the factors need, and the gradients of the new states; takes the anchors.
        backs: the weights of the products, (n*H, H).
        like: (B, H).
    """
    reverse = plan.recurrence.reverse
    d_products: list[Array] = [like] * len(backs)
    d_states: list[list[Array | float]] = [[] for _ in reverse.state]
    for each in reverse.order:
        if isinstance(each, Anchor):
            total = jnp.asarray(_total(each.terms, values))
            values[each.node] = OPS.mean(total) if each.mean else total
            continue
        terms = reverse.products[each.index]
        d_product = OPS.concatenate([filled(_value(term, values), like) for term in terms])
        d_products[each.index] = d_product
        d_operand = d_product @ backs[each.index]
        if each.state is None:
            values[each.node] = d_operand
        else:
            d_states[each.state].append(d_operand)
    for parts, pointwise in zip(d_states, reverse.state, strict=True):
        parts += [_value(term, values) for term in pointwise]
    return tuple(filled(_sum(parts), like) for parts in d_states), tuple(d_products)


fused.defvjp(_forward, _backward)


def _over_time(plan: Plan, cell: Cell, residuals: Residuals) -> Values:
    """Return what the gradient needs of all time steps, each (T, B, H); of vectors, (H,)."""
    zx, weights, (wholes, singles), start, states, _ = residuals
    recurrence, reverse = plan.recurrence, plan.recurrence.reverse
    before = tuple(
        jnp.concatenate([first[None], part[:-1]]) for first, part in zip(start, states, strict=True)
    )
    values = dict(zip(recurrence.after, states, strict=True))
    values |= _leaves(recurrence, zx, before, own(cell, weights, zx))
    values.update(zip(plan.kept, singles, strict=True))
    for run, whole in zip(plan.kept_runs, wholes, strict=True):
        values.update(zip(run.nodes, OPS.split(whole, len(run.nodes)), strict=True))
    evaluate(OPS, [*reverse.factors(), *recurrence.operands], values)
    return values


def _leaves(recurrence: Recurrence, zx: Array, state: States, vectors: tuple[Array, ...]) -> Values:
    leaves = (*recurrence.gates, *recurrence.before, *recurrence.vectors)
    return dict(zip(leaves, (*OPS.split(zx, len(recurrence.gates)), *state, *vectors), strict=True))


def _cut(array: Array, first: int, count: int, hidden: int) -> Array:
    """Return ``count`` of the pieces (..., H) of an array, as one array."""
    if first == 0 and count * hidden == array.shape[-1]:
        return array
    return array[..., first * hidden : (first + count) * hidden]


def _value(term: Term | None, values: Values) -> Array | float:
    """Return anchor times factor."""
    if term is None:
        return 0.0
    anchor, factor = values[term.anchor], term.factor
    evaluate(OPS, [factor], values)
    return anchor if factor.op == "constant" and factor.value == 1 else anchor * values[factor]


def _total(terms: Sequence[Term], values: Values) -> Array | float:
    return _sum([_value(term, values) for term in terms])


def _sum(parts: Sequence[Array | float]) -> Array | float:
    return reduce(operator.add, parts) if parts else 0.0
