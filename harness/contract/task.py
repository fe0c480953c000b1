"""A task: batches of one length, a score, and the losses of the trivial and perfect predictors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from harness.contract.batch import Batch
from harness.contract.model import Array, Inputs, Loss
from harness.contract.vocabulary import Vocabulary


class TaskOptions(BaseModel):
    """Base class of a task's options, set by ``--set task.NAME.OPTION=VALUE``.

    Unknown keys and wrong types are errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class TaskDefaults:
    """The published training setup of a task, the same for every backend.

    Each field can be overridden by an option of the command line.

    Attributes:
        cells: the cells to train if none are named.
        lengths: the lengths to train if none are given.
        hidden: units per layer.
        batch: sequences per batch.
        steps: training steps.
        tokens: time steps of all sequences to train on, in place of ``steps``: each length then
            sees equally many. None: ``steps`` counts.
        optimizer: its name.
        learning_rate: of the optimizer.
        clip_norm: the largest norm of the gradient; None: not clipped.
        forget_bias: of cells with a memory gate; None: not set.
        embedding: the width of a trained table of tokens; None: tokens are one-hot.
    """

    cells: tuple[str, ...] = ("lstm",)
    lengths: tuple[int, ...] = (25, 50, 100)
    hidden: int = 128
    batch: int = 32
    steps: int = 1000
    tokens: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    clip_norm: float | None = 1.0
    forget_bias: float | None = None
    embedding: int | None = None


