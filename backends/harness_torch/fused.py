"""Variant ``fused``: the hand-derived BPTT of any cell as one ``autograd.Function`` per layer.

The forward loop runs without a graph and keeps what ``step_gradient`` asks for; the reverse loop gives d_zx and d_zh,
from which the weight's gradient is one product over all time steps, and d loss / d h_t at no cost.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from harness.contract import Cell
from harness_torch.ops import OPS

States = tuple[Tensor, ...]


def fused(
    cell: Cell, zx: Tensor, weight_hh: Tensor, bias_hh: Tensor, state: States, probe: Tensor | None
) -> tuple[Tensor, States]:
    """Run one layer over all time steps; arguments and result as ``harness_torch.loop.loop``."""
    hidden, *final = cast("tuple[Tensor, ...]", _Recurrence.apply(cell, zx, weight_hh, bias_hh, probe, *state))  # type: ignore[no-untyped-call]
    return hidden, tuple(final)


class _Recurrence(torch.autograd.Function):
    """h (T, B, H) and the final state; the gradient is cut at the initial state (truncated BPTT)."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, zx: Tensor, weight_hh: Tensor, bias_hh: Tensor, _probe: Tensor | None, *state: Tensor
    ) -> tuple[Tensor, ...]:
        recurrent = weight_hh.t()
        states, zh = [state], []
        for zx_t in zx.unbind(0):
            zh.append(torch.addmm(bias_hh, state[0], recurrent))
            state = cell.step(OPS, zx_t, zh[-1], state)
            states.append(state)
        hidden = torch.stack([state[0] for state in states[1:]])
        ctx.save_for_backward(zx, weight_hh)
        ctx.cell, ctx.zh, ctx.states = cell, zh, states
        final = tuple(part.clone() for part in state)
        ctx.mark_non_differentiable(*final)
        return hidden, *final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        zx, weight_hh = ctx.saved_tensors
        d_hidden, d_zx, d_zh = _reverse(ctx.cell, zx, weight_hh, ctx.zh, ctx.states, gradients[0])
        d_zh = d_zh.flatten(0, 1)
        h_before = torch.stack([state[0] for state in ctx.states[:-1]]).flatten(0, 1)
        d_probe = d_hidden if ctx.needs_input_grad[4] else None
        return None, d_zx, d_zh.t() @ h_before, d_zh.sum(0), d_probe, *(None for _ in ctx.states[0])


def _reverse(
    cell: Cell, zx: Tensor, weight_hh: Tensor, zh: list[Tensor], states: list[States], d_output: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the total d_h (T, B, H), d_zx and d_zh (T, B, G*H) from the direct gradient ``d_output`` (T, B, H)."""
    d_hidden, d_zx, d_zh = [], [], []
    zx_by_step, d_output_by_step = zx.unbind(0), d_output.unbind(0)
    d_state = tuple(torch.zeros_like(part) for part in states[0])
    for t in reversed(range(len(zh))):
        d_h = d_state[0] + d_output_by_step[t]
        d_zx_t, d_zh_t, parts = cell.step_gradient(
            OPS, zx_by_step[t], zh[t], states[t], states[t + 1], (d_h, *d_state[1:])
        )
        d_hidden.append(d_h)
        d_zx.append(d_zx_t)
        d_zh.append(d_zh_t)
        d_h = torch.addmm(parts[0], d_zh_t, weight_hh) if isinstance(parts[0], Tensor) else d_zh_t @ weight_hh
        d_state = (d_h, *(part if isinstance(part, Tensor) else torch.zeros_like(d_h) for part in parts[1:]))
    stacked = _stack(d_zx)
    shared = all(a is b for a, b in zip(d_zx, d_zh, strict=True))
    return _stack(d_hidden), stacked, stacked if shared else _stack(d_zh)


def _stack(backwards: list[Tensor]) -> Tensor:
    """Stack what was collected from the last time step to the first."""
    return torch.stack(backwards[::-1])
