"""The trainer: a network, its optimizer and the carried state, on one device."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from harness.contract import (
    Array,
    Batch,
    Dtype,
    Execution,
    Gradients,
    Model,
    Optimizer,
    Parameters,
    Placement,
    Snapshot,
    State,
    StepResult,
    Trainer,
    UsageError,
    array_dtype,
    check_state,
    named_state,
    state_of,
)
from harness_torch.batch import DeviceBatch, device_batch
from harness_torch.bptt import Network, detached, differentiate
from harness_torch.dropout import Randomness
from harness_torch.graph import GraphedGradients
from harness_torch.network import Weights
from harness_torch.recurrence.layer import States
from harness_torch.recurrence.ops import DTYPES, set_precision
from harness_torch.update import Update
from harness_torch.variants import VARIANTS, Engine


class TorchTrainer(Trainer):
    """One model on one device. Products are exact to the dtype: no TF32 unless asked for."""

    def __init__(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> None:
        set_precision(execution.dtype)
        self._model, self._execution = model, execution
        self._device, self._dtype = torch.device(execution.device), DTYPES[execution.dtype]
        self._weights: Weights = {}
        for name, shape in model.parameter_shapes().items():
            zeros = torch.zeros(shape, dtype=self._weight_dtype, device=self._device)
            self._weights[name] = torch.nn.Parameter(zeros)
        self._engine = VARIANTS[execution.variant].engine()
        self._network = self._network_of(self._engine)
        self._update = Update(optimizer, list(self._weights.values()))
        self._dropout = Randomness(execution.dropout_seed, self._device) if model.dropout else None
        self._wants_graph = (
            self._device.type == "cuda" and self._engine.fits_graph and not model.dropout
        )
        self._captured: GraphedGradients | None = None
        self._state: States | None = None
        self.load(parameters)

    def compile(self, batch: DeviceBatch) -> bool:
        """Compile the variant's programs, if it has any, for the shape of ``batch``."""
        if self._engine.compilations is None:
            return False
        self._differentiate(self._network, batch, None)
        self._forget_gradients()
        return True

    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch to the device.

        Raises:
            PluginError: a token or class is outside its range.
        """
        return device_batch(batch, self._model, self._device, self._weight_dtype)

    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update; on a GPU, return before it is done."""
        self._forget_gradients()
        graph = self._graph(batch)
        if graph is not None:
            loss, self._state = graph.run(batch, self._start(batch))
        else:
            with self._drawn():
                loss, self._state = differentiate(
                    self._trained(), batch, self._start(batch), self._chunk(batch)
                )
        norm, clipped = self._update.apply()
        return StepResult(loss, norm, clipped)

    def synchronize(self) -> None:
        """Wait for the GPU; the CPU has done its work."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @torch.no_grad()
    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        state, outputs = self._start(batch), []
        for part in batch.split(self._chunk(batch) or batch.time_steps):
            hidden, state = self._network.stack(part.inputs, state)
            outputs.append(_array(self._network.readout(hidden)))
        self._state = detached(state)
        return np.concatenate(outputs)

    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update.

        ``library`` cannot give ``hidden``: it comes from ``loop`` with the same weights. Loss and
        parameter gradients are those of the module.
        """
        if self._engine.takes_probes:
            probes = self._probes(batch)
            loss = self._differentiate(self._network, batch, probes)
            return Gradients(loss, self._take_gradients(), _gradient(probes))
        loss = self._differentiate(self._network, batch, None)
        named, probes = self._take_gradients(), self._probes(batch)
        self._differentiate(self._network_of(VARIANTS["loop"].engine()), batch, probes)
        self._forget_gradients()
        return Gradients(loss, named, _gradient(probes))

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""
        return {name: _array(weight) for name, weight in self._weights.items()}

    def load(self, parameters: Parameters) -> None:
        """Replace the parameters; the optimizer starts afresh.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        self._check_shapes(parameters)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.tensor(parameters[name], dtype=weight.dtype))
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
        check_state(self._model, state)
        self._state = tuple(
            torch.tensor(part, dtype=self._dtype, device=self._device) for part in state
        )

    def snapshot(self) -> Snapshot | None:
        """Return all that training changes."""
        weights = {f"weight {name}": _array(weight) for name, weight in self._weights.items()}
        draws = {} if self._dropout is None else self._dropout.snapshot()
        return weights | self._update.snapshot() | draws | named_state(self.state())

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where another trainer was."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.tensor(snapshot[f"weight {name}"]))
        self.load_state(state_of(snapshot))
        if self._dropout is not None:
            self._dropout.restore(snapshot)
        self._update.restore(snapshot)

    def peak_memory(self) -> int | None:
        """Return the peak of the caching allocator in bytes, or None on the CPU."""
        if self._device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self._device)

    def placement(self) -> Placement:
        """Return device and dtype of the carried state, and the precision of products."""
        tensor = next(iter(self._weights.values())) if self._state is None else self._state[0]
        precision = torch.get_float32_matmul_precision()
        return Placement(str(tensor.device), _named(tensor.dtype, precision), precision)

    def compilations(self) -> int | None:
        """Return how many programs this process has compiled; None: the variant never does."""
        return None if self._engine.compilations is None else self._engine.compilations()

    @property
    def _weight_dtype(self) -> torch.dtype:
        return DTYPES[array_dtype(self._execution.dtype)]

    def _check_shapes(self, parameters: Parameters) -> None:
        shapes = {name: np.shape(value) for name, value in parameters.items()}
        odd = {name for name, _ in shapes.items() ^ self._model.parameter_shapes().items()}
        if odd:
            raise UsageError(f"parameters do not fit the model: {', '.join(sorted(odd))}")

    def _trained(self) -> Network:
        """Return the network that a training step differentiates, dropout on."""
        return replace(self._network, dropout=self._model.dropout)

    def _network_of(self, engine: Engine) -> Network:
        """Return the network of an engine on the trainer's weights."""
        return Network(engine.stack(self._model, self._weights, self._dtype), self._weights)

    def _graph(self, batch: DeviceBatch) -> GraphedGradients | None:
        """Return the CUDA graph of this shape, or None if not wanted or it cannot be captured."""
        if not self._wants_graph or self._chunk(batch) is not None:
            return None
        if self._captured is None or not self._captured.fits(batch):
            try:
                self._captured = GraphedGradients(self._network, batch, self._start(batch))
            except RuntimeError as error:
                self._wants_graph, self._captured = False, None
                self._forget_gradients()
                warnings.warn(
                    f"no CUDA graph, so each operation is launched: {error}",
                    RuntimeWarning,
                    stacklevel=3,
                )
        return self._captured

    def _start(self, batch: DeviceBatch) -> States:
        if batch.carry and self._state is not None:
            return self._state
        return tuple(
            torch.zeros(shape, dtype=self._dtype, device=self._device)
            for shape in self._model.state_shapes(batch.size)
        )

    def _chunk(self, batch: DeviceBatch) -> int | None:
        return self._execution.chunk(batch.time_steps)

    def _drawn(self) -> AbstractContextManager[None]:
        return nullcontext() if self._dropout is None else self._dropout.drawn()

    def _probes(self, batch: DeviceBatch) -> Tensor:
        shape = (self._model.layers, batch.time_steps, batch.size, self._model.hidden)
        return torch.zeros(shape, dtype=self._dtype, device=self._device, requires_grad=True)

    def _differentiate(self, network: Network, batch: DeviceBatch, probes: Tensor | None) -> float:
        """Leave the gradients in the leaves; return the loss."""
        self._forget_gradients()
        loss, _ = differentiate(network, batch, self._start(batch), self._chunk(batch), probes)
        return loss.item()

    def _take_gradients(self) -> Parameters:
        named = {name: _gradient(weight) for name, weight in self._weights.items()}
        self._forget_gradients()
        return named

    def _forget_gradients(self) -> None:
        for weight in self._weights.values():
            weight.grad = None


def _named(dtype: torch.dtype, precision: str) -> str:
    """Return the contract's name of the dtype of products."""
    if dtype == torch.float32 and precision != "highest":
        return "tf32"
    names: dict[torch.dtype, Dtype] = {
        DTYPES[name]: name for name in ("float32", "float64", "bfloat16")
    }
    return names.get(dtype, str(dtype))


def _gradient(leaf: Tensor) -> Array:
    """Return a copy of a leaf's gradient; zeros if nothing depends on it."""
    return _array(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)


def _array(tensor: Tensor) -> Array:
    """Return a copy as a NumPy array, which has no bfloat16."""
    tensor = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
    array: Array = tensor.cpu().numpy().copy()
    return array
