"""The trainer: compiled functions, weights, the optimizer's moments and the carried state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax import Array as Tensor

from harness.contract import (
    Array,
    Batch,
    Execution,
    Gradients,
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
from harness_jax.batch import DeviceBatch, device_batch
from harness_jax.batch_sharding import BatchSharding, parts
from harness_jax.cache import bound_cache, uncached
from harness_jax.compilations import compilations
from harness_jax.device import STATE_DTYPES, devices, failures, matmul_precision, put, settings
from harness_jax.functions import Functions, Progress
from harness_jax.traced import States, Traced


class Scalar:
    """A number on a device, fetched by NumPy: ``float`` of a JAX array takes ten times as long."""

    __slots__ = ("array",)

    def __init__(self, array: Tensor) -> None:
        self.array = array

    def __float__(self) -> float:
        return float(np.asarray(self.array))

    def __bool__(self) -> bool:
        return bool(np.asarray(self.array))


class JaxTrainer(Trainer):
    """One network on one device or several alike.

    The training step is compiled once per shape, ahead of time, with or without carry. The network
    may be another library's: any ``harness_jax.traced.Traced``.
    """

    def __init__(
        self, network: Traced, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> None:
        bound_cache()
        self._network, self._model, self._rule = network, network.model, optimizer
        self._dtype, self._array_dtype = execution.dtype, array_dtype(execution.dtype)
        self._state_dtype = STATE_DTYPES[execution.dtype]
        self._sharding = BatchSharding(execution.device, execution.devices)
        self._device = self._sharding.devices[0]
        with self._settings():
            self._functions = Functions(network, optimizer, execution.dropout_seed, self._sharding)
        self._steps: dict[tuple[int, int], Callable[..., Any]] = {}
        self._outputs = jax.jit(self._functions.outputs)
        self._gradients = jax.jit(self._functions.gradients)
        self._progress: Progress
        self._state: States | None = None
        self._zeros: dict[int, States] = {}
        self.load(parameters)

    def compile(self, batch: DeviceBatch) -> bool:
        """Compile the training step for (T, B) of ``batch``; every ``train_step`` uses it.

        JAX's cache of compiled programs is not used.
        """
        with uncached():
            self._compile(batch)
        return True

    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch to the device.

        Raises:
            PluginError: a token or class is outside its range.
        """
        with self._settings():
            return device_batch(batch, self._model, self._sharding, self._array_dtype)

    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update; return before it is done, unless it may fail.

        Raises:
            HarnessError: an iteration has not converged; the weights are lost: load them again.
        """
        if batch.shape not in self._steps:
            self._compile(batch)
        step, rate = self._steps[batch.shape], self._next_rate()
        with failures():
            self._progress, self._state, figures = step(
                self._progress, batch.arrays, self._start(batch), rate
            )
            if self._network.may_fail:
                self.synchronize()
        return StepResult(*map(Scalar, figures))

    def synchronize(self) -> None:
        """Wait for weights and carried state."""
        for array in jax.tree.leaves((self._progress, self._state)):
            array.block_until_ready()

    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        with self._settings(), failures():
            outputs, self._state = self._outputs(
                self._progress.weights, batch.arrays.inputs, self._start(batch)
            )
            return np.array(outputs)

    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update."""
        with self._settings(), failures():
            loss, named, hidden = self._gradients(
                self._progress.weights, batch.arrays, self._start(batch)
            )
            hidden.block_until_ready()
        named = {name: np.array(named[name]) for name in self._model.parameter_shapes()}
        return Gradients(float(loss), named, np.array(hidden))

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""
        kept = self._rule.share_kept(self._count)
        start = {name: (kept * value).astype(value.dtype) for name, value in self._loaded.items()}
        with self._settings():
            named = self._functions.parameters(self._progress.weights, start)
        return {name: np.array(named[name]) for name in self._model.parameter_shapes()}

    def load(self, parameters: Parameters) -> None:
        """Replace the parameters; the optimizer starts afresh.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        shapes = {name: np.shape(value) for name, value in parameters.items()}
        if odd := sorted(
            {name for name, _ in shapes.items() ^ self._model.parameter_shapes().items()}
        ):
            raise UsageError(f"parameters do not fit the model: {', '.join(odd)}")
        with self._settings():
            self._loaded = {
                name: np.array(value, self._array_dtype) for name, value in parameters.items()
            }
            named = {
                name: put(value, self._array_dtype, self._sharding.everywhere)
                for name, value in self._loaded.items()
            }
            self._progress = jax.device_put(self._functions.begin(named), self._sharding.everywhere)
            self._count, self._last_rate = 0, self._rule.learning_rate_at(0)
            self._rate = self._put_rate(self._last_rate)

    def state(self) -> State | None:
        """Return a copy of the carried state, each (layers, B, H), or None."""
        if self._state is None:
            return None
        return tuple(np.array(part, self._array_dtype) for part in self._state)

    def load_state(self, state: State | None) -> None:
        """Carry this state into the next batch that asks for it.

        Raises:
            UsageError: a shape is not (layers, B, H), or their number is not the cell's.
        """
        if state is not None:
            check_state(self._model, state)
        with self._settings():
            self._state = None if state is None else self._put_state(state)

    def snapshot(self) -> Snapshot:
        """Return all that training changes. Dropout masks follow from the number of updates."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(self._progress)
        arrays = {jax.tree_util.keystr(path): np.array(leaf) for path, leaf in leaves}
        return arrays | named_state(self.state())

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where another trainer was."""
        leaves, tree = jax.tree_util.tree_flatten_with_path(self._progress)
        with self._settings():
            arrays = [
                put(snapshot[jax.tree_util.keystr(path)], leaf.dtype, self._sharding.everywhere)
                for path, leaf in leaves
            ]
        self._progress = jax.tree.unflatten(tree, arrays)
        self._count = int(np.asarray(self._progress.updates))
        self.load_state(state_of(snapshot))

    def peak_memory(self) -> int | None:
        """Return the largest peak of the devices' allocators in bytes, or None on the CPU."""
        if self._device.platform == "cpu":
            return None
        peaks = [
            (device.memory_stats() or {}).get("peak_bytes_in_use")
            for device in self._sharding.devices
        ]
        return max((peak for peak in peaks if peak is not None), default=None)

    def placement(self) -> Placement:
        """Return device and dtype of the carried state, and the precision of products."""
        tensor = jax.tree.leaves(self._progress if self._state is None else self._state)[0]
        used_devices = tensor.devices()
        name = next(
            (name for name, device in devices().items() if device in used_devices),
            str(used_devices),
        )
        precision = matmul_precision(self._dtype)
        rounded = tensor.dtype == np.float32 and precision != "highest"
        shares = 1 if self._state is None else parts(tensor)
        return Placement(name, "tf32" if rounded else str(tensor.dtype), precision, shares)

    def compilations(self) -> int:
        """Return how often XLA has compiled here since the first trainer was made."""
        return compilations()

    def _compile(self, batch: DeviceBatch) -> None:
        with self._settings():
            rate = self._put_rate(self._rule.learning_rate_at(0))
            step = jax.jit(self._functions.step, donate_argnums=0)
            lowered = step.lower(self._progress, batch.arrays, self._start(batch), rate)
            self._steps[batch.shape] = lowered.compile()

    def _settings(self) -> AbstractContextManager[None]:
        return settings(self._device, self._dtype)

    def _start(self, batch: DeviceBatch) -> States:
        if batch.carry and self._state is not None:
            return self._state
        size = batch.shape[1]
        if size not in self._zeros:
            zeros = [np.zeros(shape) for shape in self._model.state_shapes(size)]
            with self._settings():
                self._zeros[size] = self._put_state(zeros)
        return self._zeros[size]

    def _put_state(self, state: Sequence[Array]) -> States:
        return tuple(
            put(part, self._state_dtype, self._sharding.of_batch(part.shape[1])) for part in state
        )

    def _put_rate(self, rate: float) -> Tensor:
        return put(rate, self._array_dtype, self._sharding.everywhere)

    def _next_rate(self) -> Tensor:
        """Return this update's learning rate on the device, copied there only if it changes."""
        rate = self._rule.learning_rate_at(self._count)
        if rate != self._last_rate:
            with self._settings():
                self._rate, self._last_rate = self._put_rate(rate), rate
        self._count += 1
        return self._rate
