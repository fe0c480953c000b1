"""The buffers of one shape (T, B), allocated once and reused; only copies leave this backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, State
from harness_numpy.recurrence.layer import Recurrence


class Workspace:
    """The layers for one shape (T, B). Buffers for ``backward`` are made when first needed."""

    def __init__(self, layers: Sequence[Recurrence]) -> None:
        self.layers = layers
        # What feeds the first layer: tokens (T*B,), or vectors (T*B, D or E).
        self.encoded: NDArray[Any] = np.empty(0)
        # Per layer: its inputs after dropout, and the factors 0 or 1 / (1 - dropout).
        self.dropped: list[Array | None] = [None] * len(layers)
        self.factors: list[Array | None] = [None] * len(layers)
        # Made once: each takes as long as a small product.
        self._views: dict[tuple[str, int], Array] = {}

    @cached_property
    def d_hidden(self) -> Array:
        """(layers, T, B, H)."""
        shape = self.layers[0].shape
        return np.empty((len(self.layers), shape.steps, shape.batch, shape.hidden), shape.dtype)

    def hidden(self, layer: int) -> Array:
        """Return h of one layer at all steps, (T*B, H), a view."""
        return self._rows("hidden", layer, lambda: self.layers[layer].states[0][1:])

    def zx(self, layer: int) -> Array:
        """Return zx of one layer, (T*B, G*H), a view."""
        return self._rows("zx", layer, lambda: self.layers[layer].zx)

    def d_rows(self, layer: int) -> Array:
        """Return ``d_hidden`` of one layer, (T*B, H), a view."""
        return self._rows("d_hidden", layer, lambda: self.d_hidden[layer])

    def d_hidden_of(self, layer: int) -> Array:
        """Return ``d_hidden`` of one layer, (T, B, H), a view."""
        return self._view("d_hidden_of", layer, lambda: self.d_hidden[layer])

    def outputs(self, count: int) -> Array:
        """Return a buffer for outputs, (T*B, K)."""
        return self._view(
            "outputs", count, lambda: np.empty((len(self.zx(0)), count), self.layers[0].shape.dtype)
        )

    def _rows(self, name: str, layer: int, whole: Callable[[], Array]) -> Array:
        return self._view(name, layer, lambda: whole().reshape(-1, whole().shape[-1]))

    def _view(self, name: str, index: int, make: Callable[[], Array]) -> Array:
        if (name, index) not in self._views:
            self._views[name, index] = make()
        return self._views[name, index]

    def inputs_of(self, layer: int) -> NDArray[Any]:
        """Return what feeds a layer: ``encoded``, or h of the layer below (T*B, H)."""
        if layer == 0:
            return self.encoded
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
    """Return copies, each (layers, B, H), of states given layer by layer, each (B, H)."""
    return tuple(np.array(parts) for parts in zip(*by_layer, strict=True))
