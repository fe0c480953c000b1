"""A chain of matrix products in PyTorch: the upper limit of a recurrence's speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from harness.contract import Array, Execution
from harness_torch.recurrence.ops import DTYPES, set_precision


def product_chain(
    start: Array, matrices: Sequence[Array], execution: Execution
) -> Callable[[int], Array]:
    """Return ``run(rounds)``: x, at first ``start`` (B, K), times each matrix in turn, buffered."""
    set_precision(execution.dtype)
    device, dtype = torch.device(execution.device), DTYPES[execution.dtype]
    x = torch.tensor(start, dtype=dtype, device=device)
    weights = [torch.tensor(matrix, dtype=dtype, device=device) for matrix in matrices]
    buffers = [
        torch.empty((len(x), weight.shape[1]), dtype=dtype, device=device) for weight in weights
    ]
    spare = torch.empty_like(x)  # one square matrix alone must not overwrite its own input

    def run(rounds: int) -> Array:
        current = x
        with torch.inference_mode():
            for number in range(rounds):
                for weight, buffer in zip(weights, buffers, strict=True):
                    into = spare if len(weights) == 1 and number % 2 else buffer
                    current = torch.mm(current, weight, out=into)
        if dtype == torch.bfloat16:
            current = current.float()
        last: Array = current.cpu().numpy().copy()
        return last

    return run
