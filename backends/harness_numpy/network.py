"""The whole function and its gradient: encoding, stacked recurrences, readout and loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Dtype, Model, State, UsageError
from harness_numpy.device import DeviceBatch
from harness_numpy.encoding import input_product, input_weight_gradient
from harness_numpy.flat import Flat
from harness_numpy.readout import loss_and_gradient
from harness_numpy.recurrence import MakeRecurrence
from harness_numpy.workspace import Workspace

KEPT_SHAPES = 4  # buffers of at most so many batch shapes: training, validation, its last batch, parity


class Network:
    """A model's function and gradient over flat parameters.

    Args:
        model: the function.
        parameters: its weights.
        gradients: filled by ``backward``.
        dtype: of every array.
        masks: draws dropout masks.
        make: makes the recurrence of one layer.
    """

    def __init__(
        self,
        model: Model,
        parameters: Flat,
        gradients: Flat,
        dtype: Dtype,
        masks: np.random.Generator,
        make: MakeRecurrence,
    ) -> None:
        self._make = make
        self._model, self._dtype, self._masks = model, dtype, masks
        self._p, self._d = parameters.views, gradients.views
        self._workspaces: dict[tuple[int, int], Workspace] = {}

    def _workspace(self, batch: DeviceBatch) -> Workspace:
        key = (batch.steps, batch.size)
        if key not in self._workspaces:
            while len(self._workspaces) >= KEPT_SHAPES:
                self._workspaces.pop(next(iter(self._workspaces)))
            self._workspaces[key] = Workspace(self._model, *key, self._dtype, self._make)
        return self._workspaces[key]

    def forward(self, batch: DeviceBatch, state: State | None, *, training: bool) -> Workspace:
        """Run all layers from ``state``; return the buffers, which hold every hidden state."""
        if state is not None and state[0].shape[1] != batch.size:
            raise UsageError(
                f"the batch has {batch.size} sequences but the carried state has {state[0].shape[1]}: "
                "load a state that fits, or None"
            )
        work = self._workspace(batch)
        work.start(state)
        for layer, recurrence in enumerate(work.layers):
            self._dropout(work, layer, training=training)
            inputs = batch.inputs if layer == 0 else work.inputs_above(layer)
            zx = recurrence.zx.reshape(-1, recurrence.zx.shape[-1])
            input_product(inputs, self._p[f"weight_ih_l{layer}"], self._p[f"bias_ih_l{layer}"], zx)
            recurrence.forward(self._p[f"weight_hh_l{layer}"], self._p[f"bias_hh_l{layer}"])
        return work

    def _dropout(self, work: Workspace, layer: int, *, training: bool) -> None:
        work.dropped[layer] = work.factors[layer] = None
        if layer == 0 or not training or self._model.dropout == 0:
            return
        below = work.hidden(layer - 1)
        kept = self._masks.random(below.shape, np.dtype(self._dtype).type) >= self._model.dropout
        factors = kept.astype(self._dtype)
        factors *= 1 / (1 - self._model.dropout)
        work.factors[layer], work.dropped[layer] = factors, below * factors

    def outputs(self, work: Workspace, rows: NDArray[np.intp] | None = None) -> Array:
        """Return a new array of outputs (n, K), of ``rows`` or of all."""
        hidden = work.hidden(-1)
        outputs: Array = (hidden if rows is None else hidden[rows]) @ self._p["weight_out"].T
        outputs += self._p["bias_out"]
        return outputs

    def backward(self, batch: DeviceBatch, work: Workspace) -> np.floating:
        """Fill the gradients and ``work.d_hidden`` (the total derivative); return the mean loss."""
        loss = self._readout_backward(batch, work)
        for layer in reversed(range(self._model.layers)):
            recurrence = work.layers[layer]
            recurrence.backward(self._p[f"weight_hh_l{layer}"], work.d_hidden[layer])
            width = recurrence.zx.shape[-1]
            d_zx, d_zh = recurrence.zx.reshape(-1, width), recurrence.d_zh.reshape(-1, width)
            self._weight_gradients(batch, work, layer, d_zx, d_zh)
            if layer > 0:
                self._to_layer_below(work, layer, d_zx)
        return loss

    def _readout_backward(self, batch: DeviceBatch, work: Workspace) -> np.floating:
        d_outputs = self.outputs(work, batch.rows)
        loss = loss_and_gradient(self._model.loss, d_outputs, batch.targets)
        hidden, d_hidden = work.hidden(-1), work.d_hidden[-1].reshape(-1, self._model.hidden)
        scored = hidden if batch.rows is None else hidden[batch.rows]
        np.matmul(d_outputs.T, scored, out=self._d["weight_out"])
        _sum_rows(d_outputs, self._d["bias_out"])
        if batch.rows is None:
            np.matmul(d_outputs, self._p["weight_out"], out=d_hidden)
        else:
            d_hidden.fill(0)
            d_hidden[batch.rows] = d_outputs @ self._p["weight_out"]
        return loss

    def _weight_gradients(self, batch: DeviceBatch, work: Workspace, layer: int, d_zx: Array, d_zh: Array) -> None:
        before = work.layers[layer].states[0][:-1].reshape(-1, self._model.hidden)
        np.matmul(d_zh.T, before, out=self._d[f"weight_hh_l{layer}"])
        inputs = batch.inputs if layer == 0 else work.inputs_above(layer)
        input_weight_gradient(inputs, d_zx, self._d[f"weight_ih_l{layer}"])
        _sum_rows(d_zx, self._d[f"bias_ih_l{layer}"])
        _sum_rows(d_zh, self._d[f"bias_hh_l{layer}"])

    def _to_layer_below(self, work: Workspace, layer: int, d_zx: Array) -> None:
        d_below = work.d_hidden[layer - 1].reshape(-1, self._model.hidden)
        np.matmul(d_zx, self._p[f"weight_ih_l{layer}"], out=d_below)
        factors = work.factors[layer]
        if factors is not None:
            d_below *= factors


def _sum_rows(rows: Array, out: Array) -> None:
    np.dot(np.ones(len(rows), rows.dtype), rows, out=out)
