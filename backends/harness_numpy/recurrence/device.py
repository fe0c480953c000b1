"""A batch as the time loop reads it: flat rows, the trainer's dtype, only the scored targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Dtype, Model, PluginError


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch with time and sequences in one axis of N = T*B rows.

    Attributes:
        steps: T.
        size: B.
        inputs: (N,) token ids or (N, D) vectors.
        targets: (n,) classes or (n, K) values of the scored rows only.
        rows: (n,) the scored rows, or None if all are scored.
        carry: start from the carried state.
        scored: the rows that the mean loss is taken over: n, also in a chunk of time steps cut from
            a batch.
    """

    steps: int
    size: int
    inputs: NDArray[Any]
    targets: NDArray[Any]
    rows: NDArray[np.intp] | None
    carry: bool
    scored: int

    def chunks(self, steps: int | None) -> list[DeviceBatch]:
        """Cut time into chunks of ``steps`` (None: one), the last shorter. Only indices are new."""
        if steps is None or steps >= self.steps:
            return [self]
        return [
            self._chunk(start, min(start + steps, self.steps))
            for start in range(0, self.steps, steps)
        ]

    def _chunk(self, start: int, stop: int) -> DeviceBatch:
        first, last = start * self.size, stop * self.size
        rows, scored = None, slice(first, last)
        if self.rows is not None:
            scored = slice(*np.searchsorted(self.rows, (first, last)))
            rows = self.rows[scored] - first
        inputs, targets = self.inputs[first:last], self.targets[scored]
        return replace(self, steps=stop - start, inputs=inputs, targets=targets, rows=rows)


def device_batch(batch: Batch, model: Model, dtype: Dtype) -> DeviceBatch:
    """Copy a batch; real values are cast to ``dtype``.

    Raises:
        PluginError: a token or class is outside its range.
    """
    steps, size = batch.mask.shape
    rows = np.flatnonzero(batch.mask)
    inputs = batch.inputs.reshape(steps * size, *batch.inputs.shape[2:])
    targets = batch.targets.reshape(steps * size, *batch.targets.shape[2:])[rows]
    tokens, classes = model.inputs.kind == "token", model.loss == "cross_entropy"
    return DeviceBatch(
        steps=steps,
        size=size,
        inputs=_ids("token", inputs, model.inputs.size) if tokens else _values(inputs, dtype),
        targets=_ids("class", targets, model.outputs) if classes else _values(targets, dtype),
        rows=None if len(rows) == steps * size else rows,
        carry=batch.carry,
        scored=len(rows),
    )


def _values(values: NDArray[Any], dtype: Dtype) -> Array:
    """Return a copy in C order: the kernel reads addresses."""
    return values.astype(dtype, order="C")


def _ids(kind: str, ids: NDArray[Any], size: int) -> NDArray[np.intp]:
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        raise PluginError(
            f"invalid batch: {kind} ids must lie in 0..{size - 1}, found {ids.min()}..{ids.max()}"
        )
    return ids.astype(np.intp)
