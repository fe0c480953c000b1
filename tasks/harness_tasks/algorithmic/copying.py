"""Copying after a delay, and of symbols among noise: ``copy`` and ``selective_copy``."""

from __future__ import annotations

from abc import abstractmethod
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
    UsageError,
)
from harness_tasks.sequences import SequenceOptions, SequenceTask


class CopyOptions(SequenceOptions):
    """Options of ``copy``: ``symbols`` is K, ``alphabet`` is A; published with K = 10, A = 8."""

    symbols: int = Field(default=3, ge=1, le=10_000)
    alphabet: int = Field(default=4, ge=2, le=10_000)


class CopyTask(SequenceTask):
    """Repeat K symbols in the last K steps; blank (0), A symbols, marker (A + 1).

    Accuracy counts the last K steps only (chance 1/A).
    """

    options: CopyOptions
    accuracy_in_words = "recall accuracy"

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
        """Cross-entropy."""
        return "cross_entropy"

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Return what else determines the baseline, by name."""

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

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, and the sizes that determine it."""
        options = self.options
        return {
            "baseline_name": "guess",
            "symbols": options.symbols,
            "alphabet": options.alphabet,
            **self.sizes(),
            "data": options.data,
        }


class Copy(CopyTask):
    """Repeat K symbols after a delay of T = ``length``; L = T + 2 K steps.

    x_t uniform in 1..A for t = 1..K; blank (0) for t = K+1..K+T-1; marker (A+1) at t = K+T; blank
    for the last K. y_t blank for t <= K+T, then y_{K+T+j} = x_j. The loss is the mean cross-entropy
    over all L steps (Arjovsky, Shah & Bengio 2016; after Hochreiter & Schmidhuber 1997).
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

    @property
    def time_steps(self) -> int:
        """L = T + 2 K."""
        return self.length + 2 * self.options.symbols

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

    def sizes(self) -> dict[str, int]:
        """Return the delay."""
        return {"delay": self.length}


class SelectiveCopyOptions(CopyOptions):
    """Options of ``selective_copy``; published with K = 16, A = 16, T = 4096."""

    symbols: int = Field(default=4, ge=1, le=10_000)
    alphabet: int = Field(default=8, ge=2, le=10_000)


class SelectiveCopy(CopyTask):
    """Repeat, in their order, K symbols that stand among blanks (Gu & Dao 2023).

    The first T = ``length`` steps hold the symbols, uniform in 1..A, at K positions drawn uniformly
    without repetition, and blanks (0) elsewhere. K markers (A + 1) ask for them; only these steps
    count. The spacing varies, so a recurrence must choose by content what it keeps. A linear one
    whose weights are the same at every step cannot (Gu & Dao).
    """

    name = "selective_copy"
    Options: ClassVar[type[TaskOptions]] = SelectiveCopyOptions
    minimum_length = 4
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(20, 40),
        hidden=64,
        batch=32,
        steps=3000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        if length < self.options.symbols:
            raise UsageError(
                f"task selective_copy, {self.options.symbols} symbols: length {length} is too "
                f"short; use at least {self.options.symbols}"
            )

    @property
    def time_steps(self) -> int:
        """T + K."""
        return self.length + self.options.symbols

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return inputs, targets and mask (T + K, B)."""
        K, A, shape = self.options.symbols, self.options.alphabet, (self.time_steps, sequences)
        inputs, targets = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
        mask = np.zeros(shape, dtype=np.bool_)
        shuffled = rng.random((self.length, sequences)).argsort(axis=0)
        positions = np.sort(shuffled[:K], axis=0)
        targets[-K:] = rng.integers(1, A + 1, size=(K, sequences), dtype=np.int32)
        np.put_along_axis(inputs, positions, targets[-K:], axis=0)
        inputs[-K:], mask[-K:] = A + 1, True
        return Batch(inputs, targets, mask)

    def baseline(self) -> float:
        """Return ln A: recall is a guess among A symbols."""
        return float(np.log(self.options.alphabet))

    def sizes(self) -> dict[str, int]:
        """Return nothing: the length has no influence."""
        return {}
