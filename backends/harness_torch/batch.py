"""A batch on the device, and the loss of outputs on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from harness.contract import Batch, Loss, Model, PluginError

IGNORED = -100  # the class that torch's cross-entropy leaves out of the mean
LARGE = 2**20  # logits, from which memory counts for more than 70 us of Python per step


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch as the network reads it, or a chunk of its time steps.

    Attributes:
        inputs: (T, B) int64 token ids or (T, B, D) vectors.
        targets: (T, B) int64 classes, ``IGNORED`` where the mask is False; or (T, B, K) values.
        weights: (T, B, 1) share of each position in the mean over positions and outputs; None for
            cross-entropy.
        counted: (), the number of positions whose loss counts, in the whole batch (this may be a
            share of it).
        carry: start from the carried state.
        loss_name: which loss.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    counted: Tensor
    carry: bool
    loss_name: Loss

    @property
    def time_steps(self) -> int:
        """T."""
        return self.inputs.shape[0]

    @property
    def size(self) -> int:
        """B."""
        return self.inputs.shape[1]

    def split(self, time_steps: int) -> list[DeviceBatch]:
        """Return chunks of ``time_steps``, the last shorter; their losses add up to the batch's."""
        count = -(-self.time_steps // time_steps)
        weights = [None] * count if self.weights is None else torch.split(self.weights, time_steps)
        parts = zip(
            torch.split(self.inputs, time_steps),
            torch.split(self.targets, time_steps),
            weights,
            strict=True,
        )
        return [
            replace(self, inputs=inputs, targets=targets, weights=share)
            for inputs, targets, share in parts
        ]

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the share of ``outputs`` (T, B, K) in the mean loss of the whole batch."""
        if self.weights is None:
            logits, classes = outputs.flatten(0, 1), self.targets.flatten()
            if logits.numel() < LARGE:
                total = functional.cross_entropy(
                    logits, classes, ignore_index=IGNORED, reduction="sum"
                )
            else:
                total = _CrossEntropy.apply(logits, classes)  # type: ignore[no-untyped-call]
            return total / self.counted
        if self.loss_name == "binary_cross_entropy":
            losses = functional.binary_cross_entropy_with_logits(
                outputs, self.targets, reduction="none"
            )
            return (losses * self.weights).sum()
        return ((outputs - self.targets).square() * self.weights).sum()


class _CrossEntropy(torch.autograd.Function):
    """The sum of cross-entropies of (N, K) outputs; the gradient takes the place of log p.

    ``functional.cross_entropy`` holds three arrays of this size at once, which counts for a
    vocabulary of words.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, targets: Tensor) -> Tensor:
        ctx.log_p, ctx.targets = outputs.log_softmax(-1), targets
        return functional.nll_loss(ctx.log_p, targets, ignore_index=IGNORED, reduction="sum")

    @staticmethod
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor, None]:
        counts = (ctx.targets != IGNORED).to(d_total.dtype)[:, None]
        gradient = ctx.log_p.exp_()
        gradient.scatter_add_(1, ctx.targets.clamp_min(0)[:, None], -counts)
        return gradient.mul_(counts * d_total), None


def device_batch(
    batch: Batch, model: Model, device: torch.device, dtype: torch.dtype, counted: int | None = None
) -> DeviceBatch:
    """Copy a batch; real values are cast to ``dtype``.

    Args:
        batch: all sequences, or a share of them.
        model: says what inputs and targets are.
        device: the target.
        dtype: of real values.
        counted: how many positions count in all shares together; None: this is the whole batch.

    Raises:
        PluginError: a token or class is outside its range.
    """
    if model.inputs.kind == "token":
        inputs = _ids("token", batch.inputs, model.inputs.size).to(device)
    else:
        inputs = torch.tensor(batch.inputs, dtype=dtype, device=device)
    mask = torch.tensor(batch.mask)
    total = int(mask.sum()) if counted is None else counted
    in_all = torch.tensor(total, dtype=dtype, device=device)
    if model.loss == "cross_entropy":
        targets = _ids("class", batch.targets, model.outputs).masked_fill(~mask, IGNORED)
        return DeviceBatch(inputs, targets.to(device), None, in_all, batch.carry, model.loss)
    weights = mask.to(torch.float64)[:, :, None] / (total * model.outputs)
    targets = torch.tensor(batch.targets, dtype=dtype, device=device)
    weights = weights.to(device, dtype)
    return DeviceBatch(inputs, targets, weights, in_all, batch.carry, model.loss)


def _ids(kind: str, ids: NDArray[Any], size: int) -> Tensor:
    if ids.min() < 0 or ids.max() >= size:
        raise PluginError(
            f"invalid batch: {kind} ids must lie in 0..{size - 1}, found {ids.min()}..{ids.max()}"
        )
    return torch.tensor(ids, dtype=torch.int64)
