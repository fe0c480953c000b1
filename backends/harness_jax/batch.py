"""A batch on the device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jax import Array
from numpy.typing import NDArray

from harness.contract import Batch, Dtype, Model, PluginError
from harness_jax.batch_sharding import BatchSharding
from harness_jax.device import put


class Arrays(NamedTuple):
    """The arrays that a compiled function reads.

    Attributes:
        inputs: (T, B) int32 token ids or (T, B, D) vectors.
        targets: (T, B) int32 classes or (T, B, K) values.
        weights: (T, B) share of each position in the mean loss; 0 where the mask is False.
    """

    inputs: Array
    targets: Array
    weights: Array


class DeviceBatch(NamedTuple):
    """A batch: its arrays, and whether to start from the carried state."""

    arrays: Arrays
    carry: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(T, B); every shape needs its own compiled step."""
        steps, size = self.arrays.weights.shape
        return steps, size


def device_batch(batch: Batch, model: Model, sharding: BatchSharding, dtype: Dtype) -> DeviceBatch:
    """Copy a batch, to each device its share, and wait; real values are cast to ``dtype``.

    Call it inside ``harness_jax.device.settings``.

    Raises:
        PluginError: a token or class is outside its range; XLA would clamp it silently.
    """
    inputs, targets = batch.inputs, batch.targets
    if model.inputs.kind == "token":
        _check("token", inputs, model.inputs.size)
    if model.loss == "cross_entropy":
        _check("class", targets, model.outputs)
    device = sharding.of_batch(batch.size)
    arrays = Arrays(
        inputs=put(inputs, np.int32 if model.inputs.kind == "token" else dtype, device),
        targets=put(targets, np.int32 if model.loss == "cross_entropy" else dtype, device),
        weights=put(batch.mask / batch.mask.sum(), dtype, device),
    )
    for array in arrays:
        array.block_until_ready()  # otherwise a copy to a GPU may end inside a timed step
    return DeviceBatch(arrays, batch.carry)


def _check(kind: str, ids: NDArray[Any], size: int) -> None:
    if ids.min() < 0 or ids.max() >= size:
        raise PluginError(
            f"invalid batch: {kind} ids must lie in 0..{size - 1}, found {ids.min()}..{ids.max()}"
        )