@dataclass(frozen=True)
class Score:
    """The score of outputs, as sums that can be added over batches.

    Attributes:
        hits: how many of the positions (or sequences) that carry information were right.
        total: how many carry information.
        extra: further rates, name -> (sum, count), such as the exact-match rate.
    """

    hits: float
    total: float
    extra: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Validation figures after one step of training.

    Attributes:
        step: the number of training steps done.
        loss_validation: mean loss on held-out data.
        loss_train_eval: mean loss on as many batches of training data, dropout off.
        accuracy: hits / total of the scores.
        extra: further rates by name.
        standard_error_validation: of ``loss_validation`` over sequences; None for fewer than two
            sequences.
        standard_error_train_eval: of ``loss_train_eval``, likewise.
        tokens_validation: time steps x sequences of the held-out data that were read. During
            training only a sample of the batches is read; losses compare if this is equal.
        tokens_train_eval: of the training data, likewise.
    """

    step: int
    loss_validation: float
    loss_train_eval: float | None = None
    accuracy: float | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    standard_error_validation: float | None = None
    standard_error_train_eval: float | None = None
    tokens_validation: int | None = None
    tokens_train_eval: int | None = None


class Task(ABC):
    """One task at one length. A plugin offers the class; an instance generates batches.

    Args:
        options: an instance of the class's ``Options``.
        length: the length axis; each task defines its meaning (for ``copy``, the delay).

    ``__init__`` must be cheap, because it is called to validate a plan: it must not generate data
    or read files. That belongs in ``prepare``, which the worker calls once, outside all timed
    regions.

    Raises:
        UsageError: options or length are out of range; the message says what is allowed.
    """

    name: ClassVar[str]
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    defaults: ClassVar[TaskDefaults] = TaskDefaults()
    minimum_length: ClassVar[int] = 1

    def __init__(self, options: TaskOptions, length: int) -> None:
        self.options = options
        self.length = length

    def check(self) -> None:  # noqa: B027
        """Check the options cheaply before any trial runs.

        Raises:
            UsageError: ``prepare`` would fail, for example because a corpus is missing or empty.
        """

    def files(self) -> Sequence[Path]:
        """Return the files that ``prepare`` reads. If their content changes, trials run again.

        The default returns each text option that is the path of a file. ``~`` is the home folder.
        """
        values = self.options.model_dump().values()
        texts = [value for value in values if isinstance(value, str) and value]
        return [path for path in map(expanded_path, texts) if _is_file(path)]

    def prepare(self, data_seed: np.random.SeedSequence) -> None:  # noqa: B027
        """Read or draw the data that all batches need (a corpus, a ``fixed`` set of sequences).

        Args:
            data_seed: the root of all randomness of the data.

        Raises:
            UsageError: the options name data that cannot be used, such as a missing corpus.
        """

    @property
    def time_steps(self) -> int:
        """The time steps of a training batch, available before ``prepare``: ``length`` or more."""
        return self.length

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """How inputs are encoded; available after ``prepare``."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """K, the width of the readout; available after ``prepare``."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """The name of the loss: one of ``Loss``."""

    @abstractmethod
    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield training batches of ``batch`` sequences forever; equal ``rng``, equal batches."""

    @abstractmethod
    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return held-out batches; those of a stream in order (the first with ``carry=False``).

        Evaluations before the end read the first of them only.
        """

    @abstractmethod
    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return ``batches`` batches of *training* data, drawn like those of ``validation``.

        ``loss_train_eval`` is measured on them.
        """

    @property
    def evaluation_sets(self) -> Sequence[str]:
        """The names of further held-out data on which trained networks are judged.

        The set ``test`` is a test split: no choice is ever made by it. Available after ``prepare``.
        """
        return ()

    def evaluation_set(self, name: str, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the batches of one of ``evaluation_sets``, like those of ``validation``.

        Args:
            name: of the set.
            rng: of this set alone; equal ``rng``, equal batches.
            batch: B, the largest number of sequences in a batch.
        """
        raise NotImplementedError(f"the evaluation set {name!r} has no batches")

    def at_length(self, length: int, data_seed: np.random.SeedSequence) -> Task:
        """Return this task at another length, prepared, to judge a trained network there.

        The network is judged on its ``validation`` batches, from a random stream of their own. Its
        inputs, outputs and loss must equal those of this task.

        Args:
            length: the other length.
            data_seed: as of ``prepare``.
        """
        task = type(self)(self.options, length)
        task.prepare(data_seed)
        return task

    @abstractmethod
    def baseline(self) -> float:
        """Return the loss of the best trivial predictor at this length. Compute it; never type it.

        For example, the entropy of the symbols, or the variance of the target.
        """

    def baseline_outputs(self, batch: Batch) -> Array | None:
        """Return the outputs of that predictor for a batch: (T, B, K) logits or predictions.

        Losses are compared with the loss of these outputs on the same validation batches. The
        predictor is fixed: for example the mean of the distribution, never the mean of the batch.
        None (the default): losses are compared with ``baseline()`` itself.
        """
        return None

    def floor(self) -> float | None:
        """Return the loss of a perfect predictor; None if it is not known."""
        return None

    @abstractmethod
    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count the correct predictions in ``outputs`` (T, B, K)."""

    @abstractmethod
    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the evaluation meets the task's criterion."""

    def latent(self, batch: Batch) -> Array | NDArray[np.integer] | None:
        """Return what a solution must remember after each step (T, B): classes, or real values.

        For example, the depth of the open brackets. Probes decode it from the state. Where there is
        none, as after the end of a sequence, it is -1 for classes and NaN for real values.
        None (the default): the task states none.
        """
        return None

    @property
    def criterion(self) -> str:
        """One line: what ``solved`` requires and the source of the criterion; may be empty."""
        return ""

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return the number of steps of ``batch`` sequences after which training data repeat.

        None (the default): every batch is new, or the number is not known; the harness then reports
        no overfitting.
        """
        return None

    def facts(self) -> dict[str, Any]:
        """Return JSON-able facts for the record, such as a corpus digest or n-gram baselines.

        Tables call the baseline by the fact ``baseline_name``, such as ``mean``, if there is one.
        """
        return {}

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary of a text task, needed to sample text; None for other tasks."""
        return None


def expanded_path(text: str) -> Path:
    """Return the path that an option names; ``~`` is replaced by the home folder if it exists."""
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
