"""What a plugin hands back is checked here, once, so that a broken one fails with its name and not with nonsense."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.contract import Array, Batch, Dtype, Model, PluginError, StepResult, Task, Trainer
from harness.contract.record import finite


@dataclass(frozen=True)
class Step:
    """A ``StepResult`` that has been fetched."""

    loss: float
    norm: float
    clipped: bool


def check_step(result: Any, label: str) -> Step:
    """Fetch the scalars of a training step, which waits for the work behind them.

    Raises:
        PluginError: it is no ``StepResult`` of numbers.
    """
    if not isinstance(result, StepResult):
        raise PluginError(f"invalid step: expected a StepResult, got {type(result).__name__}; {label}")
    try:
        return Step(float(result.loss), float(result.gradient_norm), bool(result.clipped))
    except (TypeError, ValueError) as error:
        raise PluginError(f"invalid step: loss and gradient norm must be scalars ({error}); {label}") from error


def checked_outputs(trainer: Trainer, batch: Batch, model: Model, dtype: Dtype, label: str) -> Array:
    """Return the outputs (T, B, K) of a host batch, dropout off.

    Raises:
        PluginError: they have another shape or dtype, or are no NumPy array.
    """
    outputs = trainer.outputs(trainer.put(batch))
    shape = (batch.time_steps, batch.size, model.outputs)
    if not isinstance(outputs, np.ndarray) or outputs.shape != shape or outputs.dtype != dtype:
        raise PluginError(f"invalid output: expected (T, B, K) = {shape} {dtype}, got {_describe(outputs)}; {label}")
    return outputs


def check_parameters(trainer: Trainer, model: Model, dtype: Dtype, label: str) -> dict[str, Array]:
    """Return the trainer's parameters, whose names, shapes and dtype are the model's.

    Raises:
        PluginError: they are not.
    """
    parameters = trainer.parameters()
    if not isinstance(parameters, dict):
        raise PluginError(f"invalid parameters: expected a dict of arrays, got {_describe(parameters)}; {label}")
    expected = {name: f"{shape} {dtype}" for name, shape in model.parameter_shapes().items()}
    found = {name: _describe(array) for name, array in parameters.items()}
    if found != expected:
        wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        pairs = (f"{name}: expected {expected.get(name)}, got {found.get(name)}" for name in wrong)
        raise PluginError(f"invalid parameters: {'; '.join(pairs)}; {label}")
    return parameters


def checked_batches(batches: Iterator[Batch], sequences: int, label: str) -> Iterator[Batch]:
    """Yield a task's training batches.

    Raises:
        PluginError: they end, or one has no position that counts or another number of sequences.
    """
    for batch in batches:
        if not isinstance(batch, Batch) or batch.size != sequences or not batch.mask.any():
            raise PluginError(f"invalid batch: expected {sequences} sequences with a scored position; {label}")
        yield batch
    raise PluginError(f"invalid batches: training data ended, but it must go on without end; {label}")


def checked_loss(name: str, loss: Any, label: str) -> float:
    """Return the loss of a predictor that a task computes, as a float.

    Raises:
        PluginError: it is no finite number.
    """
    try:
        number = float(loss)
    except (TypeError, ValueError) as error:
        raise PluginError(f"invalid {name}: expected a number, got {loss!r}; {label}") from error
    if not math.isfinite(number):
        raise PluginError(f"invalid {name}: expected a finite number, got {loss!r}; {label}")
    return number


def checked_facts(task: Task, label: str) -> dict[str, Any]:
    """Return what a task tells about itself.

    Raises:
        PluginError: it cannot be stored.
    """
    facts: dict[str, Any] = finite(task.facts())
    try:
        json.dumps(facts)
    except (TypeError, ValueError) as error:
        raise PluginError(f"invalid facts: expected a dict of JSON values ({error}); {label}") from error
    return facts


def check_evaluation(name: str, batches: Sequence[Batch], label: str) -> None:
    """Check the batches that a task wants its network evaluated on.

    Raises:
        PluginError: there is none, or one is no batch or has no position that counts.
    """
    if not batches or not all(isinstance(batch, Batch) and batch.mask.any() for batch in batches):
        raise PluginError(f"invalid {name}: expected batches, each with a scored position; {label}")


def _describe(value: Any) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
