"""The input product of tokens: rows of a table, and the sum that is its gradient."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from harness_jax.recurrence.ops import barred


@jax.custom_vjp
def embedded(table: Array, tokens: Array) -> Array:
    """Return rows (T, B, N) of ``table`` (V, N) by ``tokens`` (T, B).

    Without the barrier XLA computes the table again for every element that it gathers, fifteen
    times slower. The gradient is a scatter: measured faster than a product with one-hot vectors and
    than a sum over sorted tokens.
    """
    return barred(table)[tokens]


def _forward(table: Array, tokens: Array) -> tuple[Array, tuple[Array, Array]]:
    return embedded(table, tokens), (table, tokens)


def _backward(kept: tuple[Array, Array], d_rows: Array) -> tuple[Array, Any]:
    table, tokens = kept
    d_table = jnp.zeros_like(table).at[tokens.reshape(-1)].add(d_rows.reshape(-1, table.shape[1]))
    return barred(d_table), np.zeros(tokens.shape, jax.dtypes.float0)


embedded.defvjp(_forward, _backward)
