"""NumPy's backend, honest or slowed on purpose, for the verdicts of `compare`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from harness.contract import (
    Backend,
    Cell,
    Execution,
    Model,
    Optimizer,
    Parameters,
    StepResult,
    Trainer,
    hookimpl,
)
from harness_numpy import NumpyBackend
from harness_numpy.trainer import NumpyTrainer

SLOWED = 0.15  # of a step's own time, spent waiting


class SlowedTrainer(NumpyTrainer):
    """NumPy's trainer; every step takes longer by ``SLOWED`` of itself."""

    def train_step(self, batch: Any) -> StepResult:
        """Train, then wait actively."""
        start = time.perf_counter()
        result = super().train_step(batch)
        end = time.perf_counter() + SLOWED * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return result


class Slowed(NumpyBackend):
    """Variants ``a`` and ``b`` are equal, ``slowed`` is slower by 15 %."""

    name = "slowed"

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the three of them."""
        return ("a", "b", "slowed")

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return NumPy's trainer, or the slowed one."""
        kind = SlowedTrainer if execution.variant == "slowed" else NumpyTrainer
        return kind(model, optimizer, parameters, replace(execution, variant="vectorised"))


@hookimpl
def harness_backends() -> list[Backend]:
    """Offer slowed."""
    return [Slowed()]
