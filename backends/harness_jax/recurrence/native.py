"""Variant ``native``: the C kernel as custom calls of XLA, with a ``custom_vjp``; CPU only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax import Array

import harness_native
from harness.contract import Cell

States = tuple[Array, ...]
Result = tuple[Array, States]
Kept = tuple[Array, Array, States, States, tuple[Array, ...], Array | None]


def native_on(threads: int) -> Callable[..., Result]:
    """Return the layer on ``threads``; signature as ``harness_jax.recurrence.scan.scan``.

    Differentiable in the initial and the final state. The probe is not added; it only receives the
    gradient d loss / d h_t.
    """

    def native(
        cell: Cell, zx: Array, weights: Mapping[str, Array], state: States, probe: Array | None
    ) -> Result:
        weight_hh, bias_hh = weights.get("weight_hh"), weights.get("bias_hh")
        return _native(threads, cell, zx, weight_hh, bias_hh, state, probe)

    return native


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _native(
    threads: int,
    cell: Cell,
    zx: Array,
    weight_hh: Array | None,
    bias_hh: Array | None,
    state: States,
    probe: Array | None,
) -> Result:
    return _forward(threads, cell, zx, weight_hh, bias_hh, state, probe)[0]


def _forward(
    threads: int,
    cell: Cell,
    zx: Array,
    weight_hh: Array | None,
    bias_hh: Array | None,
    state: States,
    probe: Array | None,
) -> tuple[Result, Kept]:
    if weight_hh is None or bias_hh is None:
        raise TypeError(f"the kernel runs recurrent cells only, not {cell.name}")
    _register()
    count, extra = len(state), _extra(cell, state[0], zx)
    results = (*(_like(zx, state[0].shape[-1]) for _ in state), _like(zx), *extra)
    call = jax.ffi.ffi_call("harness_native_forward", results, input_output_aliases={0: count})
    outcome = call(zx, bias_hh, weight_hh, *state, **_attributes(threads, cell))
    states, kept = tuple(outcome[:count]), tuple(outcome[count:])
    residuals = (weight_hh, bias_hh, state, states, kept, probe)
    return (states[0], tuple(part[-1] for part in states)), residuals


def _backward(
    threads: int, cell: Cell, kept: Kept, cotangent: tuple[Array, States]
) -> tuple[Any, ...]:
    weight_hh, bias_hh, start, states, (gates, *zh_n), probe = kept
    d_hidden, d_final = cotangent
    shaped_as = (gates, d_hidden, weight_hh, bias_hh, *start, *(gates for _ in zh_n))
    results = tuple(_like(array) for array in shaped_as)
    call = jax.ffi.ffi_call("harness_native_reverse", results, input_output_aliases={0: 0, 1: 1})
    arguments = (gates, d_hidden, weight_hh, *start, *states, *d_final, *zh_n)
    d_zx, d_total, d_weight, d_bias, *rest = call(*arguments, **_attributes(threads, cell))
    return d_zx, d_weight, d_bias, tuple(rest[: len(start)]), None if probe is None else d_total


_native.defvjp(_forward, _backward)


def _like(array: Array, width: int | None = None) -> jax.ShapeDtypeStruct:
    shape = array.shape if width is None else (*array.shape[:-1], width)
    return jax.ShapeDtypeStruct(shape, array.dtype)  # type: ignore[no-untyped-call]


def _extra(cell: Cell, h: Array, zx: Array) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Return the results kept in addition to the gates: a GRU's recurrent product of n."""
    return (_like(zx, h.shape[-1]),) if harness_native.keeps_product(cell) else ()


def _attributes(threads: int, cell: Cell) -> dict[str, np.int64]:
    return {"cell": np.int64(harness_native.number(cell)), "threads": np.int64(threads)}


@cache
def _register() -> None:
    handlers = harness_native.xla_handlers()
    for name, handler in (("forward", handlers.forward), ("reverse", handlers.reverse)):
        capsule = jax.ffi.pycapsule(handler)  # type: ignore[no-untyped-call]
        jax.ffi.register_ffi_target(f"harness_native_{name}", capsule, platform="cpu")
