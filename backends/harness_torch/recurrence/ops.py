"""The array operations of a cell, and the contract's dtypes, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Dtype, Ops

# Of products and activations, including the carried state. ``array_dtype`` gives the dtype of
# weights, optimizer and loss.
DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "tf32": torch.float32,
}


def set_precision(dtype: Dtype) -> None:
    """Set float32 products exact to float32 or, for ``tf32``, to TF32 if the device has it."""
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = dtype == "tf32"


class TorchOps(Ops):
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

    def log(self, x: Tensor) -> Tensor:
        """Return the natural logarithm."""
        return torch.log(x)

    def sqrt(self, x: Tensor) -> Tensor:
        """Return the square root."""
        return torch.sqrt(x)

    def softplus(self, x: Tensor) -> Tensor:
        """Return log(1 + exp(x)), without overflow; a small result keeps all its digits."""
        return torch.relu(x) + torch.log1p(torch.exp(-torch.abs(x)))

    def absolute(self, x: Tensor) -> Tensor:
        """Return the absolute value."""
        return torch.abs(x)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the larger of two; of equal ones the second, with its derivative."""
        return torch.where(a > b, a, b)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the last axis, (B, 1)."""
        return x.mean(dim=-1, keepdim=True)

    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0 and 0 elsewhere."""
        return (x > 0).to(x.dtype)

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Return ``parts`` equal views along the last axis."""
        return x.chunk(parts, dim=-1)

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis."""
        return torch.cat(tuple(pieces), dim=-1)


class LayerOps(TorchOps):
    """The operations of one layer: its products too.

    Args:
        weights: name without the layer -> weight, such as ``weight_hh``.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def product(self, name: str, operand: Tensor) -> Tensor:
        """Return operand @ weight.T, plus the bias if there is one."""
        return linear(operand, self._weights[f"weight_{name}"], self._weights.get(f"bias_{name}"))


OPS = TorchOps()
