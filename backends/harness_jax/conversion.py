"""Conversion between the core's parameters and a library's weights, from ``Traced.weights`` alone.

If the library has one bias b for the core's b_ih + b_hh, both have the gradient of b. So the global
norm counts it twice, and an update of b is the sum of two equal updates. The *share* of a weight is
the number of the core's entries that it replaces.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from harness.contract import Parameters
from harness_jax.traced import Traced, Tree

Named = dict[str, Array]


class Conversion:
    """The linear map from the core's parameters to a library's weights, and back.

    Attributes:
        shares: for each weight, the share of each of its entries; one number if all agree.
    """

    def __init__(self, network: Traced) -> None:
        """Probe the map; call it inside ``harness_jax.device.settings``."""
        self._network, shapes = network, network.model.parameter_shapes()
        from_ones, from_zeros = (
            network.weights({name: jnp.full(shape, value) for name, shape in shapes.items()})
            for value in (1.0, 0.0)
        )
        self._parameters = jax.jit(self._moved)
        self.shares: Tree = jax.tree.map(_share, from_ones, from_zeros)

    def gradients(self, weights: Tree) -> Named:
        """Return d loss / d parameter by name from d loss / d weight: the map's VJP."""
        shapes, dtype = self._network.model.parameter_shapes(), jax.tree.leaves(weights)[0].dtype
        start = {name: jnp.zeros(shape, dtype) for name, shape in shapes.items()}
        _, pull = jax.vjp(self._network.weights, start)
        named: Named = pull(weights)[0]
        return named

    def parameters(self, weights: Tree, loaded: Parameters) -> Named:
        """Return the loaded parameters plus the moves of the weights, halved if two share one.

        ``loaded`` is what weight decay has left of them: it shrinks both by the same factor, while
        an update moves both by the same number.
        """
        named: Named = self._parameters(weights, loaded)
        return named

    def _moved(self, weights: Tree, loaded: Named) -> Named:
        start = self._network.weights(loaded)
        moved = jax.tree.map(
            lambda now, before, share: (now - before) / share, weights, start, self.shares
        )
        changes = self.gradients(moved)
        return {name: before + changes[name] for name, before in loaded.items()}


def _share(from_one: Array, from_zero: Array) -> Any:
    shares = np.abs(np.asarray(from_one) - np.asarray(from_zero))
    first = float(shares.flat[0])
    return first if (shares == first).all() else shares
