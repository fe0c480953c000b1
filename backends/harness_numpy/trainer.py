"""The trainer: a network, its optimizer and the carried state."""

from __future__ import annotations

from functools import partial

import numpy as np

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
from harness_numpy.device import DeviceBatch, device_batch
from harness_numpy.flat import Flat
from harness_numpy.network import Network
from harness_numpy.recurrence import MakeRecurrence, Recurrence
from harness_numpy.update import Update, clip, global_norm


class NumpyTrainer(Trainer):
    """One model on the CPU. Not-finite numbers are results here, not warnings: the runner looks at the loss."""

    def __init__(self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution) -> None:
        self._model, self._optimizer, self._dtype = model, optimizer, execution.dtype
        self._parameters = Flat(model.parameter_shapes(), execution.dtype)
        self._gradients = Flat(model.parameter_shapes(), execution.dtype)
        masks = np.random.default_rng(execution.dropout_seed)
        self._network = Network(model, self._parameters, self._gradients, execution.dtype, masks, _recurrence(execution))
        self._update = Update(optimizer, self._parameters.vector)
        self._state: State | None = None
        self.load(parameters)

    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch, in the trainer's dtype.

        Raises:
            PluginError: a token or class is outside its range.
        """
        return device_batch(batch, self._model, self._dtype)

    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update."""
        with np.errstate(all="ignore"):
            work = self._network.forward(batch, self._carried(batch), training=True)
            self._state = work.final()
            loss = self._network.backward(batch, work)
            norm = global_norm(self._gradients.vector)
            clipped = clip(self._optimizer, self._gradients.vector, norm)
            self._update.apply(self._parameters.vector, self._gradients.vector)
        return StepResult(loss, norm, clipped)

    def synchronize(self) -> None:
        """Return: NumPy has done its work."""

    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        with np.errstate(all="ignore"):
            work = self._network.forward(batch, self._carried(batch), training=False)
            self._state = work.final()
            return self._network.outputs(work).reshape(batch.steps, batch.size, self._model.outputs)

    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update."""
        with np.errstate(all="ignore"):
            work = self._network.forward(batch, self._carried(batch), training=False)
            loss = float(self._network.backward(batch, work))
        return Gradients(loss, self._gradients.copy(), work.d_hidden.copy())

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""
        return self._parameters.copy()

    def load(self, parameters: Parameters) -> None:
        """Replace the parameters; the optimizer starts afresh.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        self._parameters.assign(parameters)
        self._update.reset()

    def state(self) -> State | None:
        """Return a copy of the carried state, each (layers, B, H), or None."""
        return None if self._state is None else tuple(part.copy() for part in self._state)

    def load_state(self, state: State | None) -> None:
        """Carry this state into the next batch that asks for it.

        Raises:
            UsageError: a shape is not (layers, B, H), or their number is not the cell's.
        """
        if state is not None:
            self._check(state)
        self._state = None if state is None else tuple(np.array(part, dtype=self._dtype) for part in state)

    def placement(self) -> Placement:
        """Return the CPU, and the dtype of the parameters."""
        return Placement("cpu", str(next(iter(self.parameters().values())).dtype))

    def _check(self, state: State) -> None:
        expected = (self._model.layers, np.shape(state[0])[1], self._model.hidden)
        if len(state) != len(self._model.cell.states) or any(np.shape(part) != expected for part in state):
            raise UsageError(f"a state of {self._model.cell.name} is {self._model.cell.states}, each {expected}")

    def _carried(self, batch: DeviceBatch) -> State | None:
        return self._state if batch.carry else None


def _recurrence(execution: Execution) -> MakeRecurrence:
    """Return what makes the recurrences of this variant; the kernel is built here where it is not yet."""
    if execution.variant != "native":
        return Recurrence
    from harness_numpy.native import NativeRecurrence
    from harness_native import library

    library()
    return partial(NativeRecurrence, threads=execution.threads)
