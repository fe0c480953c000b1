"""The copy memory task (Arjovsky, Shah & Bengio 2016; after Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
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
)
from harness_tasks.sequences import SequenceOptions, SequenceTask

SOLVED_ACCURACY = 0.99


class CopyOptions(SequenceOptions):
    """Options of ``copy``: ``symbols`` is K, ``alphabet`` is A; published with K = 10, A = 8."""

    symbols: int = Field(default=3, ge=1, le=10_000)
    alphabet: int = Field(default=4, ge=2, le=10_000)


class Copy(SequenceTask):
    """Repeat K symbols after a delay of T = ``length``; L = T + 2 K steps.

    x_t uniform in 1..A for t = 1..K; blank (0) for t = K+1..K+T-1; marker (A+1) at t = K+T; blank
    for the last K. y_t blank for t <= K+T, then y_{K+T+j} = x_j. The loss is the mean cross-entropy
    over all L steps; accuracy counts the K recall positions only (chance 1/A).
    """

    name = "copy"
    Options: ClassVar[type[TaskOptions]] = CopyOptions
    # A small form of the published task (K = 10, A = 8), so that a minute shows where memory ends:
    # an LSTM solves the shortest length and not the longest. The forget bias opens its memory from
    # the start. The norm is clipped because the gradient has spikes once recall begins.
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(10, 30, 100),
        hidden=64,
        batch=32,
        steps=1500,
        optimizer="adam",
        learning_rate=0.01,
        clip_norm=1.0,
        forget_bias=3.0,
    )
    options: CopyOptions

    @property
    def time_steps(self) -> int:
        """L = T + 2 K."""
        return self.length + 2 * self.options.symbols

    @property
    def inputs(self) -> Inputs:
        """Tokens: blank, A symbols, marker."""
        return Inputs("token", self.options.alphabet + 2)

    @property
    def outputs(self) -> int:
        """A + 1 classes: the marker is never a target."""
        return self.options.alphabet + 1

    @property
    def loss(self) -> Loss:
        """Cross-entropy over all steps."""
        return "cross_entropy"

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return inputs and targets (L, B); every step counts."""
        K, shape = self.options.symbols, (self.time_steps, sequences)
        inputs, targets = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
        inputs[:K] = rng.integers(1, self.options.alphabet + 1, size=(K, sequences), dtype=np.int32)
        inputs[K + self.length - 1] = self.options.alphabet + 1
        targets[-K:] = inputs[:K]
        return Batch(inputs, targets, np.ones(shape, dtype=np.bool_))

    def baseline(self) -> float:
        """Return K ln A / (T + 2 K): blanks are certain, recall is a guess among A symbols."""
        return float(self.options.symbols * np.log(self.options.alphabet) / self.time_steps)

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return logits: certain blanks, then equal probability for all symbols of the alphabet."""
        logits = np.full((self.time_steps, 1, self.outputs), -np.inf)
        logits[: -self.options.symbols, :, 0] = 0.0
        logits[-self.options.symbols :, :, 1:] = 0.0
        return np.broadcast_to(logits, (self.time_steps, batch.size, self.outputs))

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count correct symbols at the recall positions; ``exact_match`` counts whole sequences."""
        K = self.options.symbols
        right = np.argmax(outputs[-K:], axis=-1) == batch.targets[-K:]
        exact = (float(np.count_nonzero(right.all(axis=0))), float(batch.size))
        return Score(float(np.count_nonzero(right)), float(right.size), {"exact_match": exact})

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether recall accuracy is at least 0.99."""
        return evaluation.accuracy is not None and evaluation.accuracy >= SOLVED_ACCURACY

    @property
    def criterion(self) -> str:
        """The criterion, in words."""
        return (
            f"recall accuracy of at least {SOLVED_ACCURACY:g} on validation data "
            "(this project's criterion)"
        )

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, and the sizes that determine it."""
        options = self.options
        return {
            "baseline_name": "guess",
            "symbols": options.symbols,
            "alphabet": options.alphabet,
            "delay": self.length,
            "data": options.data,
        }
