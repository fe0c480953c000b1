"""A batch on the device, and the loss of outputs on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from harness.contract import Batch, Model, PluginError

IGNORED = -100  # the class that torch's cross-entropy leaves out of the mean


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch as the network wants it.

    Attributes:
        inputs: (T, B) int64 token ids or (T, B, D) vectors.
        targets: (T*B,) int64 classes, ``IGNORED`` where the mask is False; or (T, B, K) values.
        weights: (T, B, 1) share of each position in the mean over positions and outputs; None for cross-entropy.
        carry: start from the carried state.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    carry: bool

    @property
    def size(self) -> int:
        """B."""
        return self.inputs.shape[1]

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the mean loss of ``outputs`` (T, B, K)."""
        if self.weights is None:
            return functional.cross_entropy(outputs.flatten(0, 1), self.targets, ignore_index=IGNORED)
        return ((outputs - self.targets).square() * self.weights).sum()


def device_batch(batch: Batch, model: Model, device: torch.device, dtype: torch.dtype) -> DeviceBatch:
    """Copy a batch; real values are cast to ``dtype``.

    Raises:
        PluginError: a token or class is outside its range.
    """
    if model.inputs.kind == "token":
        inputs = _ids("token", batch.inputs, model.inputs.size).to(device)
    else:
        inputs = torch.tensor(batch.inputs, dtype=dtype, device=device)
    mask = torch.tensor(batch.mask)
    if model.loss == "cross_entropy":
        targets = _ids("class", batch.targets, model.outputs).masked_fill(~mask, IGNORED).flatten()
        return DeviceBatch(inputs, targets.to(device), None, batch.carry)
    weights = mask.to(torch.float64)[:, :, None] / (mask.sum() * model.outputs)
    targets = torch.tensor(batch.targets, dtype=dtype, device=device)
    return DeviceBatch(inputs, targets, weights.to(device, dtype), batch.carry)


def _ids(kind: str, ids: NDArray[Any], size: int) -> Tensor:
    if ids.min() < 0 or ids.max() >= size:
        raise PluginError(f"invalid batch: {kind} ids must lie in 0..{size - 1}, found {ids.min()}..{ids.max()}")
    return torch.tensor(ids, dtype=torch.int64)
