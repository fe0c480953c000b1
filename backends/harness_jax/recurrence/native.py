"""Variant ``native``: the C kernel as custom calls of XLA, with a ``custom_vjp``; CPU only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax import Array

from harness.contract import Cell
from harness_native.library import cell_library
from harness_native.xla import xla_shim

States = tuple[Array, ...]
Weights = Mapping[str, Array]
Result = tuple[Array, States]
Kept = tuple[Weights, States, States, Array, tuple[Array, ...], tuple[Array, ...], Array | None]


def native_on(threads: int) -> Callable[..., Result]:
    """Return the layer on ``threads``; signature as ``harness_jax.recurrence.scan.scan``.

    Differentiable in the initial and the final state. The probe is not added; it only receives the
    gradient d loss / d h_t.
    """
    return partial(_native, threads)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _native(
    threads: int, cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None
) -> Result:
    return _forward(threads, cell, zx, weights, state, probe)[0]


def _forward(
    threads: int, cell: Cell, zx: Array, weights: Weights, state: States, probe: Array | None
) -> tuple[Result, Kept]:
    _register()
    plan, count, hidden = cell_library(cell).plan, len(state), state[0].shape[-1]
    inner = sum(plan.inner)
    results = [_like(zx, hidden)] * count + [zx] + [_like(zx, hidden)] * (inner + plan.extra)
    call = jax.ffi.ffi_call(
        "harness_native_forward",
        tuple(_like(each) for each in results),
        input_output_aliases={0: count},
    )
    outcome = call(zx, *state, *_inputs(cell, weights), **_attributes(threads, cell))
    states, gates = tuple(outcome[:count]), outcome[count]
    operands, kept = outcome[count + 1 : count + 1 + inner], outcome[count + 1 + inner :]
    residuals = (weights, state, states, gates, tuple(operands), tuple(kept), probe)
    return (states[0], tuple(part[-1] for part in states)), residuals


def _inputs(cell: Cell, weights: Weights) -> list[Array]:
    """Return what the kernel takes forwards: the weights of the products, then the vectors."""
    products = [
        weights[name]
        for product in cell.products
        for name in (f"weight_{product.name}", f"bias_{product.name}")
        if name.startswith("weight") or product.bias
    ]
    return [*products, *(weights[name] for name in cell.vectors)]


def _backward(
    threads: int, cell: Cell, kept: Kept, cotangent: tuple[Array, States]
) -> tuple[Any, ...]:
    weights, start, states, gates, operands, values, probe = kept
    d_hidden, d_final = cotangent
    plan, inner = cell_library(cell).plan, iter(operands)
    products, results = list[Array](), dict[str, Any]()
    for index, product in enumerate(cell.products):
        weight = weights[f"weight_{product.name}"]
        products += [weight, next(inner)] if plan.inner[index] else [weight]
        results[f"weight_{product.name}"] = weight
        if product.bias:
            results[f"bias_{product.name}"] = weights[f"bias_{product.name}"]
        if plan.shared[index] is None:
            results[f"apart {index}"] = _like(gates, len(weight))
    vectors = {name: weights[name] for name in cell.vectors}
    shapes = (gates, d_hidden, *start, *results.values(), *vectors.values())
    call = jax.ffi.ffi_call(
        "harness_native_reverse",
        tuple(_like(each) for each in shapes),
        input_output_aliases={0: 0, 1: 1},
    )
    arguments = (gates, d_hidden, *start, *states, *d_final, *products, *vectors.values(), *values)
    d_zx, d_total, *rest = call(*arguments, **_attributes(threads, cell))
    gradients = dict(zip([*results, *vectors], rest[len(start) :], strict=True))
    d_weights = {name: gradients[name] for name in weights}
    return d_zx, d_weights, tuple(rest[: len(start)]), None if probe is None else d_total


_native.defvjp(_forward, _backward)


def _like(array: Any, width: int | None = None) -> jax.ShapeDtypeStruct:
    shape = array.shape if width is None else (*array.shape[:-1], width)
    return jax.ShapeDtypeStruct(shape, array.dtype)  # type: ignore[no-untyped-call]


def _attributes(threads: int, cell: Cell) -> dict[str, np.int64]:
    number = xla_shim().connect(cell_library(cell))
    return {"cell": np.int64(number), "threads": np.int64(threads)}


@cache
def _register() -> None:
    handlers = xla_shim().handlers
    for name, handler in (("forward", handlers.forward), ("reverse", handlers.reverse)):
        capsule = jax.ffi.pycapsule(handler)  # type: ignore[no-untyped-call]
        jax.ffi.register_ffi_target(f"harness_native_{name}", capsule, platform="cpu")
