"""The weights of a network while it trains, on disk, for probes over training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.contract import Trainer, array_dtype
from harness.contract.records.probed import WEIGHTS_AT
from harness.measure.checkpoint import file_at_step, save
from harness.measure.events import Event, Facts
from harness.measure.setup import Setup
from harness.plugins.validation import check_parameters


@dataclass(frozen=True)
class WeightsOverTraining:
    """Writes the weights before training, and after N, 2N, 4N, 8N, ... steps.

    Attributes:
        setup: of the trial.
        checkpoint: the file of the trained weights, next to which the others are written; None:
            nothing is written.
        every: N, the first of these steps; None: nothing is written.
    """

    setup: Setup
    checkpoint: Path | None
    every: int | None

    name: ClassVar[str] = "the weights during training"
    phase: ClassVar[str] = "weights"

    def next_step(self, step: int) -> int:
        """Return the first step after ``step`` at which to write, or the last of training."""
        steps = self.setup.trial.steps
        if self.checkpoint is None or self.every is None:
            return steps
        due = self.every
        while due <= step:
            due *= 2
        return min(due, steps)

    def during(self, trainer: Trainer, step: int) -> Iterator[Event]:
        """Write the weights after ``step`` updates; yield the steps at which there are any."""
        if self.checkpoint is None or self.every is None:
            return
        setup = self.setup
        dtype = array_dtype(setup.trial.dtype)
        parameters = check_parameters(trainer, setup.model, dtype, setup.label)
        path = file_at_step(self.checkpoint, step)
        save(path, parameters, setup.trial, setup.task.vocabulary)
        # If this launch goes on from a snapshot, an earlier one wrote those before it.
        steps = [0]
        while (due := self.next_step(steps[-1])) <= step:
            steps.append(due)
        written = [each for each in steps if file_at_step(self.checkpoint, each).exists()]
        yield Facts(details={WEIGHTS_AT: written})
