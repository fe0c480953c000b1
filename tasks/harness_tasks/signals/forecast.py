"""Forecasting: Mackey-Glass with a delay of 17, and NARMA-10."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.contract import (
    Array,
    Batch,
    Evaluation,
    Inputs,
    Loss,
    Score,
    Task,
    TaskDefaults,
    TaskOptions,
    UsageError,
)
from harness_tasks.sequences import affordable_sequences, check_length
from harness_tasks.signals.series import Trajectories, Values, mackey_glass, narma10

SAMPLES = 2000  # of a trajectory, whatever the length: every length has the same scale
TRAJECTORIES = {"training": 64, "validation": 32, "test": 32}
WARM_UP = 20  # steps that do not count, because too little has been read
LONGEST = 1000
TOLERANCE = 0.1  # standard deviations
SOLVED_LOSS = 0.05


class ForecastOptions(TaskOptions):
    """Options of ``forecast``.

    Attributes:
        series: ``mackey_glass`` forecasts the series itself; ``narma10`` the response to a noise.
        ahead: samples between what is read and its forecast; no effect with ``narma10``.
    """

    series: Literal["mackey_glass", "narma10"] = "mackey_glass"
    ahead: int = Field(default=6, ge=1, le=1000)


class Forecast(Task):
    """At each of T = ``length`` steps, say a coming value of a series without noise.

    A sequence is a random window of a trajectory; training, validation and test have trajectories
    of their own. Values are standardised over the training trajectories, so the loss is the
    normalised squared error. The first 20 steps only warm up. Accuracy counts errors below 0.1
    standard deviations.
    """

    name = "forecast"
    Options: ClassVar[type[TaskOptions]] = ForecastOptions
    minimum_length = WARM_UP + 1
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(50, 100),
        hidden=64,
        batch=32,
        steps=1000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: ForecastOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        check_length(self, length, LONGEST)
        self._splits: dict[str, Trajectories] = {}

    @property
    def inputs(self) -> Inputs:
        """One number."""
        return Inputs("real", 1)

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    @property
    def loss(self) -> Loss:
        """Squared error."""
        return "squared_error"

    def prepare(self, data_seed: np.random.SeedSequence) -> None:
        """Compute all trajectories, once."""
        rng, total = np.random.default_rng(data_seed), sum(TRAJECTORIES.values())
        if self.options.series == "narma10":
            every = narma10(rng, SAMPLES, total)
        else:
            ahead = self.options.ahead
            x = mackey_glass(rng, SAMPLES + ahead, total)
            every = Trajectories(x[:-ahead], x[ahead:])
        inputs, targets = (_standardised(each) for each in every)
        ends = np.cumsum(list(TRAJECTORIES.values()))[:-1]
        parts = zip(np.split(inputs, ends, axis=1), np.split(targets, ends, axis=1), strict=True)
        self._splits = {
            name: Trajectories(*part) for name, part in zip(TRAJECTORIES, parts, strict=True)
        }

    def _draw(self, split: str, rng: np.random.Generator, sequences: int) -> Batch:
        """Return windows (T, B, 1) at random places of random trajectories."""
        if not self._splits:
            raise UsageError("forecast: call prepare() before drawing windows")
        inputs, targets = self._splits[split]
        columns = rng.integers(inputs.shape[1], size=sequences)
        starts = rng.integers(SAMPLES - self.length + 1, size=sequences)
        rows = starts + np.arange(self.length)[:, None]
        mask = np.ones(rows.shape, dtype=np.bool_)
        mask[:WARM_UP] = False
        return Batch(inputs[rows, columns][..., None], targets[rows, columns][..., None], mask)

    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield windows of the training trajectories."""
        while True:
            yield self._draw("training", rng, batch)

    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return further windows of the training trajectories."""
        return list(islice(self.training(rng, batch), batches))

    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return windows of the validation trajectories."""
        return self._held_out("validation", rng, batch)

    @property
    def evaluation_sets(self) -> Sequence[str]:
        """``test``: windows of further trajectories."""
        return ("test",)

    def evaluation_set(self, name: str, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return windows of the test trajectories."""
        return self._held_out(name, rng, batch)

    def _held_out(self, split: str, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        sequences = affordable_sequences(self.length)
        size = min(batch, sequences)
        return [self._draw(split, rng, size) for _ in range(-(-sequences // size))]

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return after how many steps as many samples were read as there are."""
        return TRAJECTORIES["training"] * SAMPLES / (batch * self.length)

    def baseline(self) -> float:
        """Return 1, the variance of standardised values: always saying the mean."""
        return 1.0

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return the mean, 0, everywhere."""
        return np.broadcast_to(0.0, batch.targets.shape)

    def floor(self) -> float:
        """Return 0: the series have no noise."""
        return 0.0

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count errors below 0.1 standard deviations."""
        error = np.abs(outputs[batch.mask] - batch.targets[batch.mask])
        return Score(float(np.count_nonzero(error < TOLERANCE)), float(error.size))

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the normalised squared error is below 0.05."""
        return evaluation.loss_validation < SOLVED_LOSS

    @property
    def criterion(self) -> str:
        """The criterion, in words."""
        return (
            f"normalised squared error below {SOLVED_LOSS:g} on validation data "
            "(this project's criterion)"
        )

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, the series, and how far ahead the forecast is."""
        ahead = {"ahead": self.options.ahead} if self.options.series == "mackey_glass" else {}
        return {"baseline_name": "mean", "series": self.options.series, **ahead}


def _standardised(values: Values) -> Values:
    training = values[:, : TRAJECTORIES["training"]]
    standardised: Values = (values - training.mean()) / training.std()
    return standardised
