"""The kernel of variant ``fused`` for any cell: runs the program that ``emit`` writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence import derive
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.kernel import Derivatives
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.ops import OPS
from harness_torch.written.emit import written
from harness_torch.written.forward import runs
from harness_torch.written.layout import Rows
from harness_torch.written.names import Slot

SMALL = 1024  # up to this many numbers, an operation on a tensor () is slower than on a full one


class InPlaceKernel:
    """Few operations per time step, into buffers that stay.

    Raises:
        Unwritable: the cell has no such program.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell, self._program, self.buffers = cell, written(derive(cell)), Buffers()
        merged = self._program.graph.merged.items()
        self._runs = [  # per product: the runs of gates that it is merged with, and their pieces
            runs([(gate, at) for gate, (of, at) in sorted(merged) if of == index])
            for index in range(len(cell.products))
        ]
        self._changes = -1  # of the buffers when the views were taken
        self._views: dict[str, list[Any]] = {}  # function -> its first arguments
        self._constants: dict[tuple[Any, ...], Tensor] = {}

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Scale each gate's rows, and put the biases of merged gates into the input's."""
        program, others, bias_ih = self._program, dict(weights.others), weights.bias_ih
        for index, product in enumerate(self._cell.products):
            scales, free = program.graph.piece_scales[index], program.layout.free[index]
            name = f"weight_{product.name}"
            others[name] = self._scaled(others[name], scales)
            if product.bias:
                bias = others.pop(f"bias_{product.name}")
                bias_ih = self._merged(index, bias_ih, bias)
                if free:
                    rows = _rows(bias, len(scales), free)
                    others[f"bias_{product.name}"] = self._scaled(rows, [scales[i] for i in free])
        scales = program.graph.gate_scales
        return LayerWeights(
            self._scaled(weights.weight_ih, scales), self._scaled(bias_ih, scales), others
        )

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps."""
        self._make_buffers(*state[0].shape)
        self._fixed = self._units(others) | self._learnt(others, state[0].shape[-1])
        scales = self._program.graph.state_scales
        for (first, _), part, scale in zip(self._ends, state, scales, strict=True):
            first.copy_(part)
            if scale != 1:
                first.mul_(scale)
        self._run("forward")
        final = tuple(
            last.clone() if scale == 1 else last / scale
            for (_, last), scale in zip(self._ends, scales, strict=True)
        )
        return self._hidden.detach(), final

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back."""
        scales = self._program.graph.state_scales
        self._d_hidden.copy_(d_hidden)
        self._d_ends[0][0].zero_()
        for at, ((_, last), part, scale) in enumerate(
            zip(self._d_ends, d_final, scales, strict=True)
        ):
            if not at:
                last.add_(part)
            else:
                last.copy_(part)
                if scale != 1:
                    last.mul_(1 / scale)
        self._run("factors")
        self._run("backward")
        others: dict[str, Tensor] = {}
        for name, part in self._run("vectors").items():
            like = d_hidden[0, 0]
            gradient = part if isinstance(part, Tensor) else torch.zeros_like(like)
            others[name] = gradient.expand_as(like)
        for index in range(len(self._cell.products)):
            others |= self._product(index)
        d_state = tuple(
            first.clone() if scale == 1 else first * scale
            for (first, _), scale in zip(self._d_ends, scales, strict=True)
        )
        return Derivatives(self._d_zx, others, self._d_hidden, d_state)

    def _make_buffers(self, size: int, hidden: int) -> None:
        """Make the buffers for this shape, and the views that the functions take."""
        program, buffers, zx = self._program, self.buffers, self.buffers["zx"]
        for name, (width, more, timed) in program.shapes.items():
            steps = (len(zx) + more,) if timed else ()
            buffers.get(name, (*steps, size, width * hidden or 1), zx)
        if self._changes == buffers.changes:
            return
        self._changes, states = buffers.changes, self._cell.states
        self._ends = [
            (whole[0], whole[-1]) for whole in (buffers[f"state_{name}"] for name in states)
        ]
        self._d_ends = [
            (whole[0], whole[-1]) if timed else (whole, whole)
            for whole, timed in (
                (buffers[f"d_{name}"], program.shapes[f"d_{name}"][2]) for name in states
            )
        ]
        self._hidden = self._part(Slot("state_h", shift=1))
        self._d_hidden = self._part(Slot("d_h", shift=1))
        self._d_zx = self._part(self._d_gates(program.layout.zx, len(self._cell.gates)))
        self._factors = [
            (
                self._part(self._d_gates(rows.first, len(rows.order))).flatten(0, 1),
                self._part(operand).flatten(0, 1),
            )
            for rows, operand in zip(program.layout.rows, program.operands, strict=True)
        ]
        self._views = {}
        for name, function in program.functions.items():
            by_step = [self._part(slot).unbind(0) for slot in function.rows]
            rows = [list(zip(*by_step, strict=True))] if by_step else []
            self._views[name] = [*rows, *map(self._part, function.slots)]

    @staticmethod
    def _d_gates(first: int, count: int) -> Slot:
        return Slot("d_gates", first, first + count)

    def _product(self, index: int) -> dict[str, Tensor]:
        """Return the gradients of a product's weight and bias."""
        rows, free = self._program.layout.rows[index], self._program.layout.free[index]
        product, hidden = self._cell.products[index], self.buffers["state_h"].shape[-1]
        of_rows, operand = self._factors[index]
        order = _inverse(rows)
        gradients = {f"weight_{product.name}": _rows(of_rows.t() @ operand, len(order), order)}
        if product.bias and free:
            parts = [rows.order.index(piece) for piece in free]
            adjacent = all(b == a + 1 for a, b in pairwise(parts))
            first, last = parts[0] * hidden, (parts[-1] + 1) * hidden
            sums = of_rows[:, first:last].sum(0) if adjacent else of_rows.sum(0)
            gradients[f"bias_{product.name}"] = sums if adjacent else _rows(sums, len(order), parts)
        return gradients

    def _merged(self, index: int, bias_ih: Tensor, bias: Tensor) -> Tensor:
        """Return bias_ih plus the bias of a product's merged pieces."""
        graph, count = self._program.graph, len(self._cell.gates)
        if self._runs[index] == [(0, count)] and bias.shape == bias_ih.shape:
            return bias_ih + bias
        hidden = len(bias_ih) // count
        parts, end = list[Tensor](), 0
        for first, last in self._runs[index]:
            at = graph.merged[first][1]
            if first > end:
                parts.append(bias_ih[end * hidden : first * hidden])
            own = _part_of(bias, at * hidden, (at + last - first) * hidden)
            parts.append(_part_of(bias_ih, first * hidden, last * hidden) + own)
            end = last
        if end < count:
            parts.append(_part_of(bias_ih, end * hidden, len(bias_ih)))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _scaled(self, rows: Tensor, scales: Sequence[float]) -> Tensor:
        if scales.count(scales[0]) == len(scales):
            return rows if scales[0] == 1 else rows * scales[0]
        key = (tuple(scales), rows.shape[0], rows.dtype, rows.device)
        if key not in self._constants:
            each = torch.tensor(scales, dtype=rows.dtype, device=rows.device)
            self._constants[key] = each.repeat_interleave(len(rows) // len(each))
        factors = self._constants[key]
        return rows * (factors if rows.dim() == 1 else factors[:, None])

    def _units(self, others: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the values (H,) that no time step changes."""
        own = [others[name] for name in self._cell.vectors]
        units: dict[str, Tensor] = self._program.code["units"](OPS, *own)
        return units

    def _learnt(self, others: Mapping[str, Tensor], hidden: int) -> dict[str, Tensor]:
        """Return numbers, and parts of the weights."""
        learnt = {}
        for name, (kind, *what) in self._program.fixed.items():
            if kind == "number":
                learnt[name] = self._number(*what)
            elif kind == "weight":
                index, first, last = what
                weight = others[f"weight_{self._cell.products[index].name}"]
                learnt[name] = _part_of(weight, first * hidden, last * hidden).t()
            elif kind == "bias":
                index, first, last = what
                at = self._program.layout.free[index].index(first)
                bias = others[f"bias_{self._cell.products[index].name}"]
                learnt[name] = _part_of(bias, at * hidden, (at + last - first) * hidden)
            elif kind == "back":
                weight, rows = others[name], self._program.layout.rows[what[0]]
                learnt[name] = _rows(weight, len(rows.order), rows.order)
        return learnt

    def _number(self, value: float, wide: bool) -> Tensor:
        like = self._ends[0][0]
        key = (value, like.shape if wide else (), like.dtype, like.device)
        if key not in self._constants:
            shape = like.shape if wide and like.numel() <= SMALL else ()
            self._constants[key] = torch.full(shape, value, dtype=like.dtype, device=like.device)
        return self._constants[key]

    def _run(self, name: str) -> Any:
        fixed = (self._fixed[each] for each in self._program.functions[name].fixed)
        return self._program.code[name](*self._views[name], *fixed)

    def _part(self, slot: Slot) -> Tensor:
        return self.buffers.part(slot.buffer, slot, self._view(slot))

    def _view(self, slot: Slot) -> Callable[[Tensor], Tensor]:
        def view(whole: Tensor) -> Tensor:
            if slot.timed:
                time_steps = len(self.buffers["zx"])
                whole = whole[slot.shift : slot.shift + time_steps]
            width = self._program.shapes.get(slot.buffer, (len(self._cell.gates),))[0]
            if width > 1:
                hidden = whole.shape[-1] // width
                whole = whole[..., slot.first * hidden : slot.last * hidden]
            if slot.gates:
                whole = whole.view(*whole.shape[:-1], slot.last - slot.first, -1)
            return whole

        return view


def _part_of(rows: Tensor, first: int, last: int) -> Tensor:
    """Return some rows; a slice of all would take its time too."""
    return rows if last - first == rows.shape[0] else rows[first:last]


def _rows(rows: Tensor, count: int, order: Sequence[int]) -> Tensor:
    """Return parts of the first axis, cut into ``count``, in another order."""
    if list(order) == list(range(count)):
        return rows
    if len(order) == 1:
        size = len(rows) // count
        return rows[order[0] * size : (order[0] + 1) * size]
    parts = rows.chunk(count)
    return torch.cat([parts[at] for at in order])


def _inverse(rows: Rows) -> list[int]:
    return [rows.order.index(piece) for piece in range(len(rows.order))]
