"""The array operations of a cell, in PyTorch, and the dtypes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TorchOps:
    """``harness.contract.Ops`` for tensors of any leading shape."""

    def sigmoid(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""
        return torch.sigmoid(x)

    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""
        return torch.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        """Return max(x, 0); autograd takes its derivative at 0 as 0."""
        return torch.relu(x)

    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power x."""
        return torch.exp(x)

    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0 and 0 elsewhere."""
        return (x > 0).to(x.dtype)

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Return ``parts`` equal views along the last axis."""
        return x.chunk(parts, dim=-1)

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis."""
        return torch.cat(tuple(pieces), dim=-1)


OPS = TorchOps()
