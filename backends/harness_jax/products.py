"""A chain of matrix products in JAX: the upper limit of a recurrence's speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array as Tensor
from jax import lax

from harness.contract import Array, Execution, array_dtype
from harness_jax.device import STATE_DTYPES, find_device, put, settings


def product_chain(
    start: Array, matrices: Sequence[Array], execution: Execution
) -> Callable[[int], Array]:
    """Return ``run(rounds)``: x, at first ``start`` (B, K), times each matrix in turn, compiled."""
    device, dtype = find_device(execution.device), execution.dtype
    numbers = STATE_DTYPES[dtype]

    def chain(rounds: Tensor, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        def one_round(_: Tensor, current: Tensor) -> Tensor:
            for weight in weights:
                current = current @ weight
            return current

        last: Tensor = lax.fori_loop(0, rounds, one_round, x)
        return last

    with settings(device, dtype):
        x = put(start, numbers, device)
        weights = [put(matrix, numbers, device) for matrix in matrices]
        compiled = jax.jit(chain).lower(put(0, np.int32, device), x, weights).compile()

    def run(rounds: int) -> Array:
        with settings(device, dtype):
            last = compiled(put(rounds, np.int32, device), x, weights)
            array: Array = np.array(last, array_dtype(dtype))
        return array

    return run
