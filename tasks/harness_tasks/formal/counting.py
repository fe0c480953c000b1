"""Counting: a^n b^n and a^n b^n c^n (Gers & Schmidhuber 2001; Weiss, Goldberg & Yahav 2018)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.contract import Batch, Inputs, TaskDefaults, TaskOptions, UsageError
from harness_tasks.formal.sets import Chances, NextSymbolTask
from harness_tasks.sequences import SequenceOptions

LETTERS = {"anbn": 2, "anbncn": 3}
FEWEST = 2  # values of n: with one, every sequence is the same


class CountingOptions(SequenceOptions):
    """Options of ``counting``: which language."""

    language: Literal["anbn", "anbncn"] = "anbn"


class Counting(NextSymbolTask):
    """Say which symbols may follow in a^n b^n; n is uniform from 1 to T // 2, T = ``length``.

    While there are only a's, a or b may follow. After that the next symbol is certain, and so is
    the end. Padding after the end does not count. a^n b^n c^n: n up to T // 3.
    """

    name = "counting"
    Options: ClassVar[type[TaskOptions]] = CountingOptions
    minimum_length = 4
    defaults = TaskDefaults(
        cells=("gru", "lstm"),
        lengths=(20, 40),
        hidden=64,
        batch=32,
        steps=2000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: CountingOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        if length < FEWEST * self.letters:
            raise UsageError(
                f"task counting, language {self.options.language}: length {length} is too short; "
                f"use at least {FEWEST * self.letters}"
            )

    @property
    def letters(self) -> int:
        """How many letters the language has."""
        return LETTERS[self.options.language]

    @property
    def most(self) -> int:
        """The largest n."""
        return self.length // self.letters

    @property
    def inputs(self) -> Inputs:
        """Tokens: the end (0), then the letters."""
        return Inputs("token", self.letters + 1)

    @property
    def outputs(self) -> int:
        """The end, and the letters."""
        return self.letters + 1

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return symbols (T, B), the sets of those that may follow (T, B, K), and the mask."""
        n = rng.integers(1, self.most + 1, size=sequences)
        t = np.arange(self.length)[:, None]
        letter, following = t // n, (t + 1) // n
        mask = letter < self.letters
        inputs = np.where(mask, letter + 1, 0).astype(np.int32)
        certain = np.where(following < self.letters, following + 1, 0)
        targets = np.zeros((*mask.shape, self.outputs))
        np.put_along_axis(targets, certain[..., None], 1.0, axis=-1)
        targets[letter == 0] = 0.0
        targets[letter == 0, 1:3] = 1.0
        targets[~mask] = 0.0
        return Batch(inputs, targets, mask)

    def latent(self, batch: Batch) -> NDArray[np.floating]:
        """Return the a's so far; from the first b on, how many of the letter are still to come."""
        so_far = [np.cumsum(batch.inputs == letter, axis=0) for letter in range(1, self.outputs)]
        letter = np.maximum(batch.inputs - 1, 0)
        of_letter = np.take_along_axis(np.stack(so_far), letter[None].astype(np.int64), axis=0)[0]
        count = np.where(letter == 0, of_letter, so_far[0] - of_letter)
        return np.where(batch.mask, count, np.nan)

    def chances(self) -> Chances:
        """Count the n of each case: after t + 1 symbols the next letter is (t + 1) // n."""
        read = np.arange(1, self.length + 1)
        counts = np.zeros((self.length, self.outputs))
        in_a = np.maximum(0, self.most + 1 - read)  # n >= read
        counts[:, 1] += in_a
        counts[:, 2] += in_a
        for letter in range(1, self.letters):  # n with read // n == letter, and n < read
            longest = np.minimum(np.minimum(read // letter, read - 1), self.most)
            counts[:, letter + 1] += np.maximum(0, longest - read // (letter + 1))
        ends = (read % self.letters == 0) & (read // self.letters <= self.most)
        counts[:, 0] = ends
        scored = np.minimum(self.most, self.most + 1 - -(-read // self.letters))
        scored = np.maximum(0, scored)  # n with letters * n >= read
        return Chances(counts / np.maximum(scored, 1)[:, None], scored / self.most)

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, the language and the largest n."""
        options = self.options
        facts = {"language": options.language, "largest_n": self.most, "data": options.data}
        return {"baseline_name": "chance", **facts}
