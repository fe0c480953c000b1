"""The network layer by layer: products that need no state are taken for all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Cell, Model, State
from harness_numpy.recurrence.device import DeviceBatch
from harness_numpy.recurrence.encoding import (
    add_by_token,
    input_product,
    input_weight_gradient,
)
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.layer import Recurrence, Shape, rows, sum_rows
from harness_numpy.recurrence.masks import Masks
from harness_numpy.recurrence.network import Network
from harness_numpy.recurrence.readout import loss_and_gradient
from harness_numpy.recurrence.workspace import Workspace, stacked

KEPT_SHAPES = 4  # batch shapes with buffers: training and validation, each with a shorter chunk


class HoistedNetwork(Network[Workspace]):
    """Input products, the time loops of ``Recurrence``, readout and weight gradients over [T B].

    Args:
        model, parameters, gradients, masks, threads: as in ``Network``.
        recurrence: makes the loop of one layer.
    """

    def __init__(
        self,
        model: Model,
        parameters: Flat,
        gradients: Flat,
        masks: Masks,
        threads: int = 1,
        *,
        recurrence: Callable[[Cell, Shape], Recurrence],
    ) -> None:
        super().__init__(model, parameters, gradients, masks, threads)
        self._recurrence = recurrence
        self._workspaces: dict[tuple[int, int], Workspace] = {}

    def _workspace(self, batch: DeviceBatch) -> Workspace:
        key = (batch.steps, batch.size)
        if key not in self._workspaces:
            while len(self._workspaces) >= KEPT_SHAPES:
                self._workspaces.pop(next(iter(self._workspaces)))
            shape = Shape(*key, self.model.hidden, self.gradients.dtype, self.threads)
            layers = [self._recurrence(self.model.cell, shape) for _ in range(self.model.layers)]
            self._workspaces[key] = Workspace(layers)
        return self._workspaces[key]

    def forward(self, batch: DeviceBatch, state: State | None, *, training: bool) -> Workspace:
        """Run layer after layer; the buffers returned hold every hidden state."""
        work = self._workspace(batch)
        work.start(state)
        work.encoded = batch.inputs
        if self.model.embedding is not None:
            work.encoded = self._p["embedding"].take(batch.inputs, axis=0)
        for layer, recurrence in enumerate(work.layers):
            self._dropout(work, layer, training=training)
            self._run_layer(recurrence, layer, work.inputs_of(layer))
        return work

    def _run_layer(self, recurrence: Recurrence, layer: int, inputs: NDArray[Any]) -> None:
        weights = self._weights[layer]
        bias = recurrence.input_bias(weights)
        input_product(inputs, weights["weight_ih"], bias, rows(recurrence.zx))
        recurrence.forward(weights)

    def _dropout(self, work: Workspace, layer: int, *, training: bool) -> None:
        shape = work.layers[layer].shape
        factors = None
        if training:
            factors = self.masks.factors(layer, (shape.steps * shape.batch, shape.hidden))
        work.factors[layer] = factors
        work.dropped[layer] = None if factors is None else work.hidden(layer - 1) * factors

    def outputs(self, work: Workspace, rows: NDArray[np.intp] | None = None) -> Array:
        """Return new outputs (n, K), of ``rows`` or of all."""
        hidden = work.hidden(-1)
        outputs: Array = (hidden if rows is None else hidden[rows]) @ self._readout.T
        outputs += self._p["bias_out"]
        return outputs

    def backward(
        self,
        batch: DeviceBatch,
        work: Workspace,
        d_final: State | None,
        d_others: Sequence[Array] = (),
    ) -> tuple[np.floating[Any], State]:
        """Go back layer by layer, from the loss."""
        loss = self._readout_backward(batch, work)
        d_initial = []
        for layer in reversed(range(self.model.layers)):
            recurrence = work.layers[layer]
            recurrence.d_others = [other[layer] for other in d_others]
            above = None if d_final is None else [part[layer] for part in d_final]
            d_hidden = work.d_hidden_of(layer)
            d_initial.append(recurrence.backward(self._weights[layer], d_hidden, above))
            self._weight_gradients(work, layer)
            if layer > 0:
                self._to_layer_below(work, layer)
        if self.model.embedding is not None:
            self._embedding_gradient(batch, work)
        return loss, stacked(d_initial[::-1])

    def _readout_backward(self, batch: DeviceBatch, work: Workspace) -> np.floating[Any]:
        d_outputs = self.outputs(work, batch.rows)
        loss = self._loss_and_gradient(batch, d_outputs)
        hidden, d_hidden = work.hidden(-1), work.d_hidden[-1].reshape(-1, self.model.hidden)
        scored = hidden if batch.rows is None else hidden[batch.rows]
        np.matmul(d_outputs.T, scored, out=self._d_readout)
        sum_rows(d_outputs, self._d["bias_out"])
        if batch.rows is None:
            np.matmul(d_outputs, self._readout, out=d_hidden)
        else:
            d_hidden.fill(0)
            d_hidden[batch.rows] = d_outputs @ self._readout
        return loss

    def _loss_and_gradient(self, batch: DeviceBatch, outputs: Array) -> np.floating[Any]:
        return loss_and_gradient(self.model.loss, outputs, batch.targets, batch.scored)

    def _input_weight_gradient(self, inputs: NDArray[Any], d_zx: Array, out: Array) -> None:
        input_weight_gradient(inputs, d_zx, out)

    def _weight_gradients(self, work: Workspace, layer: int) -> None:
        recurrence, out = work.layers[layer], self._weight_d[layer]
        d_zx = rows(recurrence.zx)
        self._input_weight_gradient(work.inputs_of(layer), d_zx, out["weight_ih"])
        sum_rows(d_zx, out["bias_ih"])
        recurrence.weight_gradients(out)

    def _to_layer_below(self, work: Workspace, layer: int) -> None:
        d_below = work.d_rows(layer - 1)
        self._input_gradient(work, layer, d_below)
        factors = work.factors[layer]
        if factors is not None:
            d_below *= factors

    def _input_gradient(self, work: Workspace, layer: int, out: Array) -> None:
        np.matmul(work.zx(layer), self._p[f"weight_ih_l{layer}"], out=out)

    def _embedding_gradient(self, batch: DeviceBatch, work: Workspace) -> None:
        """Fill the gradient of the table; that of a tied readout is there already."""
        d_rows, out = np.empty_like(work.encoded), self._d["embedding"]
        self._input_gradient(work, 0, d_rows)
        if not self.model.tied_readout:
            out.fill(0)
        self._add_by_token(batch.inputs, d_rows, out)

    def _add_by_token(self, tokens: NDArray[np.intp], d_rows: Array, out: Array) -> None:
        add_by_token(tokens, d_rows, out)
