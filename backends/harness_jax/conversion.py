"""Between the core's parameters and a library's weights, derived from ``Traced.weights`` alone.

Where the library keeps one bias b for the core's b_ih + b_hh, both have the gradient of b, so the
global norm counts it twice, and an update of b is the sum of two equal updates. For how many
entries a weight stands is its *share*.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import Array

from harness.contract import Parameters
from harness_jax.traced import Traced, Tree

Named = dict[str, Array]


class Conversion:
    """The linear map from the core's parameters to a library's weights, and back.

    Attributes:
        shares: for each weight, for how many of the core's entries each of its own stands: a number
            if all agree.
    """

    def __init__(self, network: Traced) -> None:
        """Probe the map; to be called inside ``harness_jax.device.settings``."""
        self._network = network
        from_ones, from_zeros = (
            network.weights(
                {
                    name: _full(shape, value)
                    for name, shape in network.model.parameter_shapes().items()
                }
            )
            for value in (1.0, 0.0)
        )
        self._parameters = jax.jit(self._moved)
        self.shares: Tree = jax.tree.map(_share, from_ones, from_zeros)

    def gradients(self, weights: Tree) -> Named:
        """Return d loss / d parameter by name from d loss / d weight: the map's VJP."""
        start = {
            name: _full(shape, 0.0)
            for name, shape in self._network.model.parameter_shapes().items()
        }
        dtype = jax.tree.leaves(weights)[0].dtype
        _, pull = jax.vjp(
            self._network.weights, {name: array.astype(dtype) for name, array in start.items()}
        )
        named: Named = pull(weights)[0]
        return named

    def parameters(self, weights: Tree, loaded: Parameters) -> Named:
        """Return the loaded parameters plus the moves of the weights, halved if two share one."""
        named: Named = self._parameters(weights, loaded)
        return named

    def _moved(self, weights: Tree, loaded: Named) -> Named:
        start = self._network.weights(loaded)
        moved = jax.tree.map(
            lambda now, before, share: (now - before) / share, weights, start, self.shares
        )
        changes = self.gradients(moved)
        return {name: before + changes[name] for name, before in loaded.items()}


def _full(shape: tuple[int, ...], value: float) -> Any:
    return jax.numpy.full(shape, value)


def _share(from_one: Array, from_zero: Array) -> Any:
    shares = np.abs(np.asarray(from_one) - np.asarray(from_zero))
    first = float(shares.flat[0])
    return first if (shares == first).all() else shares
