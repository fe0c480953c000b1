"""Variant ``loop``: BPTT one time step after the other, as in textbooks and min-char-rnn.

Forwards W x + U h per step; backwards one outer product per step and weight. Nothing is hoisted,
packed or reused, so a comparison shows what the other variants gain by doing so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.contract import Array, CellState, Model, State
from harness.recurrence import derive
from harness_numpy.recurrence.device import DeviceBatch
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.masks import Masks
from harness_numpy.recurrence.network import Network
from harness_numpy.recurrence.ops import NumpyOps
from harness_numpy.recurrence.readout import loss_and_gradient
from harness_numpy.recurrence.workspace import stacked

OPS = NumpyOps()


@dataclass(frozen=True, eq=False)
class Moment:
    """One layer at one time step."""

    x: Array  # (B, D or E), or (B, H) from the layer below
    zx: Array  # W x + b, (B, G*H)
    operands: Sequence[Array]  # per product, each (B, H)
    products: Sequence[Array]  # per product, U h + b, each (B, n*H)
    before: CellState  # each (B, H)
    after: CellState
    kept: Array | float  # the dropout factor of each element of x


class Tape:
    """All values, by time step and then by layer; and d loss / d h_t, (layers, T, B, H)."""

    def __init__(self, states: Sequence[CellState]) -> None:
        self.states = list(states)  # per layer, the last so far
        self.moments: list[list[Moment]] = []
        self.d_hidden: Array = np.empty(())

    def final(self) -> State:
        """Return the state after the last step, each (layers, B, H)."""
        return stacked(self.states)


class LoopNetwork(Network[Tape]):
    """Any cell, one time step at a time."""

    def __init__(
        self, model: Model, parameters: Flat, gradients: Flat, masks: Masks, threads: int = 1
    ) -> None:
        super().__init__(model, parameters, gradients, masks, threads)
        self._derived = derive(model.cell)

    def forward(self, batch: DeviceBatch, state: State | None, *, training: bool) -> Tape:
        """Go through time; at each step, up through the layers."""
        tape = Tape(self._initial(batch.size, state))
        for now in batch.chunks(1):
            x, moments = self._encoded(now), []
            for layer in range(self.model.layers):
                kept = self.masks.factors(layer, x.shape) if training else None
                moment = self._step(layer, x, tape.states[layer], 1.0 if kept is None else kept)
                tape.states[layer] = moment.after
                moments.append(moment)
                x = moment.after[0]
            tape.moments.append(moments)
        return tape

    def _step(self, layer: int, x: Array, before: CellState, kept: Array | float) -> Moment:
        x, p, cell = x * kept, self._weights[layer], self.model.cell
        zx = x @ p["weight_ih"].T + p["bias_ih"]
        operands: list[Array] = [zx] * len(cell.products)

        def product(index: int, operand: Array) -> Array:
            name = cell.products[index].name
            operands[index] = np.zeros_like(before[0]) + operand
            value: Array = operands[index] @ p[f"weight_{name}"].T
            return value + p[f"bias_{name}"] if cell.products[index].bias else value

        own = [p[name] for name in cell.vectors]
        after, products = self._derived.step(OPS, zx, before, own, product)
        whole = tuple(np.zeros_like(old) + new for old, new in zip(before, after, strict=True))
        return Moment(x, zx, operands, products, before, whole, kept)

    def outputs(self, work: Tape) -> Array:
        """Return W h + b of every step, (T*B, K)."""
        return np.concatenate([self._read(moments[-1].after[0]) for moments in work.moments])

    def backward(
        self, batch: DeviceBatch, work: Tape, d_final: State | None, d_others: Sequence[Array] = ()
    ) -> tuple[np.floating[Any], State]:
        """Go back through time; at each step, down through the layers."""
        model, d_states = self.model, [list(parts) for parts in self._initial(batch.size, d_final)]
        work.d_hidden = np.empty(
            (model.layers, batch.steps, batch.size, model.hidden), self.gradients.dtype
        )
        self.gradients.vector.fill(0)
        loss = np.dtype(self.gradients.dtype).type(0)
        for t, now in reversed(list(enumerate(batch.chunks(1)))):
            share, d_x = self._readout_gradient(now, work.moments[t][-1].after[0])
            loss += share
            for layer in reversed(range(model.layers)):
                d_states[layer][0] = d_states[layer][0] + d_x
                for kept, d_state in zip((work.d_hidden, *d_others), d_states[layer], strict=False):
                    kept[layer, t] = d_state
                d_states[layer], d_x = self._step_gradient(
                    layer, work.moments[t][layer], d_states[layer]
                )
            if model.embedding is not None:
                np.add.at(self._d["embedding"], now.inputs, d_x)
        return loss, stacked(d_states)

    def _step_gradient(
        self, layer: int, moment: Moment, d_after: list[Array]
    ) -> tuple[list[Array], Array]:
        """Return d loss / d previous state and d loss / d x; add to the layer's gradients."""
        cell, p, out = self.model.cell, self._weights[layer], self._weight_d[layer]
        matrices = [p[f"weight_{product.name}"] for product in cell.products]
        result = self._derived.gradient(
            OPS,
            moment.zx,
            moment.products,
            moment.before,
            [p[name] for name in cell.vectors],
            d_after,
            lambda index, d_product: d_product @ matrices[index],
        )
        d_before = [np.zeros_like(d) + part for d, part in zip(d_after, result.state, strict=True)]
        out["weight_ih"] += result.zx.T @ moment.x
        out["bias_ih"] += result.zx.sum(axis=0)
        for index, (product, d_product) in enumerate(
            zip(cell.products, result.products, strict=True)
        ):
            out[f"weight_{product.name}"] += d_product.T @ moment.operands[index]
            if product.bias:
                out[f"bias_{product.name}"] += d_product.sum(axis=0)
            if (operand := self._derived.operands[index]).op == "state":
                d_before[operand.value] += d_product @ matrices[index]
        for name, d_vector in zip(cell.vectors, result.vectors, strict=True):
            out[name] += np.sum(np.zeros_like(d_after[0]) + d_vector, axis=0)
        d_x: Array = result.zx @ p["weight_ih"] * moment.kept
        return d_before, d_x

    def _readout_gradient(self, now: DeviceBatch, h: Array) -> tuple[np.floating[Any], Array]:
        """Return this step's share of the loss, and d loss / d h (B, H)."""
        rows = slice(None) if now.rows is None else now.rows
        d_outputs, d_h = self._read(h)[rows], np.zeros_like(h)
        share = loss_and_gradient(self.model.loss, d_outputs, now.targets, now.scored)
        self._d_readout += d_outputs.T @ h[rows]
        self._d["bias_out"] += d_outputs.sum(axis=0)
        d_h[rows] = d_outputs @ self._readout
        return share, d_h

    def _read(self, h: Array) -> Array:
        outputs: Array = h @ self._readout.T + self._p["bias_out"]
        return outputs

    def _encoded(self, now: DeviceBatch) -> Array:
        if self.model.inputs.kind != "token":
            return now.inputs
        if self.model.embedding is not None:
            return self._p["embedding"].take(now.inputs, axis=0)
        one_hot: Array = np.zeros((len(now.inputs), self.model.inputs.size), self.gradients.dtype)
        one_hot[np.arange(len(now.inputs)), now.inputs] = 1
        return one_hot

    def _initial(self, batch: int, state: State | None) -> list[CellState]:
        """Return one state, each (B, H) or (B, H, H), per layer; None means zeros."""
        cell, layers = self.model.cell, range(self.model.layers)
        zeros = tuple(
            np.zeros((batch, *shape), self.gradients.dtype)
            for shape in cell.state_shapes(self.model.hidden)
        )
        return [zeros if state is None else tuple(s[n] for s in state) for n in layers]
