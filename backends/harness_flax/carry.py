"""Flax's carry and the core's state: (c, h) for an LSTM, h for other cells; the probe of h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from harness_jax.traced import States

Cell = Callable[[Any, Array], tuple[Any, Array]]


def carry_of(state: States) -> Any:
    """Return Flax's carry."""
    return state[0] if len(state) == 1 else tuple(reversed(state))


def state_of(carry: Any) -> States:
    """Return the core's state: the inverse of ``carry_of``."""
    return tuple(reversed(carry)) if isinstance(carry, tuple) else (carry,)


def with_probe(values: Array, probe: Array | None) -> Array:
    """Return the inputs of ``probed``: values and probe joined, since an RNN scans one array."""
    return values if probe is None else jnp.concatenate([values, probe], -1)


def probed(cell: Cell, carry: Any, inputs: Array) -> tuple[Any, Array]:
    """Run the library's cell on all but the last H inputs, and add those to its h."""
    hidden = state_of(carry)[0].shape[-1]
    h, *others = state_of(cell(carry, inputs[..., :-hidden])[0])
    h += inputs[..., -hidden:]
    return carry_of((h, *others)), h
