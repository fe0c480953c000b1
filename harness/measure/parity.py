"""The proof that goes with every speed figure: loss and every gradient agree with the float64 reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from harness.contract import (
    Array,
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
)

SEQUENCES = 4
ROUNDING_FACTOR = 10.0  # times what rounding weights and inputs alone does to the reference
FLOOR_EPSILONS = 64.0  # units of the dtype's epsilon that are never an error
SMALLEST_SCALE = 1e-4  # of the largest gradient element: a tensor that all but vanishes is judged on this scale
STREAM = 20_240  # seeds the signs of the float64 perturbation; any number serves


@dataclass(frozen=True)
class Parity:
    """How far one backend is from the reference at one model, shape, dtype and variant.

    Attributes:
        error: of the worst tensor (nearest to or furthest beyond its tolerance): max |a - b| / scale.
        tolerance: of that tensor.
        tensor: its name: a parameter's, ``loss`` or ``hidden``.
        passed: every tensor's error is within its tolerance.
        errors: by tensor.
        tolerances: by tensor.
    """

    error: float
    tolerance: float
    tensor: str
    passed: bool
    errors: Mapping[str, float]
    tolerances: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values (an error may be infinite)."""
        return asdict(self)

    def __str__(self) -> str:
        verdict = "agrees" if self.passed else "disagrees"
        return f"{verdict} with the reference: {self.tensor} off by {self.error:.2e}, tolerance {self.tolerance:.2e}"


def measure_parity(
    backend: Backend, reference: Backend, model: Model, parameters: Parameters, batch: Batch, execution: Execution
) -> Parity:
    """Compare ``backend`` with ``reference`` in float64, on the first four sequences of ``batch``, dropout off.

    The reference gets weights and inputs already rounded to the trial's dtype, so that only the arithmetic differs. The
    tolerance of a tensor is ten times what that rounding does to the reference itself (in float64, where nothing is
    rounded, a change of every weight and input by one epsilon), plus a floor of 64 epsilons.

    Args:
        backend: to be judged.
        reference: its default variant runs in float64 on ``cpu``.
        model: the function.
        parameters: float64 weights.
        batch: of the trial's length; at least one of its first four sequences has a scored position.
        execution: of the trial.

    Raises:
        PluginError: a tensor is missing or has another shape or dtype than the contract asks for.
        DivergedError: the reference itself is not finite here.
    """
    batch = batch.first(SEQUENCES)
    weights = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    rounded = _map(weights, batch, lambda array: array.astype(execution.dtype).astype(np.float64))
    other = (weights, batch) if execution.dtype == "float32" else _map(weights, batch, _Nudge())
    exact = _run(reference, model, *rounded, Execution(reference.variants(model.cell)[0], dtype="float64"))
    moved = _run(reference, model, *other, Execution(reference.variants(model.cell)[0], dtype="float64"))
    found = _run(backend, model, *rounded, execution)
    return _compare(exact, moved, found, execution.dtype)
