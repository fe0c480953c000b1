"""The stacked cells: our layers, or ``torch.nn``'s. Weights go by their ``torch.nn`` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.cells import GRU, LSTM, ReluRNN
from harness.contract import Cell, Model
from harness_torch.recurrence.layer import Layer, LayerWeights, States

Weights = dict[str, Tensor]
# Makes one layer of a model. Layers share no object, because each may keep buffers.
MakeLayer = Callable[[Cell], Layer]


class Stack(Protocol):
    """Stacked cells on a trainer's weights, by name."""

    def __call__(
        self, inputs: Tensor, state: States, dropout: float = 0.0, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Return the top layer's h (T, B, H) and the final state, each (layers, B, H).

        Args:
            inputs: (T, B) token ids or (T, B, D) vectors.
            state: the initial state, each (layers, B, H).
            dropout: the part of the values between layers that is set to 0.
            probes: (layers, T, B, H) zeros whose gradient is d loss / d h_t, or None.
        """


class CellStack:
    """Stacked cells, each layer on one of our own time loops."""

    def __init__(
        self, model: Model, weights: Weights, dtype: torch.dtype, *, make_layer: MakeLayer
    ) -> None:
        self._layers = [make_layer(model.cell) for _ in range(model.layers)]
        self._weights, self._dtype = weights, dtype
        self._names = [  # per layer: the names of its weights, without the layer and with it
            [(name.removesuffix(end), name) for name in weights if name.endswith(end)]
            for end in (f"_l{index}" for index in range(model.layers))
        ]

    def __call__(
        self, inputs: Tensor, state: States, dropout: float = 0.0, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Run every layer over all time steps."""
        inputs = embedded(self._weights, inputs)
        values, finals = inputs.to(self._dtype) if inputs.is_floating_point() else inputs, []
        for index, layer in enumerate(self._layers):
            start = tuple(part[index] for part in state)
            probe = None if probes is None else probes[index]
            values, final = layer(values, self._of_layer(index), start, probe)
            finals.append(final)
            if dropout and index < len(self._layers) - 1:
                values = functional.dropout(values, dropout)
        return values, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _of_layer(self, index: int) -> LayerWeights:
        others = {short: self._weights[name].to(self._dtype) for short, name in self._names[index]}
        return LayerWeights(others.pop("weight_ih"), others.pop("bias_ih"), others)


def embedded(weights: Weights, inputs: Tensor) -> Tensor:
    """Return the rows (T, B, E) of tokens if the model has an embedding, else the inputs."""
    table = weights.get("embedding")
    return inputs if table is None else functional.embedding(inputs, table)


class LibraryStack:
    """``torch.nn.RNN``, ``LSTM`` or ``GRU``. Without d loss / d h_t: probes are refused."""

    def __init__(self, model: Model, weights: Weights, dtype: torch.dtype) -> None:
        device = weights["bias_out"].device
        self._module = _module(model, device, dtype)
        one_hot = model.inputs.kind == "token" and model.embedding is None
        self._tokens = model.inputs.size if one_hot else None
        self._dtype, self._weights = dtype, weights
        self._own = weights["bias_out"].dtype == dtype
        if self._own:  # the module's parameters are the trainer's leaves
            weights.update(self._module.named_parameters())

    def __call__(
        self, inputs: Tensor, state: States, dropout: float = 0.0, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Run the module; always in training mode, which cuDNN's backward pass needs."""
        if probes is not None:
            raise ValueError(
                "torch.nn gives no gradient of hidden states: use the variant loop or fused"
            )
        inputs = embedded(self._weights, inputs)
        if self._tokens is not None:
            inputs = functional.one_hot(inputs, self._tokens)  # the module takes vectors only
        self._module.dropout = dropout
        arguments = inputs.to(self._dtype), state if len(state) > 1 else state[0]
        hidden, final = (
            self._module(*arguments) if self._own else self._with_cast_weights(arguments)
        )
        return hidden, final if isinstance(final, tuple) else (final,)

    def _with_cast_weights(
        self, arguments: tuple[Tensor, States | Tensor]
    ) -> tuple[Tensor, States | Tensor]:
        names = [name for name, _ in self._module.named_parameters()]
        cast = {name: self._weights[name].to(self._dtype) for name in names}
        hidden, final = torch.func.functional_call(self._module, cast, arguments)
        return hidden, final


def _module(model: Model, device: torch.device, dtype: torch.dtype) -> nn.RNNBase:
    kind = type(model.cell)
    with torch.random.fork_rng(devices=[]):  # the initialisation must not move the random state
        if kind is LSTM:
            module: nn.RNNBase = nn.LSTM(model.input_width, model.hidden, model.layers)
        elif kind is GRU:
            module = nn.GRU(model.input_width, model.hidden, model.layers)
        else:
            nonlinearity = "relu" if kind is ReluRNN else "tanh"
            module = nn.RNN(
                model.input_width, model.hidden, model.layers, nonlinearity=nonlinearity
            )
    return module.to(device, dtype)
