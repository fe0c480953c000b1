"""The stacked cells: our own time loop over any cell, or ``torch.nn``'s. Weights go by ``torch.nn`` name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.cells import GRU, LSTM, ReluRNN
from harness.contract import Cell, Model
from harness_torch.fused import fused
from harness_torch.loop import loop
from harness_torch.native import native

States = tuple[Tensor, ...]
Layer = Callable[[Cell, Tensor, Tensor, Tensor, States, Tensor | None], tuple[Tensor, States]]
Weights = dict[str, Tensor]

LAYERS: dict[str, Layer] = {"loop": loop, "fused": fused, "native": native}


class Stack(Protocol):
    """Stacked cells. ``weights`` are leaves, by name, without the readout's."""

    weights: Weights

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
    """Stacked cells on one of our own time loops."""

    def __init__(self, model: Model, layer: Layer, weights: Weights) -> None:
        self._model, self._layer, self.weights = model, layer, weights

    def __call__(
        self, inputs: Tensor, state: States, dropout: float = 0.0, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Run every layer over all time steps."""
        values, finals = inputs, []
        for index in range(self._model.layers):
            weight_ih, weight_hh, bias_ih, bias_hh = self._of_layer(index)
            zx = input_product(values, weight_ih, bias_ih)
            start = tuple(part[index] for part in state)
            probe = None if probes is None else probes[index]
            values, final = self._layer(self._model.cell, zx, weight_hh, bias_hh, start, probe)
            finals.append(final)
            if dropout and index < self._model.layers - 1:
                values = functional.dropout(values, dropout)
        return values, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _of_layer(self, index: int) -> list[Tensor]:
        return [self.weights[f"{name}_l{index}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


class LibraryStack:
    """``torch.nn.RNN``, ``LSTM`` or ``GRU``. It cannot give d loss / d h_t, so probes are refused."""

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype) -> None:
        self._module = _module(model, device, dtype)
        self._tokens = model.inputs.size if model.inputs.kind == "token" else None
        self.weights: Weights = dict(self._module.named_parameters())

    def __call__(
        self, inputs: Tensor, state: States, dropout: float = 0.0, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Run the module; always in training mode, which cuDNN's backward pass needs."""
        if probes is not None:
            raise ValueError("torch.nn gives no gradient of hidden states: use the variant loop or fused")
        if self._tokens is not None:
            inputs = functional.one_hot(inputs, self._tokens).to(state[0].dtype)  # the module takes vectors only
        self._module.dropout = dropout
        hidden, final = self._module(inputs, state if len(state) > 1 else state[0])
        return hidden, final if isinstance(final, tuple) else (final,)


def input_product(inputs: Tensor, weight_ih: Tensor, bias_ih: Tensor) -> Tensor:
    """Return zx (T, B, G*H) for all time steps at once; for tokens (T, B), a gather of biased columns of the weight."""
    if inputs.is_floating_point():
        return functional.linear(inputs, weight_ih, bias_ih)
    return functional.embedding(inputs, weight_ih.t() + bias_ih)


def _module(model: Model, device: torch.device, dtype: torch.dtype) -> nn.RNNBase:
    kind = type(model.cell)
    with torch.random.fork_rng(devices=[]):  # its own initialisation is overwritten and must not be felt
        if kind is LSTM:
            module: nn.RNNBase = nn.LSTM(model.inputs.size, model.hidden, model.layers)
        elif kind is GRU:
            module = nn.GRU(model.inputs.size, model.hidden, model.layers)
        else:
            nonlinearity = "relu" if kind is ReluRNN else "tanh"
            module = nn.RNN(model.inputs.size, model.hidden, model.layers, nonlinearity=nonlinearity)
    return module.to(device, dtype)
