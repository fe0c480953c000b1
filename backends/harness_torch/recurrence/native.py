"""Variant ``native``: the C kernel as one ``autograd.Function`` per layer, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from harness.contract import Cell
from harness_native import library
from harness_torch.recurrence.layer import ProductLayer, States


def native_layer(cell: Cell) -> ProductLayer:
    """Return a layer of this variant."""
    return ProductLayer(cell, native)


def native(
    cell: Cell, zx: Tensor, others: Mapping[str, Tensor], state: States, probe: Tensor | None
) -> tuple[Tensor, States]:
    """Run one layer over all time steps; signature as ``harness_torch.recurrence.loop.loop``.

    Differentiable in the initial and the final state. The probe is not added; it only receives the
    gradient d loss / d h_t.
    """
    weights = [others[name] for name in _names(cell)]
    hidden, *final = cast(
        "tuple[Tensor, ...]",
        _Recurrence.apply(  # type: ignore[no-untyped-call]
            cell, zx, probe, *weights, *state
        ),
    )
    return hidden, tuple(final)


def _names(cell: Cell) -> list[str]:
    """Return the names of the weights, those of the products first."""
    products = [
        f"{kind}_{product.name}"
        for product in cell.products
        for kind in ("weight", "bias")
        if kind == "weight" or product.bias
    ]
    return [*products, *cell.vectors]


class _Recurrence(torch.autograd.Function):
    """h (T, B, H) and the final state. The reverse overwrites the gates: it can run once."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, zx: Tensor, _probe: Tensor | None, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        names = _names(cell)
        weights, state = rest[: len(names)], rest[len(names) :]
        buffers = _Buffers(cell, zx.contiguous(), state)
        buffers.forward(dict(zip(names, weights, strict=True)))
        ctx.buffers = buffers
        ctx.save_for_backward(*weights)
        ctx.set_materialize_grads(False)
        return buffers.states[0][1:], *(states[-1].clone() for states in buffers.states)

    @staticmethod
    def backward(
        ctx: Any, d_hidden: Tensor | None, *d_final: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        buffers = ctx.buffers
        if buffers is None:
            raise RuntimeError(
                "the gradient of torch:native was taken already: run it forward again"
            )
        weights = dict(zip(_names(buffers.cell), ctx.saved_tensors, strict=True))
        ctx.buffers = None
        d_total = torch.empty_like(buffers.hidden) if ctx.needs_input_grad[2] else None
        first_state = 3 + len(weights)
        wanted = any(ctx.needs_input_grad[first_state:])
        d_state = [torch.empty_like(buffers.hidden[0]) if wanted else None for _ in d_final]
        d_zx, d_weights = buffers.reverse(weights, d_hidden, d_final, d_total, d_state)
        return None, d_zx, d_total, *d_weights.values(), *d_state


class _Buffers:
    """The arrays of one call, which the kernel fills forwards and reads backwards.

    Attributes:
        states: (T + 1, B, H) per state of the cell; entry 0 is the initial state.
    """

    def __init__(self, cell: Cell, zx: Tensor, state: States) -> None:
        self.cell, self._library = cell, library.cell_library(cell)
        steps, (batch, hidden) = len(zx), state[0].shape
        plan = self._library.plan
        self.states = [part.new_empty((steps + 1, batch, hidden)) for part in state]
        self._zx, self._gates = zx, torch.empty_like(zx)
        self._operands = [torch.empty_like(self.hidden) if inner else None for inner in plan.inner]
        self._kept = [torch.empty_like(self.hidden) for _ in range(plan.extra)]
        self._d_products = [
            zx.new_empty((steps, batch, len(pieces) * hidden)) if gate is None else None
            for gate, pieces in zip(plan.shared, plan.pieces, strict=True)
        ]
        self._layer = library.layer(
            (steps, batch, hidden),
            double=zx.dtype == torch.float64,
            threads=torch.get_num_threads(),
        )
        for states, start in zip(self.states, state, strict=True):
            states[0] = start
        _point(self._layer.initial, self.states)
        _point(self._layer.states, [states[1:] for states in self.states])
        _point(self._layer.operand, self._operands)
        _point(self._layer.kept, self._kept)
        _point(self._layer.d_product, self._d_products)

    @property
    def hidden(self) -> Tensor:
        """The states h, (T, B, H)."""
        return self.states[0][1:]

    def _point_to_weights(self, weights: Mapping[str, Tensor]) -> list[Tensor]:
        """Give the kernel the weights; return what must live as long as the call."""
        lying = {name: weight.contiguous() for name, weight in weights.items()}
        names = [product.name for product in self.cell.products]
        _point(self._layer.weight, [lying[f"weight_{name}"] for name in names])
        _point(self._layer.bias, [lying.get(f"bias_{name}") for name in names])
        _point(self._layer.vector, [lying[name] for name in self.cell.vectors])
        return list(lying.values())

    def forward(self, weights: Mapping[str, Tensor]) -> None:
        """Fill the states."""
        layer = self._layer
        kept = self._point_to_weights(weights)
        layer.zx, layer.gates = self._zx.data_ptr(), self._gates.data_ptr()
        self._library.forward(layer)
        del self._zx, kept

    def reverse(
        self,
        weights: Mapping[str, Tensor],
        d_hidden: Tensor | None,
        d_final: Sequence[Tensor | None],
        d_total: Tensor | None,
        d_state: Sequence[Tensor | None],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the gradients of zx and of the weights; fill ``d_total`` and ``d_state``."""
        layer = self._layer
        direct = torch.zeros_like(self.hidden) if d_hidden is None else d_hidden.contiguous()
        final = [None if part is None else part.contiguous() for part in d_final]
        kept = self._point_to_weights(weights)
        d_weights = {name: weight.new_empty(weight.shape) for name, weight in weights.items()}
        names = [product.name for product in self.cell.products]
        layer.d_direct, layer.d_total = direct.data_ptr(), _address(d_total)
        layer.d_zx = self._gates.data_ptr()
        _point(layer.d_final, final)
        _point(layer.d_initial, d_state)
        _point(layer.d_weight, [d_weights[f"weight_{name}"] for name in names])
        _point(layer.d_bias, [d_weights.get(f"bias_{name}") for name in names])
        _point(layer.d_vector, [d_weights[name] for name in self.cell.vectors])
        self._library.reverse(layer)
        del kept
        return self._gates, d_weights


def _point(field: Any, tensors: Sequence[Tensor | None]) -> None:
    """Write the addresses of tensors into a field of the layer."""
    for index, tensor in enumerate(tensors):
        field[index] = _address(tensor)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
