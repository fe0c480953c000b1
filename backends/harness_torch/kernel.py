"""What a hand-derived layer is to autograd: one node, whose forward and backward loops run without a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

States = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Derivatives:
    """What the reverse loop of one layer gives.

    Attributes:
        zx: (T, B, G*H).
        weight_hh: (G*H, H), or None for a cell that is not recurrent.
        bias_hh: (G*H,), or None.
        hidden: (T, B, H), the total derivative d loss / d h_t.
        state: of the initial state, each (B, H).
    """

    zx: Tensor
    weight_hh: Tensor | None
    bias_hh: Tensor | None
    hidden: Tensor
    state: States


class Kernel(Protocol):
    """The two loops of one layer. ``backward`` belongs to the last ``forward``, whose results the kernel keeps."""

    def forward(
        self, zx: Tensor, weight_hh: Tensor | None, bias_hh: Tensor | None, state: States
    ) -> tuple[Tensor, States]:
        """Return h (T, B, H) and the final state, each (B, H); may overwrite ``zx`` (T, B, G*H)."""

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Return all derivatives from those of h (T, B, H), through the outputs alone, and of the final state."""


def run_kernel(
    kernel: Kernel,
    zx: Tensor,
    weight_hh: Tensor | None,
    bias_hh: Tensor | None,
    state: States,
    probe: Tensor | None,
) -> tuple[Tensor, States]:
    """Run one layer under autograd; arguments and result as ``harness_torch.loop.loop``, but ``zx`` may be lost."""
    hidden, *final = cast("States", _Node.apply(kernel, zx, weight_hh, bias_hh, probe, *state))  # type: ignore[no-untyped-call]
    return hidden, tuple(final)


class _Node(torch.autograd.Function):
    """h (T, B, H) and the final state, differentiable in the weights, zx, the initial state and the probe."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        zx: Tensor,
        weight_hh: Tensor | None,
        bias_hh: Tensor | None,
        _probe: Tensor | None,
        *state: Tensor,
    ) -> States:
        hidden, final = kernel.forward(zx, weight_hh, bias_hh, state)
        ctx.kernel, ctx.like_hidden, ctx.like_state = kernel, hidden.detach(), state
        ctx.set_materialize_grads(value=False)
        return hidden, *final

    @staticmethod
    def backward(ctx: Any, d_hidden: Tensor | None, *d_final: Tensor | None) -> tuple[Tensor | None, ...]:
        d_hidden = torch.zeros_like(ctx.like_hidden) if d_hidden is None else d_hidden
        d_end = tuple(
            torch.zeros_like(like) if given is None else given
            for given, like in zip(d_final, ctx.like_state, strict=True)
        )
        found = ctx.kernel.backward(d_hidden, d_end)
        d_probe = found.hidden if ctx.needs_input_grad[4] else None
        return None, found.zx, found.weight_hh, found.bias_hh, d_probe, *found.state
