"""The kernel of variant ``fused`` for any cell: runs the program that ``emit`` writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence import derive
from harness.recurrence.statements.slots import Slot
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.kernel import Derivatives
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.ops import OPS
from harness_torch.written.emit import written

SMALL = 1024  # up to this many numbers, an operation on a tensor () is slower than on a full one


class InPlaceKernel:
    """Few operations per time step, into buffers that stay."""

    def __init__(self, cell: Cell) -> None:
        self._cell, self.buffers = cell, Buffers()
        self._program, self._form = written(derive(cell))
        self._changes = -1  # of the buffers when the views were taken
        self._views: dict[str, list[Any]] = {}  # function -> its first arguments
        self._constants: dict[tuple[Any, ...], Tensor] = {}

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Order and scale each gate's rows; add the biases of merged gates to the input's."""
        form, others, bias_ih = self._form, dict(weights.others), weights.bias_ih
        for index, product in enumerate(self._cell.products):
            scales, order, free = form.pieces[index], form.orders[index], form.free[index]
            name = f"weight_{product.name}"
            ordered = _ordered(others[name], len(scales), order)
            others[name] = self._scaled(ordered, [scales[at] for at in order])
            if product.bias:
                bias = others.pop(f"bias_{product.name}")
                bias_ih = self._merged(form.merged[index], bias_ih, bias, len(scales))
                if free:
                    rows = _ordered(bias, len(scales), free)
                    others[f"bias_{product.name}"] = self._scaled(rows, [scales[i] for i in free])
        return LayerWeights(
            self._scaled(weights.weight_ih, form.gates), self._scaled(bias_ih, form.gates), others
        )

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps."""
        self._make_buffers(*state[0].shape)
        self._fixed = self._arguments(others)
        for (first, _), part, scale in zip(self._ends, state, self._form.states, strict=True):
            torch.mul(part, scale, out=first)
        self._run("forward")
        ends = zip(self._ends, self._form.states, strict=True)
        return self._hidden.detach(), tuple(last / scale for (_, last), scale in ends)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back."""
        self._d_hidden.copy_(d_hidden)
        self._d_ends[0][0].zero_()
        self._d_ends[0][1].add_(d_final[0])
        scaled = zip(self._d_ends, d_final, self._form.states, strict=True)
        for (_, last), part, scale in list(scaled)[1:]:
            torch.div(part, scale, out=last)
        d_vectors = {name: self.buffers[f"d_vector_{name}"] for name in self._cell.vectors}
        for d_vector in d_vectors.values():
            d_vector.zero_()
        self._run("factors")
        self._run("backward")
        others = {name: d_vector.sum(0) for name, d_vector in d_vectors.items()}
        for index in range(len(self._cell.products)):
            others |= self._product(index)
        ends = zip(self._d_ends, self._form.states, strict=True)
        d_state = tuple(first * scale for (first, _), scale in ends)
        return Derivatives(self._d_zx, others, self._d_hidden, d_state)

    def _make_buffers(self, size: int, hidden: int) -> None:
        """Make the buffers for this shape, and the views that the functions take."""
        if self._changes == self.buffers.changes:  # all have the shapes that zx decides
            return
        program, cell, zx = self._program, self._cell, self.buffers["zx"]
        slots = {f"d_vector_{name}": Slot("", timed=False) for name in cell.vectors}
        for at, name in enumerate(cell.states):
            slots |= {f"state_{name}": Slot(""), f"d_state_{name}": Slot("", timed=at == 0)}
        for name, slot in (slots | dict(program.buffers)).items():
            steps = (len(zx) + (name in slots),) if slot.timed else ()
            self.buffers.get(name, (*steps, size, slot.last * hidden if slot.wide else 1), zx)
        self._changes = self.buffers.changes
        self._ends = [_ends(self.buffers[f"state_{name}"]) for name in cell.states]
        self._d_ends = [_ends(self.buffers[f"d_state_{name}"]) for name in cell.states]
        self._hidden = self._part(Slot(f"state_{cell.states[0]}", shift=1))
        self._d_hidden = self._part(Slot(f"d_state_{cell.states[0]}", shift=1))
        self._d_zx = self._part(Slot("d_gates", self._form.zx, self._form.zx + len(cell.gates)))
        self._factors = [
            (self._part(rows).flatten(0, 1), self._part(operand).flatten(0, 1))
            for rows, operand in zip(program.products, program.operands, strict=True)
        ]
        self._views = {}
        for name, function in program.functions.items():
            rows = program.rows(name, len(zx), lambda slot: self._part(slot).unbind(0))
            first = [] if name == "factors" else [rows]
            self._views[name] = [*first, *map(self._part, function.slots)]

    def _product(self, index: int) -> dict[str, Tensor]:
        """Return the gradients of a product's weight and bias, in the form of ``fold``."""
        product, free = self._cell.products[index], self._form.free[index]
        rows, operand = self._factors[index]
        gradients = {f"weight_{product.name}": rows.t() @ operand}
        if product.bias and free:
            hidden, first = operand.shape[-1], self._form.orders[index].index(free[0])
            part = rows[:, first * hidden : (first + len(free)) * hidden]
            gradients[f"bias_{product.name}"] = part.sum(0)
        return gradients

    def _merged(
        self, pieces: Mapping[int, int], bias_ih: Tensor, bias: Tensor, count: int
    ) -> Tensor:
        """Return bias_ih plus the bias of a product's pieces (gate -> piece) of ``count``."""
        gates = len(self._cell.gates)
        if pieces == {gate: gate for gate in range(gates)} and gates == count:
            return bias_ih + bias
        parts, zeros = bias.chunk(count), torch.zeros_like(bias_ih[: len(bias_ih) // gates])
        rows = [parts[pieces[gate]] if gate in pieces else zeros for gate in range(gates)]
        return bias_ih + torch.cat(rows)

    def _scaled(self, rows: Tensor, scales: Sequence[float]) -> Tensor:
        if scales.count(scales[0]) == len(scales):
            return rows if scales[0] == 1 else rows * scales[0]
        key = (tuple(scales), rows.shape[0], rows.dtype, rows.device)
        if key not in self._constants:
            each = torch.tensor(scales, dtype=rows.dtype, device=rows.device)
            self._constants[key] = each.repeat_interleave(len(rows) // len(each))
        factors = self._constants[key]
        return rows * (factors if rows.dim() == 1 else factors[:, None])

    def _arguments(self, others: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what no time step changes: values (H,), numbers, and parts of the weights."""
        hidden = self._hidden.shape[-1]
        fixed = self._program.units(OPS, [others[name] for name in self._cell.vectors])
        for name, (kind, *what) in self._program.fixed.items():
            if kind == "number":
                fixed[name] = self._number(*what)
            elif kind == "rows":
                weight, first, stop = what
                fixed[name] = _part_of(others[weight], first * hidden, stop * hidden).t()
            elif kind != "unit":
                fixed[name] = others[what[0]]
        return fixed

    def _number(self, value: float, wide: bool) -> Tensor:
        like = self._ends[0][0]
        key = (value, like.shape if wide else (), like.dtype, like.device)
        if key not in self._constants:
            shape = like.shape if wide and like.numel() <= SMALL else ()
            self._constants[key] = torch.full(shape, value, dtype=like.dtype, device=like.device)
        return self._constants[key]

    def _run(self, name: str) -> None:
        self._program.run(name, self._fixed, *self._views[name])

    def _part(self, slot: Slot) -> Tensor:
        return self.buffers.part(slot.buffer, slot, self._view(slot))

    def _view(self, slot: Slot) -> Callable[[Tensor], Tensor]:
        def view(whole: Tensor) -> Tensor:
            if slot.timed:
                whole = whole[slot.shift : slot.shift + len(self.buffers["zx"])]
            if slot.wide:
                hidden = self.buffers[f"state_{self._cell.states[0]}"].shape[-1]
                whole = whole[..., slot.first * hidden : slot.last * hidden]
            if slot.axis:
                whole = whole.view(*whole.shape[:-1], slot.last - slot.first, -1)
            return whole

        return view


def _ends(states: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last of (T + 1, B, H), or (B, H) twice."""
    return (states[0], states[-1]) if states.dim() == 3 else (states, states)  # noqa: PLR2004


def _part_of(rows: Tensor, first: int, last: int) -> Tensor:
    """Return some rows; a slice of all would take its time too."""
    return rows if last - first == rows.shape[0] else rows[first:last]


def _ordered(rows: Tensor, count: int, order: Sequence[int]) -> Tensor:
    """Return parts of the first axis, cut into ``count``, in another order."""
    if list(order) == list(range(count)):
        return rows
    parts = rows.chunk(count)
    return parts[order[0]] if len(order) == 1 else torch.cat([parts[at] for at in order])
