"""The base of tasks with independent sequences: ``fresh`` data or a ``fixed`` set, validation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.contract import Batch, Evaluation, Task, TaskOptions, UsageError

MAXIMUM_LENGTH = 1_000_000
VALIDATION_SEQUENCES = 1024  # the standard error of a mean over these is about 4 % on `adding`
VALIDATION_TIME_STEPS = 100_000  # with long sequences there are fewer: an evaluation stays cheap
VALIDATION_SEQUENCES_AT_LEAST = 128
SOLVED_ACCURACY = 0.99


class SequenceOptions(TaskOptions):
    """Options of every task of independent sequences.

    Attributes:
        data: ``fresh`` draws every batch anew; ``fixed`` trains on shuffled epochs over one set of
            sequences that is drawn once (to reproduce papers, and to overfit). Validation is always
            fresh.
        sequences: N, the size of the fixed set; no effect with ``fresh``.
        validation_sequences: held-out sequences per evaluation; None: about 100,000 time steps, but
            at least 128 and at most 1024 sequences.
    """

    data: Literal["fresh", "fixed"] = "fresh"
    sequences: int = Field(default=1000, ge=1, le=10_000_000)
    validation_sequences: int | None = Field(default=None, ge=1, le=1_000_000)


class SequenceTask(Task):
    """A task of independent sequences; a subclass draws them.

    Attributes:
        accuracy_in_words: what the accuracy is of, for the criterion.
        criterion_source: whose criterion it is.

    Raises:
        UsageError: the length is outside ``minimum_length`` .. ``maximum_length``.
    """

    Options: ClassVar[type[TaskOptions]] = SequenceOptions
    maximum_length: ClassVar[int] = MAXIMUM_LENGTH
    accuracy_in_words: ClassVar[str] = "accuracy"
    criterion_source: ClassVar[str] = "this project's criterion"
    options: SequenceOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        check_length(self, length)
        self._fixed: Batch | None = None

    @abstractmethod
    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return one batch of fresh sequences."""

    @property
    @abstractmethod
    def time_steps(self) -> int:
        """T of a batch, the time steps that the network runs."""

    def prepare(self, data_seed: np.random.SeedSequence) -> None:
        """Draw the fixed set if ``data`` is ``fixed``."""
        if self.options.data == "fixed":
            self._fixed = self.draw(np.random.default_rng(data_seed), self.options.sequences)

    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield fresh batches, or shuffled epochs of the fixed set; a batch may span two epochs."""
        if self.options.data == "fresh":
            while True:
                yield self.draw(rng, batch)
        if self._fixed is None:
            raise UsageError(f"{self.name}: call prepare() before training on a fixed set")
        for columns in shuffled_epochs(rng, self._fixed.size, batch):
            yield take(self._fixed, columns)

    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return fresh batches with at least ``validation_sequences`` sequences in total."""
        sequences = self.options.validation_sequences or affordable_sequences(self.time_steps)
        size = min(batch, sequences)
        return [self.draw(rng, size) for _ in range(-(-sequences // size))]

    @property
    def evaluation_sets(self) -> Sequence[str]:
        """``test``: as many fresh sequences as for validation, from another stream."""
        return ("test",)

    def evaluation_set(self, name: str, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the batches of the test set."""
        return self.validation(rng, batch)

    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return further draws of the training distribution, or of the fixed set."""
        return list(islice(self.training(rng, batch), batches))

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return N / B of a fixed set; None for fresh data."""
        return self.options.sequences / batch if self.options.data == "fixed" else None

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the accuracy is at least 0.99."""
        return evaluation.accuracy is not None and evaluation.accuracy >= SOLVED_ACCURACY

    @property
    def criterion(self) -> str:
        """The criterion, in words."""
        rule = f"{self.accuracy_in_words} of at least {SOLVED_ACCURACY:g} on validation data"
        return f"{rule} ({self.criterion_source})"

    def floor(self) -> float:
        """Return 0: the inputs determine the targets."""
        return 0.0


def affordable_sequences(time_steps: int) -> int:
    """Return how many held-out sequences an evaluation reads if no option says so."""
    affordable = VALIDATION_TIME_STEPS // time_steps
    return min(VALIDATION_SEQUENCES, max(VALIDATION_SEQUENCES_AT_LEAST, affordable))


def check_length(task: Task, length: int, maximum: int = MAXIMUM_LENGTH) -> None:
    """Raise UsageError if ``length`` is outside the task's range."""
    if not task.minimum_length <= length <= maximum:
        allowed = f"{task.minimum_length} to {maximum:,}"
        raise UsageError(f"task {task.name}: length {length:,} is out of range; use {allowed}")


def shuffled_epochs(
    rng: np.random.Generator, sequences: int, batch: int
) -> Iterator[NDArray[np.int64]]:
    """Yield indices (batch,) forever, from successive random permutations of the sequences."""
    queue = np.empty(0, dtype=np.int64)
    while True:
        epochs = max(0, -(-(batch - len(queue)) // sequences))
        queue = np.concatenate([queue, *(rng.permutation(sequences) for _ in range(epochs))])
        yield queue[:batch]
        queue = queue[batch:]


def take(batch: Batch, columns: NDArray[np.int64]) -> Batch:
    """Return the sequences ``columns`` of a batch."""
    return Batch(
        batch.inputs.take(columns, axis=1),
        batch.targets.take(columns, axis=1),
        batch.mask.take(columns, axis=1),
    )
