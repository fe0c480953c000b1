"""What a task implements: batches of one length, a score, and the loss of trivial and perfect predictors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.contract.batch import Batch
from harness.contract.model import Array, Inputs, Loss
from harness.contract.vocabulary import Vocabulary


class TaskOptions(BaseModel):
    """Base of a task's options, filled by ``--set task.NAME.OPTION=VALUE``; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class TaskDefaults:
    """The published training set-up of a task, the same for every backend; a command-line option overrides each."""

    hidden: int = 128
    batch: int = 32
    steps: int = 1000
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    clip_norm: float | None = 1.0


@dataclass(frozen=True)
class Score:
    """What ``Task.score`` finds in outputs, as sums that add up over batches.

    ``hits`` of ``total`` positions (or sequences) that carry information were right. ``extra``
    holds further pairs ``name -> (sum, count)``, such as the exact-match rate.
    """

    hits: float
    total: float
    extra: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Validation figures at one moment of training.

    The standard errors are those of the two losses over sequences; None for fewer than two
    sequences.
    """

    step: int
    loss_validation: float
    loss_train_eval: float | None = None  # training data, dropout off, on equally many batches
    accuracy: float | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    standard_error_validation: float | None = None
    standard_error_train_eval: float | None = None


class Task(ABC):
    """One task at one length. The class is what a plugin offers; an instance generates batches of ``length``.

    Args:
        options: an instance of the class's ``Options``.
        length: the length axis; what it means is the task's to say (copy: the delay).

    ``__init__`` must be cheap enough to validate a plan (no generation, no reading of files); work
    goes into ``prepare``, which the worker calls once, outside every timed region.
    """

    name: ClassVar[str]
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    defaults: ClassVar[TaskDefaults] = TaskDefaults()
    minimum_length: ClassVar[int] = 1

    def __init__(self, options: TaskOptions, length: int) -> None:
        self.options = options
        self.length = length

    def check(self) -> None:  # noqa: B027
        """Find cheaply, before any trial runs, what ``prepare`` would refuse (a corpus that is missing or empty).

        Raises:
            UsageError: the options name something that cannot be used.
        """

    def files(self) -> Sequence[Path]:
        """Return the files that ``prepare`` reads: their content is part of what decides a record.

        The default names each text option that is the path of a file; ``~`` stands for the home
        folder.
        """
        texts = [
            value
            for value in self.options.model_dump().values()
            if isinstance(value, str) and value
        ]
        return [path for path in map(expanded_path, texts) if _is_file(path)]

    def prepare(self, data_seed: np.random.SeedSequence) -> None:  # noqa: B027
        """Read or draw what every batch needs (a corpus, a ``fixed`` set of sequences).

        Raises:
            UsageError: the options name something that cannot be used (a corpus that is missing,
                empty, ...).
        """

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """How inputs are encoded; known after ``prepare``."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """K, the width of the readout; known after ``prepare``."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """The loss."""

    @abstractmethod
    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield training batches of ``batch`` sequences without end; equal generators give equal batches."""

    @abstractmethod
    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return held-out batches; for a stream, in order (the first has ``carry=False``)."""

    @abstractmethod
    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return ``batches`` batches of *training* data for evaluation (``loss_train_eval``), drawn like validation."""

    @abstractmethod
    def baseline(self) -> float:
        """Return the loss of the best trivial predictor at this length, computed, never typed in."""

    def baseline_outputs(self, batch: Batch) -> Array | None:
        """Return what that predictor puts out for a batch: (T, B, K) logits or predictions.

        Losses are compared with the loss of these outputs on the very validation batches. The
        predictor is fixed: the mean of the distribution, say, never that of the batch. None (the
        default): losses are compared with ``baseline()`` itself.
        """
        return None

    def floor(self) -> float | None:
        """Return the loss of a perfect predictor, where it is known."""
        return None

    @abstractmethod
    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count what is right in ``outputs`` (T, B, K)."""

    @abstractmethod
    def solved(self, evaluation: Evaluation) -> bool:
        """Say whether validation has reached the task's criterion."""

    @property
    def criterion(self) -> str:
        """Say in one line what ``solved`` asks for and whose criterion that is; empty: the task does not say."""
        return ""

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return after how many steps of ``batch`` sequences the training data come again.

        None (the default): every batch is drawn anew, or this is not known; nothing is then called
        over-fitting.
        """
        return None

    def facts(self) -> dict[str, Any]:
        """Return JSON-able facts for the record: corpus digest, n-gram baselines, variant, ..."""
        return {}

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Return the vocabulary of a text task, so that text can be sampled; None elsewhere."""
        return None


def expanded_path(text: str) -> Path:
    """Return the path that an option names; ``~`` stands for the home folder, if there is one."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False
