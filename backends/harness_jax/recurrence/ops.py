"""The array operations of a cell, in JAX."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.contract import Ops


class JaxOps(Ops):
    """``harness.contract.Ops`` for JAX arrays of any leading shape."""

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x))."""
        return jax.nn.sigmoid(x)

    def tanh(self, x: Array) -> Array:
        """Return the hyperbolic tangent."""
        return jnp.tanh(x)

    def relu(self, x: Array) -> Array:
        """Return max(x, 0); unlike ``jnp.maximum``'s, its derivative at 0 is 0."""
        return jax.nn.relu(x)

    def exp(self, x: Array) -> Array:
        """Return e to the power x."""
        return jnp.exp(x)

    def log(self, x: Array) -> Array:
        """Return the natural logarithm."""
        return jnp.log(x)

    def sqrt(self, x: Array) -> Array:
        """Return the square root."""
        return jnp.sqrt(x)

    def softplus(self, x: Array) -> Array:
        """Return log(1 + exp(x)), without overflow; a small result keeps all its digits."""
        return jax.nn.relu(x) + jnp.log1p(jnp.exp(-jnp.abs(x)))

    def absolute(self, x: Array) -> Array:
        """Return the absolute value."""
        return jnp.abs(x)

    def maximum(self, a: Array, b: Array) -> Array:
        """Return the larger of two; of equal ones the second, with its derivative."""
        return jnp.where(a > b, a, b)

    def mean(self, x: Array) -> Array:
        """Return the mean over the last axis, (B, 1)."""
        return jnp.mean(x, axis=-1, keepdims=True)

    def positive(self, x: Array) -> Array:
        """Return 1 where x > 0 and 0 elsewhere."""
        return (x > 0).astype(x.dtype)

    def split(self, x: Array, parts: int) -> Sequence[Array]:
        """Cut the last axis into ``parts`` equal pieces."""
        return jnp.split(x, parts, axis=-1)

    def concatenate(self, pieces: Sequence[Array]) -> Array:
        """Join pieces along the last axis."""
        return jnp.concatenate(pieces, axis=-1)


def barred(array: Array) -> Array:
    """Return the array behind a barrier to XLA's fusion; it has no gradient in older versions."""
    same: Array = lax.optimization_barrier(array)  # type: ignore[no-untyped-call]
    return same


@jax.custom_vjp
def transposed(weight: Array) -> Array:
    """Return ``weight.T`` as a separate array.

    Without the barrier XLA folds the transposition into the product of every time step, up to three
    times slower.
    """
    return barred(weight.T)


transposed.defvjp(
    lambda weight: (transposed(weight), None), lambda _, d_transpose: (d_transpose.T,)
)


def filled(part: Array | float, like: Array) -> Array:
    """Return ``part`` in the shape and dtype of ``like``."""
    return jnp.broadcast_to(jnp.asarray(part, like.dtype), like.shape)


OPS = JaxOps()
