"""The trainer: a network, its optimizer and the carried state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from harness_numpy.bptt import backpropagate, outputs
from harness_numpy.recurrence.device import DeviceBatch, device_batch
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.masks import Masks
from harness_numpy.recurrence.network import Network
from harness_numpy.update import clip, global_norm
from harness_numpy.variants import variant_of


class NumpyTrainer(Trainer):
    """One model on the CPU. Non-finite numbers give no warning: the runner looks at the loss."""

    def __init__(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> None:
        self._model, self._optimizer, self._execution = model, optimizer, execution
        self._dtype = array_dtype(execution.dtype)
        self._parameters = Flat(model.parameter_shapes(), self._dtype)
        self._gradients = Flat(model.parameter_shapes(), self._dtype)
        self._engine = variant_of(execution.variant).engine()
        self._network = self._new_network()
        self._update = self._engine.update(optimizer, self._parameters.vector)
        self._state: State | None = None
        self.load(parameters)

    def _new_network(self) -> Network[Any]:
        masks = Masks(
            self._model.dropout, self._model.layers, self._execution.dropout_seed, self._dtype
        )
        threads = self._execution.threads
        return self._engine.network(self._model, self._parameters, self._gradients, masks, threads)

    def compile(self, batch: DeviceBatch) -> bool:
        """Compile or load what a training step calls, by a step whose result is discarded."""
        if self._engine.compilations is None:
            return False
        with np.errstate(all="ignore"):
            backpropagate(self._new_network(), batch.chunks(1)[0], None, None, training=False)
            nothing: Array = np.zeros(1, self._dtype)
            self._engine.update(self._optimizer, nothing).apply(nothing, nothing.copy())
        return True

    def compilations(self) -> int | None:
        """Return how many kernels this process has compiled; None: the variant compiles nothing."""
        return None if self._engine.compilations is None else self._engine.compilations()

    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch, in the trainer's dtype.

        Raises:
            PluginError: a token or class is outside its range.
        """
        return device_batch(batch, self._model, self._dtype)

    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update."""
        with np.errstate(all="ignore"):
            loss, self._state = self._backpropagate(batch, training=True)
            norm = global_norm(self._gradients.vector)
            clipped = clip(self._optimizer, self._gradients.vector, norm)
            self._update.apply(self._parameters.vector, self._gradients.vector)
        return StepResult(loss, norm, clipped)

    def synchronize(self) -> None:
        """Return: NumPy has done its work."""

    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        with np.errstate(all="ignore"):
            state, chunk = self._carried(batch), self._chunk(batch)
            values, self._state = outputs(self._network, batch, chunk, state)
        return values

    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update."""
        shapes = self._model.state_shapes(batch.steps, batch.size)
        kept = shapes if self._network.keeps_states else shapes[:1]
        states = tuple(np.empty(shape, self._dtype) for shape in kept)
        with np.errstate(all="ignore"):
            loss, _ = self._backpropagate(batch, training=False, states=states)
        whole = len(states) == len(shapes)
        return Gradients(float(loss), self._gradients.copy(), states[0], states if whole else None)

    def _backpropagate(
        self, batch: DeviceBatch, *, training: bool, states: Sequence[Array] = ()
    ) -> tuple[np.floating[Any], State]:
        state, chunk = self._carried(batch), self._chunk(batch)
        return backpropagate(self._network, batch, chunk, state, training=training, states=states)

    def _chunk(self, batch: DeviceBatch) -> int | None:
        return self._execution.chunk(batch.steps)

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
        if state is None:
            self._state = None
            return
        check_state(self._model, state)
        self._state = tuple(np.array(part, dtype=self._dtype) for part in state)

    def snapshot(self) -> Snapshot:
        """Return all that training changes."""
        masks, state = self._network.masks.snapshot(), named_state(self.state())
        return {**self.parameters(), **self._update.snapshot(), **masks, **state}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where another trainer was."""
        self._parameters.assign({name: snapshot[name] for name in self._parameters.views})
        self._update.restore(snapshot)
        self._network.masks.restore(snapshot)
        self.load_state(state_of(snapshot))

    def placement(self) -> Placement:
        """Return the CPU, and the dtype of the parameters."""
        return Placement("cpu", str(next(iter(self.parameters().values())).dtype))

    def _carried(self, batch: DeviceBatch) -> State | None:
        if not batch.carry or self._state is None:
            return None
        if (size := self._state[0].shape[1]) != batch.size:
            raise UsageError(
                f"the batch has {batch.size} sequences but the carried state has {size}: "
                "load a state that fits, or None"
            )
        return self._state
