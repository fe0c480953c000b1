"""A layer with its own reverse as one node of autograd; its loops have no graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.layer import LayerWeights, States


@dataclass(frozen=True, eq=False)
class Derivatives:
    """The results of the reverse loop of one layer: derivatives of the loss.

    Attributes:
        zx: (T, B, G*H).
        others: of each of ``LayerWeights.others``, by its name.
        hidden: (T, B, H), the total derivative d loss / d h_t.
        state: of the initial state, each (B, H).
    """

    zx: Tensor
    others: Mapping[str, Tensor]
    hidden: Tensor
    state: States


class Kernel(Protocol):
    """The two loops of one layer. ``backward`` belongs to the last ``forward``; see ``buffers``."""

    # "zx" (T, B, G*H) among them: filled before ``forward``, which may overwrite it.
    buffers: Buffers

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights in this kernel's form; autograd converts the gradients back."""

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Return h (T, B, H) and the final state, each (B, H).

        Args:
            others: those of the folded weights.
            state: the initial state, each (B, H).
        """

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Return all derivatives, from those of h (T, B, H) by outputs and of the final state."""


class KernelLayer:
    """One layer on a kernel. Its buffers serve one forward and backward at a time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __call__(
        self, values: Tensor, weights: LayerWeights, state: States, probe: Tensor | None
    ) -> tuple[Tensor, States]:
        """Run the layer over all time steps."""
        folded = self._kernel.fold(weights)
        names, others = tuple(folded.others), tuple(folded.others.values())
        inputs = (values, folded.weight_ih, folded.bias_ih, probe)
        outcome = _Node.apply(  # type: ignore[no-untyped-call]
            self._kernel, names, *inputs, *others, *state
        )
        hidden, *final = cast("States", outcome)
        return hidden, tuple(final)


class _Node(torch.autograd.Function):
    """h (T, B, H) and the final state; differentiable in values, weights, probe and first state."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        names: tuple[str, ...],
        values: Tensor,
        weight_ih: Tensor,
        bias_ih: Tensor,
        _probe: Tensor | None,
        *rest: Tensor,
    ) -> States:
        others, state = rest[: len(names)], rest[len(names) :]
        _input_product(kernel.buffers, values, weight_ih, bias_ih)
        hidden, final = kernel.forward(dict(zip(names, others, strict=True)), state)
        ctx.save_for_backward(values, weight_ih)
        ctx.kernel, ctx.names, ctx.hidden, ctx.state = kernel, names, hidden.detach(), state
        ctx.set_materialize_grads(value=False)
        return hidden, *final

    @staticmethod
    def backward(
        ctx: Any, d_hidden: Tensor | None, *d_final: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        values, weight_ih = ctx.saved_tensors
        d_end = tuple(
            torch.zeros_like(like) if gradient is None else gradient
            for gradient, like in zip(d_final, ctx.state, strict=True)
        )
        derivatives = ctx.kernel.backward(
            torch.zeros_like(ctx.hidden) if d_hidden is None else d_hidden, d_end
        )
        d_values = derivatives.zx @ weight_ih if ctx.needs_input_grad[2] else None
        d_probe = derivatives.hidden if ctx.needs_input_grad[5] else None
        d_inputs = _input_gradients(values, weight_ih, derivatives.zx)
        d_others = (derivatives.others[name] for name in ctx.names)
        return None, None, d_values, *d_inputs, d_probe, *d_others, *derivatives.state


def _input_product(buffers: Buffers, values: Tensor, weight_ih: Tensor, bias_ih: Tensor) -> None:
    """Write zx (T, B, G*H); for tokens a gather of biased columns of the weight."""
    zx = buffers.get("zx", (*values.shape[:2], len(weight_ih)), weight_ih)
    if values.is_floating_point():
        torch.addmm(bias_ih, values.flatten(0, 1), weight_ih.t(), out=zx.flatten(0, 1))
    else:
        rows = (weight_ih.t() + bias_ih).contiguous()  # strided rows take eight times as long
        torch.index_select(rows, 0, values.flatten(), out=zx.flatten(0, 1))


def _input_gradients(values: Tensor, weight_ih: Tensor, d_zx: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight_ih and bias_ih."""
    if values.is_floating_point():
        rows = d_zx.flatten(0, 1)
        return rows.t() @ values.flatten(0, 1), rows.sum(0)
    of_columns = torch.zeros(weight_ih.t().shape, dtype=d_zx.dtype, device=d_zx.device)
    of_columns.index_add_(0, values.flatten(), d_zx.flatten(0, 1))
    return of_columns.t(), of_columns.sum(0)
