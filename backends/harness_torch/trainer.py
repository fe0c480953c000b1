"""The trainer: a network, its optimizer and the carried state, on one device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.contract import (
    Array,
    Batch,
    Execution,
    Gradients,
    Model,
    Optimizer,
    Parameters,
    Placement,
    State,
    StepResult,
    Trainer,
    UsageError,
)
from harness_torch.batch import DeviceBatch, device_batch
from harness_torch.dropout import Randomness
from harness_torch.layer import States
from harness_torch.network import LAYERS, CellStack, LibraryStack, Stack, Weights
from harness_torch.ops import DTYPES
from harness_torch.update import Update


class TorchTrainer(Trainer):
    """One model on one device. Products are exact to the dtype: TF32 is switched off."""

    def __init__(self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution) -> None:
        forbid_tf32()
        self._model = model
        self._device, self._dtype = torch.device(execution.device), DTYPES[execution.dtype]
        self._stack, self._weights = self._build(execution.variant)
        self._update = Update(optimizer, list(self._weights.values()))
        self._dropout = Randomness(execution.dropout_seed, self._device) if model.dropout else None
        self._state: States | None = None
        self.load(parameters)

    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch to the device.

        Raises:
            PluginError: a token or class is outside its range.
        """
        return device_batch(batch, self._model, self._device, self._dtype)

    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update; on a GPU, return before it is done."""
        for weight in self._weights.values():
            weight.grad = None
        start = self._start(batch)
        if self._dropout is None:
            hidden, state = self._stack(batch.inputs, start)
        else:
            with self._dropout.drawn():
                hidden, state = self._stack(batch.inputs, start, self._model.dropout)
        loss = batch.loss(self._readout(hidden))
        loss.backward()  # type: ignore[no-untyped-call]
        norm, clipped = self._update.apply()
        self._state = _detached(state)
        return StepResult(loss.detach(), norm, clipped)

    def synchronize(self) -> None:
        """Wait for the GPU; the CPU has done its work."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @torch.no_grad()
    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        hidden, state = self._stack(batch.inputs, self._start(batch))
        self._state = _detached(state)
        return _array(self._readout(hidden))

    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update.

        For ``library``, loss and parameter gradients are the module's own, and ``hidden``, which it cannot give, comes
        from ``loop`` with the same weights.
        """
        weights = list(self._weights.values())
        if not isinstance(self._stack, LibraryStack):
            loss, *tensors = self._differentiate(self._stack, batch, weights, self._probes(batch))
            return self._gradients(loss, tensors[:-1], tensors[-1])
        loss, *tensors = self._differentiate(self._stack, batch, weights, None)
        loop = CellStack(self._model, LAYERS["loop"], self._weights)
        _, hidden = self._differentiate(loop, batch, [], self._probes(batch))
        return self._gradients(loss, tensors, hidden)

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""
        return {name: _array(weight) for name, weight in self._weights.items()}

    def load(self, parameters: Parameters) -> None:
        """Replace the parameters; the optimizer starts afresh.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        shapes = {name: np.shape(value) for name, value in parameters.items()}
        expected = self._model.parameter_shapes()
        if odd := sorted(name for name, _ in shapes.items() ^ expected.items()):
            raise UsageError(f"parameters do not fit the model: {', '.join(dict.fromkeys(odd))}")
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.tensor(parameters[name], dtype=self._dtype))
        self._update.reset()

    def state(self) -> State | None:
        """Return a copy of the carried state, each (layers, B, H), or None."""
        return None if self._state is None else tuple(_array(part) for part in self._state)

    def load_state(self, state: State | None) -> None:
        """Carry this state into the next batch that asks for it.

        Raises:
            UsageError: a shape is not (layers, B, H), or their number is not the cell's.
        """
        if state is None:
            self._state = None
            return
        expected = (self._model.layers, np.shape(state[0])[1], self._model.hidden)
        if len(state) != len(self._model.cell.states) or any(np.shape(part) != expected for part in state):
            raise UsageError(f"a state of {self._model.cell.name} is {self._model.cell.states}, each {expected}")
        self._state = tuple(torch.tensor(part, dtype=self._dtype, device=self._device) for part in state)

    def peak_memory(self) -> int | None:
        """Return the peak of the caching allocator in bytes, or None on the CPU."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def placement(self) -> Placement:
        """Return where the carried state of the last step lies, and torch's precision of float32 products."""
        tensor = next(iter(self._weights.values())) if self._state is None else self._state[0]
        names = {dtype: name for name, dtype in DTYPES.items()}
        dtype = names.get(tensor.dtype, str(tensor.dtype))
        return Placement(str(tensor.device), dtype, torch.get_float32_matmul_precision())

    def _build(self, variant: str) -> tuple[Stack, Weights]:
        """Return the stack and all weights, in the order of the model; ``load`` fills them."""
        weights: Weights = {
            name: torch.zeros(shape, dtype=self._dtype, device=self._device, requires_grad=True)
            for name, shape in self._model.parameter_shapes().items()
        }
        if variant != "library":
            return CellStack(self._model, LAYERS[variant], weights), weights
        stack = LibraryStack(self._model, self._device, self._dtype)
        return stack, weights | stack.weights

    def _start(self, batch: DeviceBatch) -> States:
        if batch.carry and self._state is not None:
            return self._state
        shape = (self._model.layers, batch.size, self._model.hidden)
        return tuple(torch.zeros(shape, dtype=self._dtype, device=self._device) for _ in self._model.cell.states)

    def _readout(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self._weights["weight_out"], self._weights["bias_out"])

    def _probes(self, batch: DeviceBatch) -> Tensor:
        shape = (self._model.layers, batch.inputs.shape[0], batch.size, self._model.hidden)
        return torch.zeros(shape, dtype=self._dtype, device=self._device, requires_grad=True)

    def _differentiate(
        self, stack: Stack, batch: DeviceBatch, weights: list[Tensor], probes: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Return the loss, its gradient for each weight, and, where there are probes, for them."""
        hidden, _ = stack(batch.inputs, self._start(batch), probes=probes)
        loss = batch.loss(self._readout(hidden))
        wanted = weights if probes is None else [*weights, probes]
        return loss, *torch.autograd.grad(loss, wanted, materialize_grads=True)

    def _gradients(self, loss: Tensor, tensors: list[Tensor], hidden: Tensor) -> Gradients:
        named = {name: _array(tensor) for name, tensor in zip(self._weights, tensors, strict=True)}
        return Gradients(loss.item(), named, _array(hidden))


def forbid_tf32() -> None:
    """Let float32 products be exact to float32."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def _detached(state: States) -> States:
    return tuple(part.detach() for part in state)


def _array(tensor: Tensor) -> Array:
    """Return a copy as a NumPy array."""
    array: Array = tensor.detach().cpu().numpy().copy()
    return array
