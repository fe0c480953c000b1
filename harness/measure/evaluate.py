"""Evaluation: loss and score of a trainer's outputs, computed in NumPy float64."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Dtype, Evaluation, Loss, Model, Task, Trainer, Trial
from harness.plugins.task_validation import check_baseline_outputs, checked_loss, checked_score
from harness.plugins.validation import checked_outputs

PIECE = 2**20  # outputs that are converted to float64 at a time
TRAINED_PER_EVALUATED = 4  # tokens trained on for each that evaluations before the end read
FEWEST_BATCHES = 8  # of an evaluation before the end, however often it is asked for


@dataclass(frozen=True)
class Figures:
    """The result of one pass over some batches.

    Attributes:
        loss: mean over the scored positions.
        error: standard error of the loss, over sequences.
        accuracy: the fraction of hits; None if the task has none.
        extra: further scores of the task.
        tokens: time steps x sequences that were read.
    """

    loss: float
    error: float | None
    accuracy: float | None
    extra: Mapping[str, float]
    tokens: int


@dataclass(frozen=True)
class Evaluator:
    """Evaluates one trainer on fixed batches, without dropout.

    Attributes:
        task: scores the outputs.
        model: of the trainer.
        dtype: of the outputs.
        validation: held-out batches; for a stream, in order.
        sample: as many batches of training data; empty: losses on training data are not known.
        label: of the backend, for errors in its outputs.
        task_label: of the task, for errors in its scores.
        baseline: the loss of the task's trivial predictor on ``validation``; None if only its
            exact value is known.
        sampled_batches: how many of the batches an evaluation before the end reads; None: all.
    """

    task: Task
    model: Model
    dtype: Dtype
    validation: Sequence[Batch]
    sample: Sequence[Batch]
    label: str
    task_label: str = "the task"
    baseline: float | None = None
    sampled_batches: int | None = None

    @property
    def batches_before_end(self) -> int:
        """How many batches of each kind of data an evaluation before the end reads."""
        most = max(len(self.validation), len(self.sample))
        return min(self.sampled_batches or most, most)

    def evaluate(self, trainer: Trainer, step: int, *, full: bool = False) -> list[Evaluation]:
        """Return the figures after ``step`` updates. The trainer's carried state is restored.

        They are those of the sampled batches; with ``full``, those of all batches follow, unless
        the sample is all. Before the first update the trainer has seen no data, so the training
        data are not run; nor are they without a sample.
        """
        most, sampled = max(len(self.validation), len(self.sample)), self.batches_before_end
        ends = sorted({sampled, most}) if full else [sampled]
        state = trainer.state()
        try:
            held_out = self._pass(trainer, self.validation, ends)
            runs = step and self.sample
            seen = self._pass(trainer, self.sample, ends) if runs else [None] * len(ends)
        finally:
            trainer.load_state(state)
        return [
            Evaluation(
                step,
                loss_validation=new.loss,
                loss_train_eval=old.loss if old else None,
                accuracy=new.accuracy,
                extra=new.extra,
                standard_error_validation=new.error,
                standard_error_train_eval=old.error if old else None,
                tokens_validation=new.tokens,
                tokens_train_eval=old.tokens if old else None,
            )
            for new, old in zip(held_out, seen, strict=True)
        ]

    def can_claim(self, evaluation: Evaluation) -> bool:
        """Say whether the figures can show that the task is solved.

        A sample of independent sequences can. The first windows of a stream may be easier than
        the rest, so only all of them can.
        """
        read, whole = evaluation.tokens_validation, sum(batch.tokens for batch in self.validation)
        return read == whole or not any(batch.carry for batch in self.validation)

    def _pass(
        self, trainer: Trainer, batches: Sequence[Batch], ends: Sequence[int]
    ) -> list[Figures]:
        """Run the batches in order; return the figures of the first ``end``, for each end."""
        mean, hits, total, tokens = MeanLoss(self.model.loss), 0.0, 0.0, 0
        sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        figures = []
        trainer.load_state(None)
        for start, end in pairwise((0, *ends)):
            for batch in batches[start:end]:
                outputs = checked_outputs(trainer, batch, self.model, self.dtype, self.label)
                mean.add(outputs, batch)
                score = checked_score(self.task.score(batch, outputs), self.task_label)
                hits, total, tokens = hits + score.hits, total + score.total, tokens + batch.tokens
                for name, (value, count) in score.extra.items():
                    sums[name] = (sums[name][0] + value, sums[name][1] + count)
            extra = {name: value / count for name, (value, count) in sums.items() if count}
            accuracy, error = hits / total if total else None, mean.standard_error()
            figures.append(Figures(mean.value(), error, accuracy, extra, tokens))
        return figures


def batches_to_sample(
    trial: Trial, training: Batch, validation: Sequence[Batch], sample: Sequence[Batch]
) -> int:
    """Return how many batches an evaluation before the end reads, of each kind of data.

    All these evaluations together then read at most a quarter of the tokens that were trained on
    so far, or ``FEWEST_BATCHES`` of each kind if ``evaluate_every`` leaves less. The number is the
    same for every engine, because it depends on the trial and its batches alone.

    Args:
        trial: says after how many steps an evaluation comes.
        training: the first batch to train on.
        validation: held-out batches.
        sample: batches of training data.
    """
    between = min(trial.evaluate_every or trial.steps, trial.steps)
    budget = between * training.tokens // TRAINED_PER_EVALUATED
    read = accumulate(new.tokens + old.tokens for new, old in zip(validation, sample, strict=False))
    return max(FEWEST_BATCHES, sum(tokens <= budget for tokens in read))


def baseline_loss(task: Task, batches: Sequence[Batch], label: str) -> MeanLoss | None:
    """Return the loss of the task's trivial predictor; None if it has no outputs.

    Raises:
        PluginError: the outputs have another shape, or their loss is not finite.
    """
    mean = MeanLoss(task.loss)
    for batch in batches:
        outputs = task.baseline_outputs(batch)
        if outputs is None:
            return None
        check_baseline_outputs(outputs, batch, task.outputs, label)
        mean.add(outputs, batch)
    checked_loss("baseline_outputs", mean.value(), label)
    return mean


@dataclass
class MeanLoss:
    """The mean loss over scored positions, and its standard error over sequences.

    Attributes:
        loss: the kind of loss.
        sums: for each batch, the summed loss of each sequence (B,).
        counts: for each batch, the scored positions of each sequence (B,).
    """

    loss: Loss
    sums: list[NDArray[np.float64]] = field(default_factory=list)
    counts: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, outputs: Array, batch: Batch) -> None:
        """Add the outputs (T, B, K) for a batch."""
        self.sums.append(sums_of_losses(self.loss, outputs, batch))
        self.counts.append(batch.mask.sum(axis=0))

    def value(self) -> float:
        """Return the mean."""
        return float(sum(map(np.sum, self.sums)) / sum(map(np.sum, self.counts)))

    def standard_error(self) -> float | None:
        """Return the standard error of this ratio of sums; None for fewer than 2 sequences."""
        sums, counts = np.concatenate(self.sums), np.concatenate(self.counts)
        n = int(np.count_nonzero(counts))
        if n < 2:  # noqa: PLR2004
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            deviations = sums - self.value() * counts
            return float(np.sqrt(np.square(deviations).sum() * n / (n - 1)) / counts.sum())


def sums_of_losses(loss: Loss, outputs: Array, batch: Batch) -> NDArray[np.float64]:
    """Return the loss of each sequence (B,), summed over the scored positions, in float64.

    It converts ``PIECE`` outputs at a time.

    Args:
        loss: cross-entropy in nats; or, averaged over K, squared error or binary cross-entropy.
        outputs: (T, B, K) logits or predictions.
        batch: targets and mask.
    """
    per_step = max(1, outputs[0].size)
    steps = max(1, PIECE // per_step)
    sums = np.zeros(batch.size)
    for start in range(0, batch.time_steps, steps):
        piece = slice(start, start + steps)
        mask = batch.mask[piece]
        if mask.any():
            losses = _losses(loss, outputs[piece], batch.targets[piece], mask)
            sums += np.bincount(np.nonzero(mask)[1], weights=losses, minlength=batch.size)
    return sums


def _losses(
    loss: Loss, outputs: Array, targets: NDArray[Any], mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the loss of each scored position (n,), time step by time step."""
    scored = outputs[mask].astype(np.float64)  # (n, K)
    wanted = targets[mask]  # (n,) or (n, K)
    if loss == "squared_error":
        return np.asarray(np.square(scored - wanted).mean(axis=1))
    if loss == "binary_cross_entropy":
        with np.errstate(invalid="ignore"):  # infinite logits, as below
            losses = np.maximum(scored, 0) - scored * wanted + np.log1p(np.exp(-np.abs(scored)))
        return np.asarray(losses.mean(axis=1))
    with np.errstate(invalid="ignore"):  # infinite logits give NaN, which the runner reports
        shifted = scored - scored.max(axis=1, keepdims=True)
    log_normaliser = np.log(np.exp(shifted).sum(axis=1))
    return np.asarray(log_normaliser - shifted[np.arange(len(wanted)), wanted])
