"""Variant ``fused``: the hand-derived BPTT of any cell as one ``autograd.Function`` per layer.

The forward loop runs without a graph and keeps what ``step_gradient`` asks for. A cell is pointwise, so what its gradient
multiplies d loss / d state_t by is the same whatever that is: those factors are taken for many time steps at once, and
the reverse loop only multiplies. The weight's gradient is one product over all time steps, and d loss / d h_t costs
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from harness.contract import Cell
from harness_torch.ops import OPS

States = tuple[Tensor, ...]
BLOCK = 2**18  # elements of (time steps, B, G*H) whose factors are taken at once: few calls, yet they stay in the cache


def fused(
    cell: Cell, zx: Tensor, weight_hh: Tensor, bias_hh: Tensor, state: States, probe: Tensor | None
) -> tuple[Tensor, States]:
    """Run one layer over all time steps; arguments and result as ``harness_torch.loop.loop``.

    The gradient is cut at the initial state (truncated BPTT). The probe is not added, only differentiated for.
    """
    hidden, *final = cast("tuple[Tensor, ...]", _Recurrence.apply(cell, zx, weight_hh, bias_hh, probe, *state))  # type: ignore[no-untyped-call]
    return hidden, tuple(final)


class _Recurrence(torch.autograd.Function):
    """h (T, B, H) and the final state, each (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, zx: Tensor, weight_hh: Tensor, bias_hh: Tensor, _probe: Tensor | None, *state: Tensor
    ) -> tuple[Tensor, ...]:
        recurrent, zh, history = weight_hh.t(), torch.empty_like(zx), [state]
        for zx_t, zh_t in zip(zx.unbind(0), zh.unbind(0), strict=True):
            torch.addmm(bias_hh, state[0], recurrent, out=zh_t)
            state = cell.step(OPS, zx_t, zh_t, state)
            history.append(state)
        states = tuple(torch.stack(parts) for parts in zip(*history, strict=True))
        ctx.cell = cell
        ctx.save_for_backward(zx, weight_hh, zh, *states)
        final = tuple(part[-1].clone() for part in states)
        ctx.mark_non_differentiable(*final)
        return states[0][1:].clone(), *final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        zx, weight_hh, zh, *states = ctx.saved_tensors
        d_hidden, d_zx, d_zh = _reverse(ctx.cell, zx, weight_hh, zh, states, gradients[0])
        rows = d_zh.flatten(0, 1)
        d_weight = rows.t() @ states[0][:-1].flatten(0, 1)
        d_probe = d_hidden if ctx.needs_input_grad[4] else None
        return None, d_zx, d_weight, rows.sum(0), d_probe, *(None for _ in states)


@dataclass(frozen=True, eq=False)
class _Factors:
    """What d loss / d new_state[k] is multiplied by, unit for unit, in a block of n time steps.

    ``by_zx`` and ``by_zh`` are (n, B, G, H), the same object where the cell's gradients are; ``by_state`` holds, per
    state, (n, B, H) or the number 0.0.
    """

    by_zx: Tensor
    by_zh: Tensor
    by_state: tuple[Tensor | float, ...]


def _reverse(
    cell: Cell, zx: Tensor, weight_hh: Tensor, zh: Tensor, states: list[Tensor], d_output: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the total d_h (T, B, H), d_zx and d_zh (T, B, G*H) from the direct gradient ``d_output`` (T, B, H)."""
    d_states = [d_output.clone(), *(torch.zeros_like(part[1:]) for part in states[1:])]
    d_zh = torch.empty_like(zx).unflatten(-1, (len(cell.gates), -1))
    d_zx = torch.empty_like(d_zh)
    for steps in _blocks(len(zx), max(1, BLOCK // zx[0].numel())):
        around = [part[steps.start : steps.stop + 1] for part in states]
        factors = [_factors(cell, zx[steps], zh[steps], around, index) for index in range(len(states))]
        _retreat(steps, factors, weight_hh, d_states, d_zh)
        if all(factor.by_zx is factor.by_zh for factor in factors):
            d_zx[steps] = d_zh[steps]
        else:
            _combine([factor.by_zx for factor in factors], [d[steps] for d in d_states], d_zx[steps])
    return d_states[0], d_zx.flatten(2), d_zh.flatten(2)


def _blocks(steps: int, length: int) -> list[slice]:
    """Cut 0..steps into slices of ``length``, the last first."""
    return [slice(max(0, end - length), end) for end in range(steps, 0, -length)]


def _factors(cell: Cell, zx: Tensor, zh: Tensor, around: list[Tensor], index: int) -> _Factors:
    """Return the factors of new_state[index]; ``around`` holds the states before, in and after n steps, (n + 1, B, H)."""
    before, after = (tuple(part[cut].flatten(0, 1) for part in around) for cut in (slice(-1), slice(1, None)))
    unit = tuple(torch.full_like(part, float(k == index)) for k, part in enumerate(after))
    by_zx, by_zh, by_state = cell.step_gradient(OPS, zx.flatten(0, 1), zh.flatten(0, 1), before, after, unit)
    gates, blocks = (*zx.shape[:2], len(cell.gates), -1), (*zx.shape[:2], -1)
    gate_factors = by_zh.view(gates)
    return _Factors(
        gate_factors if by_zx is by_zh else by_zx.view(gates),
        gate_factors,
        tuple(part.view(blocks) if isinstance(part, Tensor) else part for part in by_state),
    )


def _retreat(steps: slice, factors: list[_Factors], weight_hh: Tensor, d_states: list[Tensor], d_zh: Tensor) -> None:
    """Fill ``d_zh`` (T, B, G, H) over ``steps``, adding to the totals ``d_states`` (T, B, H) of the step before each."""
    for t in range(steps.stop - 1, steps.start - 1, -1):
        now = t - steps.start
        totals = [d[t] for d in d_states]
        _combine([factor.by_zh[now] for factor in factors], totals, d_zh[t])
        if t == 0:
            return
        d_states[0][t - 1].addmm_(d_zh[t].flatten(1), weight_hh)
        for factor, total in zip(factors, totals, strict=True):
            for d_state, by_state in zip(d_states, factor.by_state, strict=True):
                if isinstance(by_state, Tensor):
                    d_state[t - 1].addcmul_(by_state[now], total)
                elif by_state:
                    d_state[t - 1].add_(total, alpha=by_state)


def _combine(factors: list[Tensor], totals: list[Tensor], out: Tensor) -> None:
    """Write the sum over states of factor (..., G, H) times total (..., H) into ``out``."""
    torch.mul(factors[0], totals[0].unsqueeze(-2), out=out)
    for factor, total in zip(factors[1:], totals[1:], strict=True):
        out.addcmul_(factor, total.unsqueeze(-2))
