"""The adding problem in four forms: add the two marked numbers of a sequence.

Sources: Hochreiter & Schmidhuber 1997, experiment 4; Pascanu, Mikolov & Bengio 2013; Arjovsky, Shah
& Bengio 2016.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.contract import (
    Array,
    Batch,
    Evaluation,
    Inputs,
    Loss,
    Score,
    TaskDefaults,
    TaskOptions,
    UsageError,
)
from harness_tasks.sequences import SequenceOptions, SequenceTask

Indices = NDArray[np.int64]
ACCURATE_WITHIN = 0.04
PASCANU_ACCURACY = 0.99
SOLVED_LOSS = 0.01  # 6 % of the baseline of `halves` and `anywhere`
FIRST_PAIRS = 10  # hs97: the first marked position is among the first ten


@dataclass(frozen=True)
class Pairs:
    """The lengths of a batch's sequences and their two marked positions; each (B,)."""

    lengths: Indices
    first: Indices
    second: Indices


class Form(ABC):
    """One form of the task: y = ``offset`` + ``scale`` * (u_i + u_j), u ~ U[``low``, ``high``)."""

    minimum_length: ClassVar[int] = 2
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    scale: ClassVar[float] = 1.0
    offset: ClassVar[float] = 0.0
    marks_ends: ClassVar[bool] = False
    criterion: ClassVar[str] = (
        f"squared error below {SOLVED_LOSS:g} on validation data (this project's criterion)"
    )

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the criterion holds."""
        return evaluation.loss_validation < SOLVED_LOSS

    def mean(self) -> float:
        """Return E y."""
        return self.offset + self.scale * (self.low + self.high)

    @abstractmethod
    def pairs(self, rng: np.random.Generator, length: int, sequences: int) -> Pairs:
        """Draw lengths and marked positions."""

    def longest(self, length: int) -> int:
        """Return the largest sequence length."""
        return length

    def variance(self) -> float:
        """Return Var y = scale^2 * 2 Var u, with Var u = (high - low)^2 / 12."""
        return self.scale**2 * 2 * (self.high - self.low) ** 2 / 12


class Halves(Form):
    """One marker in each half, both uniform; y = u_i + u_j (Arjovsky et al. 2016)."""

    def pairs(self, rng: np.random.Generator, length: int, sequences: int) -> Pairs:
        """Draw i from [0, T/2), j from [T/2, T)."""
        first = rng.integers(0, length // 2, size=sequences)
        second = rng.integers(length // 2, length, size=sequences)
        return Pairs(np.full(sequences, length), first, second)


class Anywhere(Form):
    """Two distinct positions uniform over T; y = u_i + u_j."""

    def pairs(self, rng: np.random.Generator, length: int, sequences: int) -> Pairs:
        """Draw i from [0, T), j from the other T - 1 positions."""
        first = rng.integers(0, length, size=sequences)
        second = rng.integers(0, length - 1, size=sequences)
        return Pairs(np.full(sequences, length), first, second + (second >= first))


class Pascanu(Form):
    """Length l = T + U{0..T/10}, i ~ U[0, l/10), j ~ U[l/10, l/2), y = (u_i + u_j) / 2.

    Source: Pascanu et al. 2013.
    """

    minimum_length = 10
    scale = 0.5
    criterion = (
        f"an absolute error above {ACCURATE_WITHIN:g} in at most 1 % of the validation sequences "
        "(Pascanu, Mikolov & Bengio 2013, there of 10,000 test sequences)"
    )

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the criterion holds."""
        return evaluation.accuracy is not None and evaluation.accuracy >= PASCANU_ACCURACY

    def longest(self, length: int) -> int:
        """Return T + T/10."""
        return length + length // 10

    def pairs(self, rng: np.random.Generator, length: int, sequences: int) -> Pairs:
        """Draw lengths, then positions within each."""
        lengths = rng.integers(length, self.longest(length) + 1, size=sequences)
        first, second = rng.integers(0, lengths // 10), rng.integers(lengths // 10, lengths // 2)
        return Pairs(lengths, first, second)


class HochreiterSchmidhuber(Form):
    """Length U{T..1.1 T}, u ~ U[-1, 1], y = 0.5 + (X1 + X2) / 4.

    The marker is +1 at X1 and X2, and -1 at the first and last position. X1 is among the first ten
    positions, X2 among the first T/2 - 1, other than X1. Deviation from the paper: there the first
    position may be drawn and then counts as 0. Here it is never drawn, so its marker is always -1
    and the baseline is exactly 1/24.
    """

    minimum_length = 11
    low, high, scale, offset = -1.0, 1.0, 0.25, 0.5
    marks_ends = True
    criterion = (
        f"an absolute error below {ACCURATE_WITHIN:g} in every validation sequence "
        "(Hochreiter & Schmidhuber 1997, there in the last 2,000 training sequences)"
    )

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the criterion holds."""
        return evaluation.accuracy == 1.0

    def longest(self, length: int) -> int:
        """Return 1.1 T."""
        return length + length // 10

    def pairs(self, rng: np.random.Generator, length: int, sequences: int) -> Pairs:
        """Draw i from 1..9, j from 1..T/2-1 without i."""
        lengths = rng.integers(length, self.longest(length) + 1, size=sequences)
        first, last = rng.integers(1, FIRST_PAIRS, size=sequences), length // 2 - 1
        second = rng.integers(1, last + 1 - (first <= last))
        return Pairs(lengths, first, second + (second >= first))


FORMS: dict[str, Form] = {
    "halves": Halves(),
    "anywhere": Anywhere(),
    "pascanu": Pascanu(),
    "hs97": HochreiterSchmidhuber(),
}


class AddingOptions(SequenceOptions):
    """Options of ``adding``: which published form."""

    variant: Literal["halves", "anywhere", "pascanu", "hs97"] = Field(default="halves")


class Adding(SequenceTask):
    """Add the two marked numbers of a sequence x_t = (u_t, m_t), t = 1..T, T = ``length``.

    The loss is the squared error at the last step. If lengths vary, a batch is as long as the
    longest possible sequence: after the end of a sequence come zeros, which do not count. Accuracy
    counts |error| < 0.04.
    """

    name = "adding"
    Options: ClassVar[type[TaskOptions]] = AddingOptions
    minimum_length = 2
    # An LSTM solves T = 50 within these steps and not T = 200; a tanh network does not leave the
    # baseline. With fewer steps it is luck.
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(50, 100, 200),
        hidden=64,
        batch=32,
        steps=1200,
        optimizer="adam",
        learning_rate=0.01,
        clip_norm=1.0,
    )
    options: AddingOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        self.form = FORMS[self.options.variant]
        if length < self.form.minimum_length:
            allowed = f"{self.form.minimum_length} to {self.maximum_length:,}"
            raise UsageError(
                f"task adding, variant {self.options.variant}: "
                f"length {length} is out of range; use {allowed}"
            )

    @property
    def time_steps(self) -> int:
        """T, or the longest length if lengths vary."""
        return self.form.longest(self.length)

    @property
    def inputs(self) -> Inputs:
        """Vectors of a number and its marker."""
        return Inputs("real", 2)

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    @property
    def loss(self) -> Loss:
        """Squared error at the last step."""
        return "squared_error"

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return inputs (T, B, 2), targets (T, B, 1) and the mask of last steps (T, B)."""
        T, form = self.time_steps, self.form
        pairs, columns = form.pairs(rng, self.length, sequences), np.arange(sequences)
        numbers = rng.uniform(form.low, form.high, size=(T, sequences))
        targets, mask = np.zeros((T, sequences, 1)), np.zeros((T, sequences), dtype=np.bool_)
        total = numbers[pairs.first, columns] + numbers[pairs.second, columns]
        targets[pairs.lengths - 1, columns, 0] = form.offset + form.scale * total
        mask[pairs.lengths - 1, columns] = True
        inside = np.arange(T)[:, None] < pairs.lengths
        return Batch(np.stack([numbers * inside, self._markers(pairs)], axis=-1), targets, mask)

    def _markers(self, pairs: Pairs) -> NDArray[np.float64]:
        columns = np.arange(len(pairs.lengths))
        markers = np.zeros((self.time_steps, len(columns)))
        if self.form.marks_ends:
            markers[0] = -1.0
            markers[pairs.lengths - 1, columns] = -1.0
        markers[pairs.first, columns] = 1.0
        markers[pairs.second, columns] = 1.0
        return markers

    def latent(self, batch: Batch) -> Array:
        """Return the sum of the marked numbers so far."""
        numbers, markers = batch.inputs[..., 0], batch.inputs[..., 1]
        total: Array = np.cumsum(np.where(markers > 0, numbers, 0.0), axis=0)
        return total

    def baseline(self) -> float:
        """Return Var y, the loss of always predicting E y: 1/6, or 1/24 (``pascanu``, ``hs97``)."""
        return self.form.variance()

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return E y everywhere."""
        return np.broadcast_to(self.form.mean(), batch.targets.shape)

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count sequences with an error below 0.04."""
        error = np.abs(outputs[batch.mask] - batch.targets[batch.mask])
        return Score(float(np.count_nonzero(error < ACCURATE_WITHIN)), float(error.size))

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the criterion of the form holds."""
        return self.form.solved(evaluation)

    @property
    def criterion(self) -> str:
        """The criterion of the form, in words."""
        return self.form.criterion

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, the form, E y, and whether data are fresh or fixed."""
        return {
            "baseline_name": "mean",
            "variant": self.options.variant,
            "mean_target": self.form.mean(),
            "data": self.options.data,
        }
