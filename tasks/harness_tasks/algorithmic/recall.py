"""Multi-query associative recall (Arora et al. 2024)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

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


class AssociativeRecallOptions(SequenceOptions):
    """Options of ``associative_recall``.

    Attributes:
        pairs: P, key-value pairs of a sequence, each asked for once.
        keys: how many keys there are; the P of a sequence differ.
        values: how many values there are.
        power: exponent of the distance to a query; published with 0.01. 1: uniform.
    """

    pairs: int = Field(default=2, ge=1, le=10_000)
    keys: int = Field(default=8, ge=1, le=100_000)
    values: int = Field(default=8, ge=2, le=100_000)
    power: float = Field(default=0.01, gt=0, le=10, allow_inf_nan=False)

    @model_validator(mode="after")
    def _keys_suffice(self) -> Self:
        if self.keys < self.pairs:
            raise ValueError(f"{self.pairs} pairs need as many keys; there are {self.keys}")
        return self


class AssociativeRecall(SequenceTask):
    """Say the value that belongs to a key: k_1 v_1 ... k_P v_P, then P queries among blanks.

    A sequence has T = ``length`` steps. After the 2 P of the pairs, a query may stand at every
    second one: at distance g with a probability that grows with g^(power - 1), without repetition.
    Only queries count. A state must hold P pairs, so accuracy rises with its size. Deviations from
    the paper's program: blanks between the queries in place of random tokens, and values may be
    equal.
    """

    name = "associative_recall"
    Options: ClassVar[type[TaskOptions]] = AssociativeRecallOptions
    minimum_length = 8
    # With two pairs an LSTM comes close in these steps; with four it does not bind them.
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(16, 32),
        hidden=64,
        batch=32,
        steps=5000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: AssociativeRecallOptions
    accuracy_in_words = "accuracy at the queries"

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        if length < 4 * self.options.pairs:
            raise UsageError(
                f"task associative_recall, {self.options.pairs} pairs: length {length} is too "
                f"short; use at least {4 * self.options.pairs}"
            )

    @property
    def time_steps(self) -> int:
        """T."""
        return self.length

    @property
    def inputs(self) -> Inputs:
        """Tokens: blank (0), then the keys, then the values."""
        return Inputs("token", 1 + self.options.keys + self.options.values)

    @property
    def outputs(self) -> int:
        """A class for each value."""
        return self.options.values

    @property
    def loss(self) -> Loss:
        """Cross-entropy at the queries."""
        return "cross_entropy"

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return inputs, targets and mask (T, B)."""
        options, shape = self.options, (self.length, sequences)
        P, columns = options.pairs, np.arange(sequences)
        inputs, targets = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
        mask = np.zeros(shape, dtype=np.bool_)
        keys = 1 + rng.random((options.keys, sequences)).argsort(axis=0)[:P]
        values = rng.integers(options.values, size=(P, sequences), dtype=np.int32)
        inputs[: 2 * P : 2] = keys
        inputs[1 : 2 * P : 2] = 1 + options.keys + values
        queries = 2 * P + 2 * self._distances(rng, sequences)
        inputs[queries, columns], targets[queries, columns] = keys, values
        mask[queries, columns] = True
        return Batch(inputs, targets, mask)

    def _distances(self, rng: np.random.Generator, sequences: int) -> NDArray[np.intp]:
        """Return distances (P, B) in steps of two, drawn one after another without repetition.

        The largest sums of log weight and Gumbel noise are such draws (Efraimidis & Spirakis 2006).
        """
        P, most = self.options.pairs, self.length // 2 - self.options.pairs
        logits = (self.options.power - 1) * np.log(np.arange(1, most + 1))[:, None]
        return np.argsort(-logits - rng.gumbel(size=(most, sequences)), axis=0)[:P]

    def baseline(self) -> float:
        """Return ln of the number of values: a guess."""
        return float(np.log(self.options.values))

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return equal logits."""
        return np.broadcast_to(0.0, (*batch.mask.shape, self.outputs))

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count correct values at the queries; ``exact_match`` counts whole sequences."""
        right = np.argmax(outputs, axis=-1) == batch.targets
        exact = float(np.count_nonzero((right | ~batch.mask).all(axis=0))), float(batch.size)
        hits, total = np.count_nonzero(right & batch.mask), np.count_nonzero(batch.mask)
        return Score(float(hits), float(total), {"exact_match": exact})

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, and the sizes."""
        sizes = self.options.model_dump(include={"pairs", "keys", "values", "power", "data"})
        return {"baseline_name": "guess", **sizes}
