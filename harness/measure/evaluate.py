"""Evaluation: the loss in NumPy float64 from a trainer's outputs, dropout off, with the training left as it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Dtype, Evaluation, Loss, Model, Task, Trainer
from harness.measure.guard import checked_outputs
from harness.measure.task_guard import checked_score

PIECE = 2**20  # outputs that are turned into float64 at a time


@dataclass(frozen=True)
class Figures:
    """What one pass over some batches gives."""

    loss: float
    accuracy: float | None
    extra: Mapping[str, float]


@dataclass(frozen=True)
class Evaluator:
    """Evaluates one trainer on fixed batches.

    Attributes:
        validation: held-out batches; for a stream, in order.
        sample: as many batches of training data.
        label: how to name the backend's plugin if its outputs are wrong.
        task_label: how to name the task's plugin if its scores are wrong.
    """

    task: Task
    model: Model
    dtype: Dtype
    validation: Sequence[Batch]
    sample: Sequence[Batch]
    label: str
    task_label: str = "the task"

    def evaluate(self, trainer: Trainer, step: int) -> Evaluation:
        """Return the figures after ``step`` updates; the trainer's carried state is put back afterwards.

        Before the first update nothing has been seen: all data are held-out data, and the sample is not run.
        """
        state = trainer.state()
        try:
            held_out = self._pass(trainer, self.validation)
            seen = self._pass(trainer, self.sample).loss if step else None
        finally:
            trainer.load_state(state)
        return Evaluation(step, held_out.loss, seen, held_out.accuracy, held_out.extra)

    def _pass(self, trainer: Trainer, batches: Sequence[Batch]) -> Figures:
        losses, positions, hits, total = 0.0, 0, 0.0, 0.0
        sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        trainer.load_state(None)
        for batch in batches:
            outputs = checked_outputs(trainer, batch, self.model, self.dtype, self.label)
            losses += sum_of_losses(self.model.loss, outputs, batch)
            positions += int(batch.mask.sum())
            score = checked_score(self.task.score(batch, outputs), self.task_label)
            hits, total = hits + score.hits, total + score.total
            for name, (value, count) in score.extra.items():
                sums[name] = (sums[name][0] + value, sums[name][1] + count)
        extra = {name: value / count for name, (value, count) in sums.items() if count}
        return Figures(losses / positions, hits / total if total else None, extra)


def sum_of_losses(loss: Loss, outputs: Array, batch: Batch) -> float:
    """Return the loss summed over the positions that count, in float64, some time steps at a time.

    Args:
        loss: cross-entropy in nats, or the squared error averaged over K.
        outputs: (T, B, K) logits or predictions.
        batch: targets and mask.
    """
    per_step = max(1, outputs[0].size)
    steps = max(1, PIECE // per_step)
    return sum(
        _sum_of_losses(loss, outputs[start : start + steps], batch.targets[start : start + steps], mask)
        for start in range(0, batch.time_steps, steps)
        if (mask := batch.mask[start : start + steps]).any()
    )


def _sum_of_losses(loss: Loss, outputs: Array, targets: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    scored, wanted = outputs[mask].astype(np.float64), targets[mask]  # (n, K), and (n,) or (n, K)
    if loss == "squared_error":
        return float(np.square(scored - wanted).mean(axis=1).sum())
    with np.errstate(invalid="ignore"):  # infinite logits give NaN, which the runner reports
        shifted = scored - scored.max(axis=1, keepdims=True)
    log_normaliser = np.log(np.exp(shifted).sum(axis=1))
    return float((log_normaliser - shifted[np.arange(len(wanted)), wanted]).sum())
