"""The input product of tokens: rows of a table, and the sum that is its gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def embedded(table: Array, tokens: Array) -> Array:
    """Return (T, B, N) rows of ``table`` (V, N) by ``tokens`` (T, B)."""
    return table[tokens]
