"""Keras's layers on eager PyTorch: the PyTorch trainer with Keras's variables as weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.contract import (
    Array,
    Execution,
    Gradients,
    Model,
    Optimizer,
    Parameters,
    Snapshot,
    StepResult,
)
from harness_keras.stack import Stack, weights_of
from harness_torch.batch import DeviceBatch
from harness_torch.network import Weights
from harness_torch.recurrence.layer import States
from harness_torch.trainer import TorchTrainer
from harness_torch.update import Update


class KerasTorchTrainer(TorchTrainer):
    """One model on one device. For d loss / d h_t a probe is added to each h_t of its cells."""

    def __init__(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> None:
        self._conversion = Conversion(model, torch.device(execution.device))
        with keras.device(execution.device):
            self._keras = KerasStack(model)
        super().__init__(model, optimizer, parameters, replace(execution, variant="loop"))
        self._weights = self._keras.weights  # in place of the core's, and of their loop over time
        self._network = replace(self._network, stack=self._keras, weights=self._weights)
        once: list[Tensor] = []
        twice: list[Tensor] = []
        for weight, merged in zip(self._weights.values(), self._conversion.merged, strict=True):
            (twice if merged else once).append(weight)
        self._update = Update(optimizer, once, twice)

    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update."""
        for weight in self._weights.values():
            weight.grad = None
        with self._drawn(), keras.device(str(self._device)):
            outputs, state = self._keras(batch.inputs, self._start(batch), self._model.dropout)
        loss = batch.loss(outputs)
        loss.backward()  # type: ignore[no-untyped-call]
        norm, clipped = self._update.apply()
        self._state = tuple(part.detach() for part in state)
        return StepResult(loss.detach(), norm, clipped)

    @torch.no_grad()
    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        with keras.device(str(self._device)):
            outputs, self._state = self._keras(batch.inputs, self._start(batch))
        return _array(outputs)

    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update."""
        probes = self._probes(batch)
        with keras.device(str(self._device)):
            loss = batch.loss(self._keras(batch.inputs, self._start(batch), probes=probes)[0])
        leaves = [*self._weights.values(), probes]
        *tensors, hidden = torch.autograd.grad(loss, leaves, materialize_grads=True)
        return Gradients(loss.item(), self._conversion.gradients(tensors), _array(hidden))

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""
        kept = self._update.share_kept()
        loaded = {name: (kept * value).astype(value.dtype) for name, value in self._loaded.items()}
        return self._conversion.parameters(list(self._keras.weights.values()), loaded)

    def load(self, parameters: Parameters) -> None:
        """Replace the parameters; the optimizer starts afresh.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        self._check_shapes(parameters)
        self._loaded = {name: np.array(value, np.float32) for name, value in parameters.items()}
        with torch.no_grad():
            values = self._conversion.weights(self._loaded)
            for weight, value in zip(self._keras.weights.values(), values, strict=True):
                weight.copy_(value)
        self._update.reset()

    def snapshot(self) -> Snapshot | None:
        """Return all that training changes; None with dropout, whose seeds Keras counts itself."""
        return None if self._model.dropout else super().snapshot()


class KerasStack:
    """``Stack`` as the PyTorch trainer calls it; its result is the readout's."""

    def __init__(self, model: Model) -> None:
        self._stack = Stack(model)
        one_hot = model.inputs.kind == "token" and model.embedding is None
        self._tokens = model.inputs.size if one_hot else None
        self.weights: Weights = {
            f"{n}_{var.name}": var.value for n, var in enumerate(self._stack.variables)
        }

    def __call__(
        self, inputs: Tensor, state: States, dropout: float = 0.0, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Call Keras's layers; they apply dropout themselves, if its rate is not 0."""
        if self._tokens is not None:
            inputs = functional.one_hot(inputs, self._tokens).to(state[0].dtype)
        return self._stack(inputs, state, training=dropout > 0, probes=probes)


class Conversion:
    """The linear map from the core's parameters to Keras's weights, and back.

    Attributes:
        merged: for each weight, whether it is a bias that replaces b_ih + b_hh.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self._model, self._device = model, device
        from_ones = self.weights(
            {name: np.ones(shape, np.float32) for name, shape in model.parameter_shapes().items()}
        )
        self.merged = [weight.flatten()[0].item() > 1 for weight in from_ones]

    def weights(self, parameters: Parameters) -> list[Tensor]:
        """Return Keras's weights."""
        return self._weights(self._tensors(parameters))

    def gradients(self, weights: Sequence[Tensor]) -> Parameters:
        """Return d loss / d parameter by name, given d loss / d weight."""
        return {name: _array(tensor) for name, tensor in self._pulled(weights).items()}

    def parameters(self, weights: Sequence[Tensor], loaded: Parameters) -> Parameters:
        """Return the loaded parameters plus the moves of the weights, halved if two share one.

        ``loaded`` is what weight decay has left of them, as in ``harness_jax.conversion``.
        """
        moved = [
            (now.detach() - before) / (2 if merged else 1)
            for now, before, merged in zip(weights, self.weights(loaded), self.merged, strict=True)
        ]
        return {name: loaded[name] + _array(change) for name, change in self._pulled(moved).items()}

    def _pulled(self, weights: Sequence[Tensor]) -> dict[str, Tensor]:
        shapes = self._model.parameter_shapes()
        start = self._tensors({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
        for tensor in start.values():
            tensor.requires_grad_()
        pulled = torch.autograd.grad(self._weights(start), list(start.values()), list(weights))
        return dict(zip(start, pulled, strict=True))

    def _weights(self, parameters: Mapping[str, Tensor]) -> list[Tensor]:
        with keras.device(str(self._device)):
            return weights_of(self._model, parameters)

    def _tensors(self, parameters: Parameters) -> dict[str, Tensor]:
        return {
            name: torch.tensor(value, device=self._device) for name, value in parameters.items()
        }


def _array(tensor: Tensor) -> Array:
    """Return a copy as a NumPy array."""
    return np.array(tensor.detach().cpu().numpy())
