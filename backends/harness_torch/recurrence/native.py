"""Variant ``native``: the C kernel as one ``autograd.Function`` per layer, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

import harness_native
from harness.contract import Cell
from harness_torch.recurrence.layer import ProductLayer, States


def native_layer(cell: Cell) -> ProductLayer:
    """Return a layer of this variant."""
    return ProductLayer(cell, native)


def native(
    cell: Cell,
    zx: Tensor,
    others: Mapping[str, Tensor],
    state: States,
    probe: Tensor | None,
) -> tuple[Tensor, States]:
    """Run one layer over all time steps; signature as ``harness_torch.recurrence.loop.loop``.

    Differentiable in the initial and the final state. The probe is not added; it only receives the
    gradient d loss / d h_t. Every cell of the kernel is recurrent.
    """
    hidden, *final = cast(
        "tuple[Tensor, ...]",
        _Recurrence.apply(  # type: ignore[no-untyped-call]
            cell, zx, others["weight_hh"], others["bias_hh"], probe, *state
        ),
    )
    return hidden, tuple(final)


class _Recurrence(torch.autograd.Function):
    """h (T, B, H) and the final state. The reverse overwrites the gates: it can run once."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        zx: Tensor,
        weight_hh: Tensor,
        bias_hh: Tensor,
        _probe: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        buffers = _Buffers(cell, zx.contiguous(), state)
        buffers.forward(weight_hh.contiguous(), bias_hh.contiguous())
        ctx.buffers = buffers
        ctx.save_for_backward(weight_hh)
        ctx.set_materialize_grads(False)
        return buffers.states[0][1:], *(states[-1].clone() for states in buffers.states)

    @staticmethod
    def backward(
        ctx: Any, d_hidden: Tensor | None, *d_final: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        (weight_hh,), buffers = ctx.saved_tensors, ctx.buffers
        if buffers is None:
            raise RuntimeError(
                "the gradient of torch:native was taken already: run it forward again"
            )
        ctx.buffers = None
        d_total = torch.empty_like(buffers.hidden) if ctx.needs_input_grad[4] else None
        d_state = [
            torch.empty_like(buffers.hidden[0]) if any(ctx.needs_input_grad[5:]) else None
            for _ in d_final
        ]
        d_zx, d_weight, d_bias = buffers.reverse(
            weight_hh.contiguous(), d_hidden, d_final, d_total, d_state
        )
        return None, d_zx, d_weight, d_bias, d_total, *d_state


class _Buffers:
    """The arrays of one call, which the kernel fills forwards and reads backwards.

    Attributes:
        states: (T + 1, B, H) per state of the cell; entry 0 is the initial state.
    """

    def __init__(self, cell: Cell, zx: Tensor, state: States) -> None:
        self._kernel, gru = harness_native.library(), harness_native.keeps_product(cell)
        steps, (batch, hidden) = len(zx), state[0].shape
        self.states = [part.new_empty((steps + 1, batch, hidden)) for part in state]
        self._zx, self._gates = zx, torch.empty_like(zx)
        self._zh_n = torch.empty_like(self.hidden) if gru else self._gates
        self._d_zh = torch.empty_like(zx) if gru else self._gates
        self._layer = harness_native.layer(
            cell,
            (steps, batch, hidden),
            double=zx.dtype == torch.float64,
            threads=torch.get_num_threads(),
        )
        for index, (states, start) in enumerate(zip(self.states, state, strict=True)):
            states[0] = start
            self._layer.initial[index] = states.data_ptr()
            self._layer.states[index] = states[1:].data_ptr()

    @property
    def hidden(self) -> Tensor:
        """The states h, (T, B, H)."""
        return self.states[0][1:]

    def forward(self, weight_hh: Tensor, bias_hh: Tensor) -> None:
        """Fill the states."""
        layer = self._layer
        layer.weight, layer.bias = weight_hh.data_ptr(), bias_hh.data_ptr()
        layer.zx, layer.gates = self._zx.data_ptr(), self._gates.data_ptr()
        layer.zh_n = self._zh_n.data_ptr()
        self._kernel.forward(layer)
        del self._zx

    def reverse(
        self,
        weight_hh: Tensor,
        d_hidden: Tensor | None,
        d_final: tuple[Tensor | None, ...],
        d_total: Tensor | None,
        d_state: list[Tensor | None],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of zx, weight_hh and bias_hh; fill ``d_total`` and ``d_state``."""
        layer = self._layer
        direct = torch.zeros_like(self.hidden) if d_hidden is None else d_hidden.contiguous()
        final = [None if part is None else part.contiguous() for part in d_final]
        layer.weight, layer.d_direct = weight_hh.data_ptr(), direct.data_ptr()
        layer.d_total = _address(d_total)
        layer.d_zx, layer.d_zh = self._gates.data_ptr(), self._d_zh.data_ptr()
        for index, (d_last, d_first) in enumerate(zip(final, d_state, strict=True)):
            layer.d_final[index], layer.d_initial[index] = _address(d_last), _address(d_first)
        d_weight, d_bias = torch.empty_like(weight_hh), weight_hh.new_empty(len(weight_hh))
        layer.d_weight, layer.d_bias = d_weight.data_ptr(), d_bias.data_ptr()
        self._kernel.reverse(layer)
        return self._gates, d_weight, d_bias


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
