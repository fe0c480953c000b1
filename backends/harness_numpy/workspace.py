"""The buffers of one shape (T, B), allocated once and reused by every step; nothing of them is given away uncopied."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from harness.contract import Array, Dtype, Model, State
from harness_numpy.recurrence import MakeRecurrence


class Workspace:
    """The buffers for one shape (T, B). What is only needed backwards is made when first needed."""

    def __init__(self, model: Model, steps: int, size: int, dtype: Dtype, make: MakeRecurrence) -> None:
        self._shape, self._dtype = (model.layers, steps, size, model.hidden), dtype
        self.layers = [make(model.cell, steps, size, model.hidden, dtype) for _ in range(model.layers)]
        self.dropped: list[Array | None] = [None] * model.layers  # per layer, what dropout made of its inputs
        self.factors: list[Array | None] = [None] * model.layers  # per layer, 0 or 1 / (1 - dropout)

    @cached_property
    def d_hidden(self) -> Array:
        """(layers, T, B, H)."""
        return np.empty(self._shape, self._dtype)

    def hidden(self, layer: int) -> Array:
        """Return h of one layer at all steps, (T*B, H), a view."""
        return self.layers[layer].states[0][1:].reshape(-1, self._shape[-1])

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
        return tuple(
            np.stack(last) for last in zip(*([s[-1] for s in layer.states] for layer in self.layers), strict=True)
        )
