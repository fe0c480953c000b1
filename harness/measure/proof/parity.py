"""Parity: the loss and every gradient of an engine agree with the float64 reference.

This proof goes with every speed figure. It covers ``gradients()`` and also ``train_step()``, which
is what the clock times, because an engine may compute the two differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import (
    Array,
    ArrayDtype,
    Backend,
    Batch,
    DivergedError,
    Dtype,
    Execution,
    Gradients,
    Model,
    Optimizer,
    Parameters,
    PluginError,
    Trainer,
    array_dtype,
    epsilon,
    rounded,
)
from harness.contract.backend import Checkpoint
from harness.measure.proof.streams import generator
from harness.plugins.validation import check_step, shape_and_dtype

SEQUENCES = 4
ROUNDING_FACTOR = 10.0  # times the effect of rounding weights and inputs on the reference
# In bfloat16, ten times the rounding effect is larger than the gradient itself over long sequences
# and would prove nothing. Correct engines were measured at up to 0.15.
LARGEST_TOLERANCE = 0.25
# Differences below this floor are never an error. An engine may sum over time step by step. If most
# steps are alike (the blanks of ``copy``), correct float32 was measured at up to 0.41 epsilons per
# time step, T = 200..3000.
FLOOR_EPSILONS = 64.0
FLOOR_EPSILONS_PER_STEP = 1.0
# Of the norm only, times the fourth root of the number of parameters n. A sum in blocks of sqrt(n)
# adds sqrt(n) numbers one by one, twice, and rounding errors grow with the square root of the
# number of additions. For n = 10 million it allows 56 epsilons. A single float32 sum was off by
# 1,500 to 3,000, because a large sum loses small squares.
FLOOR_EPSILONS_OF_NORM = 1.0
# The rate is so large that the rounding of the weights is negligible compared with the update.
STEP = Optimizer("sgd", learning_rate=2.0**30)
TRAIN_STEP = " (train_step)"  # suffix of the names of tensors from a training step
LONG = 2048  # time steps beyond which the reference checkpoints
PIECE = 2**20  # elements of two tensors that are compared at a time
SMALLEST_SCALE = 1e-4  # of the largest gradient element: the least scale for vanishing tensors

Change = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Parity:
    """How far one backend is from the reference at one model, shape, dtype and variant.

    Attributes:
        error: max |a - b| / scale of the worst tensor (largest error / tolerance).
        tolerance: of that tensor.
        tensor: its name: a parameter's, ``loss``, ``hidden`` or ``gradient_norm``; followed by
            `` (train_step)`` if it comes from a training step.
        passed: every tensor's error is within its tolerance.
        errors: by tensor; infinite if a value is not finite.
        tolerances: by tensor.
    """

    error: float
    tolerance: float
    tensor: str
    passed: bool
    errors: Mapping[str, float]
    tolerances: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        verdict = "agrees" if self.passed else "disagrees"
        size = f"{self.tensor} off by {self.error:.1e} ({self.tolerance:.1e} allowed)"
        return f"{verdict} with the float64 reference: {size}"


def measure_parity(
    backend: Backend,
    reference: Backend,
    model: Model,
    parameters: Parameters,
    batch: Batch,
    execution: Execution,
) -> Parity:
    """Compare ``backend`` with the float64 ``reference`` on sequences of ``batch``, no dropout.

    The first four sequences are taken, or the next multiple of the execution's devices.

    The reference gets weights and inputs that are already rounded to the trial's dtype, so that
    only the arithmetic differs. The tolerance of a tensor comes from the reference itself: change
    every weight and input by half an epsilon of that dtype, the most that rounding can do. The
    tolerance is ten times the change of the tensor, plus a floor of 64 epsilons and one per time
    step, but at most a quarter of the tensor's largest element. The floor of the norm grows with
    the number of parameters, as the rounding of a sum in blocks does.

    The gradients of ``train_step`` are computed from the weights before and after one step of plain
    gradient descent.

    Args:
        backend: to be judged.
        reference: its ``reference_variant`` runs in float64 on ``cpu``.
        model: the function.
        parameters: float64 weights.
        batch: of the trial's length; at least one of its first four sequences has a scored
            position.
        execution: of the trial.

    Raises:
        PluginError: a tensor is missing, or its shape or dtype is not that of the contract.
        DivergedError: the reference itself is not finite here.
    """
    sequences = -(-SEQUENCES // execution.devices) * execution.devices
    start = _Start(parameters, batch.first(sequences)).rounded(execution.dtype)
    checkpoint = _reference_checkpoint(reference, execution, batch.time_steps)
    equations = _Reference(reference, model, checkpoint)
    exact = equations.tensors(start)
    moved = _distances(equations.tensors(start.nudged(epsilon(execution.dtype) / 2)), exact)
    distances = _candidate_distances(backend, model, start, execution, exact)
    scales = _scales(exact)
    epsilons = dict.fromkeys(scales, FLOOR_EPSILONS + FLOOR_EPSILONS_PER_STEP * batch.time_steps)
    numbers = sum(np.size(value) for value in parameters.values())
    epsilons["gradient_norm"] += FLOOR_EPSILONS_OF_NORM * numbers**0.25
    errors, tolerances = dict[str, float](), dict[str, float]()
    for name, distance in distances.items():
        exact_name = name.removesuffix(TRAIN_STEP)
        scale = scales[exact_name]
        rounding = ROUNDING_FACTOR * moved[exact_name] / scale
        floor = epsilons[exact_name] * epsilon(execution.dtype)
        errors[name] = distance / scale
        tolerances[name] = min(rounding + floor, LARGEST_TOLERANCE)
    worst = max(errors, key=lambda name: errors[name] / tolerances[name])
    passed = errors[worst] <= tolerances[worst]
    return Parity(
        errors[worst], tolerances[worst], worst, passed, errors=errors, tolerances=tolerances
    )


@dataclass(frozen=True, eq=False)
class _Start:
    """Weights and a batch, changed together."""

    parameters: Parameters
    batch: Batch

    def rounded(self, dtype: Dtype) -> _Start:
        """Return both rounded to ``dtype``, as float64."""
        return self._changed(lambda array: rounded(array, dtype))

    def nudged(self, relative: float) -> _Start:
        """Return both with every number made larger or smaller by ``relative``, at random."""
        rng = generator(0, "parity")
        return self._changed(
            lambda array: array * (1 + relative * rng.choice([-1.0, 1.0], array.shape))
        )

    def _changed(self, change: Change) -> _Start:
        batch = changed_batch(self.batch, change)
        parameters = {
            name: change(np.asarray(value, np.float64)) for name, value in self.parameters.items()
        }
        return _Start(parameters, batch)


def changed_batch(batch: Batch, change: Change) -> Batch:
    """Return the batch with ``change`` applied to real inputs and targets, not to ids."""

    def changed(part: Any) -> Any:
        is_real = np.issubdtype(part.dtype, np.floating)
        return change(part).astype(np.float64) if is_real else part

    return replace(batch, inputs=changed(batch.inputs), targets=changed(batch.targets))


@dataclass(frozen=True)
class _Reference:
    """The float64 reference of one model."""

    backend: Backend
    model: Model
    checkpoint: Checkpoint

    def tensors(self, start: _Start) -> dict[str, Array]:
        """Return loss, gradients, hidden gradients and the norm at these weights.

        Raises:
            DivergedError: one is not finite.
        """
        variant = self.backend.reference_variant(self.model.cell)
        execution = Execution(variant, dtype="float64", checkpoint=self.checkpoint)
        trainer = self.backend.trainer(self.model, Optimizer(), start.parameters, execution)
        tensors = _tensors(trainer.gradients(trainer.put(start.batch)))
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise DivergedError(
                    f"{name} of the float64 reference is not finite at these weights: "
                    "nothing to compare with"
                )
        return tensors


def _reference_checkpoint(reference: Backend, execution: Execution, time_steps: int) -> Checkpoint:
    """Return ``auto`` if the trial is checkpointed or long, and the reference can checkpoint."""
    long = execution.checkpoint != "off" or time_steps > LONG
    return "auto" if long and reference.checkpoints else "off"


def _candidate_distances(
    backend: Backend, model: Model, start: _Start, execution: Execution, exact: Mapping[str, Array]
) -> dict[str, float]:
    """Return the distance from ``exact`` of each tensor of ``gradients`` and of ``train_step``.

    ``outputs`` is checked by the first evaluation, which does not compile another shape for it.
    """
    trainer = backend.trainer(replace(model, dropout=0.0), STEP, start.parameters, execution)
    batch = trainer.put(start.batch)
    dtype = array_dtype(execution.dtype)
    gradients = trainer.gradients(batch)
    tensors = _checked_gradients(backend.name, gradients, model, start.batch, dtype)
    distances = _distances(tensors, exact)
    return distances | _distances(_train_step_tensors(trainer, batch, backend.name), exact)


def _checked_gradients(
    name: str, gradients: object, model: Model, batch: Batch, dtype: ArrayDtype
) -> dict[str, Array]:
    hidden_shape = (model.layers, *batch.mask.shape, model.hidden)
    expected = {**model.parameter_shapes(), "hidden": hidden_shape}
    if not isinstance(gradients, Gradients):
        got = type(gradients).__name__
        raise PluginError(f"{name}: invalid gradients: expected Gradients, got {got}")
    tensors = {**gradients.parameters, "hidden": gradients.hidden}
    if unexpected := sorted(tensors.keys() - expected.keys()):
        raise PluginError(f"{name}: invalid gradients: unexpected {', '.join(unexpected)}")
    for key, shape in expected.items():
        _check(f"{name}: invalid gradients", key, tensors.get(key), shape, dtype)
    return _tensors(gradients)


def applied_gradients(before: Parameters, after: Parameters) -> dict[str, Array]:
    """Return the gradients that a step under ``STEP`` applied: (before - after) / learning rate."""
    return {
        name: (value.astype(np.float64) - after[name]) / STEP.learning_rate
        for name, value in before.items()
    }


def _train_step_tensors(trainer: Trainer, batch: Any, name: str) -> dict[str, Array]:
    """Return the loss, norm and gradients of one training step under ``STEP``."""
    before = trainer.parameters()
    step = check_step(trainer.train_step(batch), name)
    trainer.synchronize()
    tensors = applied_gradients(before, trainer.parameters())
    tensors["loss"] = np.asarray(step.loss, np.float64)
    tensors["gradient_norm"] = np.asarray(step.norm, np.float64)
    return {key + TRAIN_STEP: tensor for key, tensor in tensors.items()}


def _tensors(gradients: Gradients) -> dict[str, Array]:
    """Return all tensors by name, in float64 except ``hidden``, which grows with T."""
    small: dict[str, Any] = {"loss": gradients.loss, **gradients.parameters}
    exact = {name: np.asarray(tensor, np.float64) for name, tensor in small.items()}
    largest = max(float(np.max(np.abs(exact[name]))) for name in gradients.parameters)
    scale = largest if 0 < largest < np.inf else 1.0
    squares = sum(np.sum(np.square(exact[name] / scale)) for name in gradients.parameters)
    norm = np.asarray(scale * np.sqrt(squares))
    return exact | {"hidden": gradients.hidden, "gradient_norm": norm}


def _check(problem: str, name: str, value: object, shape: tuple[int, ...], dtype: str) -> None:
    """Raise PluginError unless ``value`` is a NumPy array of this shape and dtype."""
    got = shape_and_dtype(value)
    if got != f"{shape} {dtype}":
        raise PluginError(f"{problem}: expected {name} {shape} {dtype}, got {got}")


def _scales(exact: Mapping[str, Array]) -> dict[str, float]:
    """Return the scale of each tensor's error: its largest element, or a small positive least."""
    largest = {
        name: max(float(np.max(tensor)), -float(np.min(tensor))) for name, tensor in exact.items()
    }
    others = {"loss", "hidden", "gradient_norm"}
    least = SMALLEST_SCALE * max(size for name, size in largest.items() if name not in others)
    least = max(least, float(np.finfo(np.float64).tiny))
    return {name: max(size, least) for name, size in largest.items()}


def _distances(tensors: Mapping[str, Array], exact: Mapping[str, Array]) -> dict[str, float]:
    """Return max |a - b| of each tensor from the exact tensor of the same name."""
    return {
        name: _distance(tensor, exact[name.removesuffix(TRAIN_STEP)])
        for name, tensor in tensors.items()
    }


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return max |a - b| in float64, infinite if not finite; in pieces, to avoid whole copies."""
    flat_a, flat_b = np.reshape(a, -1), np.reshape(b, -1)
    largest = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, max(flat_a.size, 1), PIECE):
            piece = slice(start, start + PIECE)
            distance = float(np.max(np.abs(flat_a[piece].astype(np.float64) - flat_b[piece])))
            if not np.isfinite(distance):
                return float("inf")
            largest = max(largest, distance)
    return largest
