"""Sequential digits: scikit-learn's bundled images, read row by row or pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import Any, ClassVar, Literal, NamedTuple

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
    Task,
    TaskDefaults,
    TaskOptions,
    UnavailableError,
    UsageError,
)
from harness_tasks.sequences import check_length, shuffled_epochs, take

CLASSES, PIXELS, LEVELS = 10, 64, 16  # of an image: 8 x 8 pixels from 0 to 16
WIDTHS = {"rows": 8, "pixels": 1}  # pixels of a time step
HELD_OUT = 270  # images for validation, and as many for the test; 1,257 are left
SOLVED_ACCURACY = 0.95


class DigitsOptions(TaskOptions):
    """Options of ``digits``.

    Attributes:
        scan: 8 steps of 8 pixels (``rows``), or 64 steps of one (``pixels``).
        permuted: the pixels in one random order, the same for every image.
    """

    scan: Literal["rows", "pixels"] = "rows"
    permuted: bool = Field(default=False)


class Splits(NamedTuple):
    """The images as sequences (T, N, pixels of a step), with classes at the last step."""

    training: Batch
    validation: Batch
    test: Batch


class Digits(Task):
    """Say which digit an image shows, after its last part has been read.

    The images are scikit-learn's (Alpaydin & Kaynak 1998): 1,797 of 8 x 8 pixels, divided by 16.
    The first 8 steps (64 with ``pixels``) read the image; blank steps follow up to T = ``length``.
    The data seed divides the images at random, and draws the order of ``permuted``.
    """

    name = "digits"
    Options: ClassVar[type[TaskOptions]] = DigitsOptions
    minimum_length = 8
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(8, 40),
        hidden=64,
        batch=32,
        steps=1000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: DigitsOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        check_length(self, length)
        self._splits: Splits | None = None
        if length < self.reading:
            raise UsageError(
                f"task digits, scan {self.options.scan}: length {length} is too short; "
                f"use at least {self.reading}"
            )

    @property
    def width(self) -> int:
        """Pixels of a time step."""
        return WIDTHS[self.options.scan]

    @property
    def reading(self) -> int:
        """Time steps that show a part of the image."""
        return PIXELS // self.width

    @property
    def inputs(self) -> Inputs:
        """Vectors of pixels, from 0 to 1."""
        return Inputs("real", self.width)

    @property
    def outputs(self) -> int:
        """A class for each digit."""
        return CLASSES

    @property
    def loss(self) -> Loss:
        """Cross-entropy at the last step."""
        return "cross_entropy"

    def check(self) -> None:
        """Raise UnavailableError if scikit-learn is not installed."""
        if find_spec("sklearn") is None:
            raise UnavailableError(
                "task digits: scikit-learn is not installed: pip install 'rnn-harness[digits]'"
            )

    def prepare(self, data_seed: np.random.SeedSequence) -> None:
        """Read the images and divide them.

        Raises:
            UnavailableError: scikit-learn is not installed.
        """
        self.check()
        from sklearn.datasets import load_digits

        rng = np.random.default_rng(data_seed)
        images, classes = load_digits(return_X_y=True)
        order, pixels = rng.permutation(len(images)), rng.permutation(PIXELS)
        if self.options.permuted:
            images = images[:, pixels]
        every = self._sequences(images / LEVELS, classes)
        validation, test, training = np.split(order, [HELD_OUT, 2 * HELD_OUT])
        self._splits = Splits(*(take(every, each) for each in (training, validation, test)))

    def _sequences(self, images: Array, classes: NDArray[np.int64]) -> Batch:
        """Return all images (N, 64) as sequences; blank steps fill the length."""
        shape = (self.length, len(images))
        inputs, targets = np.zeros((*shape, self.width)), np.zeros(shape, dtype=np.int32)
        inputs[: self.reading] = images.reshape(-1, self.reading, self.width).transpose(1, 0, 2)
        mask = np.zeros(shape, dtype=np.bool_)
        targets[-1], mask[-1] = classes, True
        return Batch(inputs, targets, mask)

    @property
    def splits(self) -> Splits:
        """The divided images.

        Raises:
            UsageError: ``prepare`` was not called.
        """
        if self._splits is None:
            raise UsageError("digits: call prepare() before reading images")
        return self._splits

    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield shuffled epochs of the training images."""
        training = self.splits.training
        return (take(training, each) for each in shuffled_epochs(rng, training.size, batch))

    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return further batches of the training images."""
        return list(islice(self.training(rng, batch), batches))

    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the validation images, in whole batches: up to B - 1 random ones are left out."""
        return _whole_batches(self.splits.validation, rng, batch)

    @property
    def evaluation_sets(self) -> Sequence[str]:
        """``test``: images that neither training nor validation reads."""
        return ("test",)

    def evaluation_set(self, name: str, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the test images, likewise."""
        return _whole_batches(self.splits.test, rng, batch)

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return N / B."""
        return self.splits.training.size / batch

    def baseline(self) -> float:
        """Return ln 10: every digit is as likely as any other."""
        return float(np.log(CLASSES))

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return equal logits."""
        return np.broadcast_to(0.0, (*batch.mask.shape, CLASSES))

    def floor(self) -> None:
        """Return None: nobody knows how many of the images are ambiguous."""

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count images of the right class."""
        right = (np.argmax(outputs, axis=-1) == batch.targets) & batch.mask
        return Score(float(np.count_nonzero(right)), float(batch.size))

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the accuracy is at least 0.95."""
        return evaluation.accuracy is not None and evaluation.accuracy >= SOLVED_ACCURACY

    @property
    def criterion(self) -> str:
        """The criterion, in words."""
        return (
            f"accuracy of at least {SOLVED_ACCURACY:g} on validation images "
            "(this project's criterion; a logistic regression has 0.96)"
        )

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, the scan, and how many images there are."""
        return {
            "baseline_name": "guess",
            **self.options.model_dump(),
            "images": {name: split.size for name, split in self.splits._asdict().items()},
        }


def _whole_batches(images: Batch, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
    size = min(batch, images.size)
    order = rng.permutation(images.size)[: images.size // size * size]
    return [take(images, each) for each in order.reshape(-1, size)]
