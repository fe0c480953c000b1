"""Temporal order (Hochreiter & Schmidhuber 1997, experiments 6a and 6b)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.contract import (
    Array,
    Batch,
    Inputs,
    Loss,
    Score,
    TaskDefaults,
    TaskOptions,
)
from harness_tasks.sequences import SequenceOptions, SequenceTask

START, TRIGGER, DISTRACTORS, X = 0, 1, 2, 6  # tokens E, B, a..d, then X and Y
TOKENS = 8
WINDOWS = {2: (10, 50), 3: (10, 33, 66)}  # first positions, in hundredths of T
WIDTH = 10  # of each window, in hundredths of T


class TemporalOrderOptions(SequenceOptions):
    """Options of ``temporal_order``: ``symbols`` is 2 (experiment 6a) or 3 (6b)."""

    symbols: int = Field(default=2, ge=2, le=3)


class TemporalOrder(SequenceTask):
    """Say in which order X and Y came: 4 classes of two symbols, or 8 of three.

    A sequence has U{T..1.1 T} steps, T = ``length``: E first, the trigger B last, between them
    a, b, c, d at random. One position in T/10..2T/10 and one in 5T/10..6T/10 hold X or Y (three
    symbols: T/10..2T/10, 33..43 and 66..76 hundredths of T). T = 100 is the published task. The
    loss is the cross-entropy at the trigger (published: squared error of sigmoids). Further
    triggers after the end do not count.
    """

    name = "temporal_order"
    Options: ClassVar[type[TaskOptions]] = TemporalOrderOptions
    minimum_length = 10
    # Within these steps a GRU solves T = 30 with every seed, an LSTM with some.
    defaults = TaskDefaults(
        cells=("rnn", "lstm", "gru"),
        lengths=(30, 100),
        hidden=64,
        batch=32,
        steps=3000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: TemporalOrderOptions
    criterion_source = "Pascanu, Mikolov & Bengio 2013, there of 10,000 test sequences"

    @property
    def time_steps(self) -> int:
        """The longest length, T + T/10."""
        return self.length + self.length // 10

    @property
    def inputs(self) -> Inputs:
        """Tokens E, B, a, b, c, d, X, Y."""
        return Inputs("token", TOKENS)

    @property
    def outputs(self) -> int:
        """A class for each order: 4 or 8."""
        return int(2**self.options.symbols)

    @property
    def loss(self) -> Loss:
        """Cross-entropy at the trigger."""
        return "cross_entropy"

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return inputs, targets and mask (1.1 T, B); class: binary digits, X is 0, Y is 1."""
        T, columns = self.time_steps, np.arange(sequences)
        inputs = rng.integers(DISTRACTORS, X, size=(T, sequences), dtype=np.int32)
        targets, mask = np.zeros_like(inputs), np.zeros(inputs.shape, dtype=np.bool_)
        last = rng.integers(self.length, T + 1, size=sequences) - 1
        order = np.zeros(sequences, dtype=np.int32)
        for first in WINDOWS[self.options.symbols]:
            low, high = first * self.length // 100, (first + WIDTH) * self.length // 100
            symbol = rng.integers(2, size=sequences, dtype=np.int32)
            inputs[rng.integers(low, high + 1, size=sequences), columns] = X + symbol
            order = 2 * order + symbol
        inputs[0] = START
        inputs[np.arange(T)[:, None] >= last] = TRIGGER
        targets[last, columns], mask[last, columns] = order, True
        return Batch(inputs, targets, mask)

    def baseline(self) -> float:
        """Return ln 4 or ln 8: every order is as likely as any other."""
        return float(np.log(self.outputs))

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return equal logits."""
        return np.broadcast_to(0.0, (*batch.mask.shape, self.outputs))

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count sequences of the right class."""
        right = (np.argmax(outputs, axis=-1) == batch.targets) & batch.mask
        return Score(float(np.count_nonzero(right)), float(batch.size))

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, and how many symbols."""
        options = self.options
        return {"baseline_name": "guess", "symbols": options.symbols, "data": options.data}
