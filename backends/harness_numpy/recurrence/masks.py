"""Dropout masks: one stream per layer, drawn in order of time, however time is cut."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.contract import Array, ArrayDtype, Snapshot

Position = Sequence[Mapping[str, Any]]  # of every layer's stream


class Masks:
    """Factors 0 or 1 / (1 - dropout) for what feeds each layer above the first."""

    def __init__(self, dropout: float, layers: int, seed: int, dtype: ArrayDtype) -> None:
        self._dropout, self._dtype = dropout, np.dtype(dtype).type
        self._streams = [np.random.default_rng([seed, layer]) for layer in range(layers)]

    def factors(self, layer: int, shape: tuple[int, ...]) -> Array | None:
        """Draw the next factors of ``layer``, time first; None if nothing is dropped."""
        if layer == 0 or self._dropout == 0:
            return None
        kept = self._streams[layer].random(shape, self._dtype) >= self._dropout
        return np.multiply(kept, 1 / (1 - self._dropout), dtype=self._dtype)

    def position(self) -> Position:
        """Return the states of the streams."""
        return [stream.bit_generator.state for stream in self._streams] if self._dropout else []

    def snapshot(self) -> Snapshot:
        """Return the position as bytes, because a stream's state has integers of 128 bits."""
        return {"masks": np.frombuffer(json.dumps(self.position()).encode(), np.uint8)}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a position."""
        self.rewind(json.loads(snapshot["masks"].tobytes()))

    def rewind(self, position: Position) -> None:
        """Go back to ``position``: the same masks follow again."""
        for stream, state in zip(self._streams, position, strict=False):
            stream.bit_generator.state = state
