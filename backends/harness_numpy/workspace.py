"""The buffers of one shape (T, B), allocated once and reused by every step; nothing of them is given away uncopied."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from harness.contract import Array, State
from harness_numpy.recurrence import Recurrence


class Workspace:
    """The layers for one shape (T, B). What is only needed backwards is made when first needed."""

    def __init__(self, layers: Sequence[Recurrence]) -> None:
        self.layers = layers
        self.dropped: list[Array | None] = [None] * len(layers)  # per layer, what dropout made of its inputs
        self.factors: list[Array | None] = [None] * len(layers)  # per layer, 0 or 1 / (1 - dropout)

    @cached_property
    def d_hidden(self) -> Array:
        """(layers, T, B, H)."""
        shape = self.layers[0].shape
        return np.empty((len(self.layers), shape.steps, shape.batch, shape.hidden), shape.dtype)

    def hidden(self, layer: int) -> Array:
        """Return h of one layer at all steps, (T*B, H), a view."""
        h = self.layers[layer].states[0]
        return h[1:].reshape(-1, h.shape[-1])

    def inputs_above(self, layer: int) -> Array:
        """Return what feeds ``layer`` (at least 1), (T*B, H)."""
        dropped = self.dropped[layer]
        return self.hidden(layer - 1) if dropped is None else dropped

    def start(self, state: State | None) -> None:
        """Copy ``state``, each (layers, B, H), in before the first step; None means zeros."""
        for index, layer in enumerate(self.layers):
            for name, target in enumerate(layer.states):
                target[0] = 0.0 if state is None else state[name][index]

    def final(self) -> State:
        """Return a copy of the state after the last step, each (layers, B, H)."""
        return stacked([[s[-1] for s in layer.states] for layer in self.layers])


def stacked(by_layer: Sequence[Sequence[Array]]) -> State:
    """Return copies, each (layers, B, H), of what is given layer by layer, each (B, H)."""
    return tuple(np.array(parts) for parts in zip(*by_layer, strict=True))
