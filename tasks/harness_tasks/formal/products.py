"""Running products in a group: ``parity`` and ``word_problem``."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from harness.contract import (
    Array,
    Batch,
    Inputs,
    Loss,
    Score,
    TaskDefaults,
    TaskOptions,
)
from harness_tasks.formal.groups import multiplication_table, order, running_products
from harness_tasks.sequences import SequenceOptions, SequenceTask


class ProductOptions(SequenceOptions):
    """Options of running products.

    Attributes:
        targets: at ``every`` step, or at the ``last`` only.
    """

    targets: Literal["every", "last"] = "every"


class ProductTask(SequenceTask):
    """Say the product of all elements so far: y_t = x_1 x_2 ... x_t, t = 1..T, T = ``length``.

    x_t is uniform over the group, so y_t is uniform too, and independent of any t - 1 of the
    elements: no fixed number of past elements helps. Accuracy counts the last step;
    ``every_step`` all steps.
    """

    options: ProductOptions
    accuracy_in_words = "accuracy at the last step"

    @property
    @abstractmethod
    def group(self) -> str:
        """The name of the group."""

    @property
    def time_steps(self) -> int:
        """T."""
        return self.length

    @property
    def inputs(self) -> Inputs:
        """A token for each element of the group."""
        return Inputs("token", order(self.group))

    @property
    def outputs(self) -> int:
        """A class for each element of the group."""
        return order(self.group)

    @property
    def loss(self) -> Loss:
        """Cross-entropy."""
        return "cross_entropy"

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return elements, running products and mask (T, B)."""
        table = multiplication_table(self.group)
        inputs = rng.integers(len(table), size=(self.length, sequences), dtype=np.int32)
        targets, mask = running_products(table, inputs), np.ones(inputs.shape, dtype=np.bool_)
        if self.options.targets == "last":
            targets[:-1], mask[:-1] = 0, False
        return Batch(inputs, targets, mask)

    def latent(self, batch: Batch) -> NDArray[np.integer]:
        """Return the running product, whichever steps are scored."""
        return running_products(multiplication_table(self.group), batch.inputs.astype(np.int32))

    def baseline(self) -> float:
        """Return ln n: every element of the group is as likely as any other."""
        return float(np.log(order(self.group)))

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return equal logits."""
        return np.broadcast_to(0.0, (*batch.mask.shape, self.outputs))

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count correct products at the last step; ``every_step`` counts all scored steps."""
        right = (np.argmax(outputs, axis=-1) == batch.targets) & batch.mask
        every = float(np.count_nonzero(right)), float(np.count_nonzero(batch.mask))
        last = float(np.count_nonzero(right[-1]))
        extra = {"every_step": every} if self.options.targets == "every" else {}
        return Score(last, float(batch.size), extra)

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, the group and its order."""
        return {
            "baseline_name": "guess",
            "group": self.group,
            "order": order(self.group),
            "targets": self.options.targets,
            "data": self.options.data,
        }


class Parity(ProductTask):
    """Say whether the number of ones so far is odd: a running product in Z2.

    A recurrence whose memory gate lies between 0 and 1 cannot at all lengths (Grazzi et al. 2024).
    """

    name = "parity"
    Options: ClassVar[type[TaskOptions]] = ProductOptions
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(20, 40),
        hidden=64,
        batch=32,
        steps=2000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )

    @property
    def group(self) -> str:
        """Z2."""
        return "Z2"


class WordProblemOptions(ProductOptions):
    """Options of ``word_problem``.

    Attributes:
        group: cyclic (Z5), symmetric (S3), alternating (A5), or a product (A4xZ5).
    """

    group: str = Field(default="S3", max_length=64)

    @field_validator("group")
    @classmethod
    def _is_group(cls, name: str) -> str:
        order(name)
        return name


class WordProblem(ProductTask):
    """Say the product of group elements so far (Merrill, Petty & Sabharwal 2024).

    Groups that are not solvable (S5, A5) need a recurrence that is not diagonal or not linear.
    Z60, A4xZ5 and A5 have 60 elements each, and differ in that alone.
    """

    name = "word_problem"
    Options: ClassVar[type[TaskOptions]] = WordProblemOptions
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(20,),
        hidden=64,
        batch=32,
        steps=3000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: WordProblemOptions

    @property
    def group(self) -> str:
        """That of the options."""
        return self.options.group
