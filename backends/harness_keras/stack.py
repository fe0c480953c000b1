"""Stacked Keras layers on any engine of Keras, and their weights from the core's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from harness.cells import GRU, LSTM, RNN, ReluRNN, ResetBeforeGRU
from harness.contract import Cell, Model

Tensor = Any  # of the engine that Keras runs on
States = tuple[Tensor, ...]

LAYERS: dict[type[Cell], Callable[..., Any]] = {
    RNN: keras.layers.SimpleRNN,
    ReluRNN: partial(keras.layers.SimpleRNN, activation="relu"),
    LSTM: keras.layers.LSTM,
    GRU: keras.layers.GRU,
    ResetBeforeGRU: partial(keras.layers.GRU, reset_after=False),
}
WHOLE = {"return_sequences": True, "return_state": True, "dtype": "float32"}
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
# The core's weights replace them.
ZEROS = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}


class Stack:
    """Recurrent layers that return sequences and states, dropout between them, and a dense readout.

    Attributes:
        dropouts: the layers between; only these draw random numbers.
    """

    def __init__(self, model: Model) -> None:
        make = partial(LAYERS[type(model.cell)], **WHOLE, **ZEROS)
        self._layers = [make(model.hidden) for _ in range(model.layers)]
        self.dropouts = [
            keras.layers.Dropout(model.dropout, dtype="float32") for _ in range(model.layers - 1)
        ]
        self._readout = keras.layers.Dense(
            model.outputs, dtype="float32", kernel_initializer="zeros"
        )
        for index, layer in enumerate(self._layers):
            layer.build((None, None, model.input_width if index == 0 else model.hidden))
        self._readout.build((None, None, model.hidden))
        self._embedding: Any = None
        if model.embedding is not None:
            size = model.inputs.size
            self._embedding = keras.layers.Embedding(size, model.embedding, dtype="float32")
            self._embedding.build((None, None))

    @property
    def variables(self) -> list[Any]:
        """The trained variables, in the order of ``weights_of``."""
        cells = [layer.cell for layer in self._layers]
        recurrent = [
            part for cell in cells for part in (cell.kernel, cell.recurrent_kernel, cell.bias)
        ]
        table = [] if self._embedding is None else [self._embedding.embeddings]
        return [*recurrent, self._readout.kernel, self._readout.bias, *table]

    def __call__(
        self, values: Tensor, state: States, *, training: bool, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Return outputs (T, B, K) and the final state, each (layers, B, H).

        Keras takes batches first. Swapping axes copies nothing, because the layers swap them back.

        Args:
            values: (T, B, D), or tokens (T, B) for the embedding.
            state: the initial state, each (layers, B, H).
            training: whether dropout acts.
            probes: (layers, T, B, H) zeros added to each h_t, or None.
        """
        values, finals = ops.swapaxes(values, 0, 1), []
        if self._embedding is not None:
            values = self._embedding(values)
        for index, own in enumerate(self._layers):
            start, layer = [part[index] for part in state], own
            if probes is not None:
                values = ops.concatenate([values, ops.swapaxes(probes[index], 0, 1)], axis=-1)
                layer = keras.layers.RNN(Probed(own.cell), **WHOLE)
            values, *final = layer(values, initial_state=start, training=training)
            finals.append(final)
            if index < len(self.dropouts):
                values = self.dropouts[index](values, training=training)
        outputs = ops.swapaxes(self._readout(values), 0, 1)
        return outputs, tuple(ops.stack(list(parts)) for parts in zip(*finals, strict=True))


class Probed(keras.layers.Layer):  # type: ignore[misc] # Keras has no annotations
    """A cell whose last H inputs are added to its h."""

    def __init__(self, cell: Any) -> None:
        super().__init__(dtype="float32")
        self._cell, self.state_size = cell, cell.state_size

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Run the library's cell on the other inputs."""
        hidden = states[0].shape[-1]
        h, states = self._cell.call(inputs[..., :-hidden], states)
        h = h + inputs[..., -hidden:]
        return h, [h, *list(states)[1:]]


def weights_of(model: Model, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the values of ``Stack.variables``, made of the core's parameters.

    ``SimpleRNN`` and ``LSTM`` have one bias for b_ih + b_hh; ``GRU`` has both, or with the reset
    before the product b_ih alone, and the gates in the order z, r, n.
    """
    weights: list[Tensor] = []
    for index in range(model.layers):
        own = {name: parameters.get(f"{name}_l{index}") for name in NAMES}
        names = [f"weight_{product.name}_l{index}" for product in model.cell.products]
        own["weight_hh"] = ops.concatenate([parameters[name] for name in names])
        if type(model.cell) in {GRU, ResetBeforeGRU}:
            own = {name: None if part is None else _zrn(part) for name, part in own.items()}
        if type(model.cell) is GRU:
            bias = ops.stack([own["bias_ih"], own["bias_hh"]])
        elif own["bias_hh"] is None:
            bias = own["bias_ih"]
        else:
            bias = own["bias_ih"] + own["bias_hh"]
        weights += [ops.transpose(own["weight_ih"]), ops.transpose(own["weight_hh"]), bias]
    table = [] if model.embedding is None else [parameters["embedding"]]
    return [*weights, ops.transpose(parameters["weight_out"]), parameters["bias_out"], *table]


def _zrn(rows: Tensor) -> Tensor:
    r, z, n = ops.split(rows, 3)
    return ops.concatenate([z, r, n])
