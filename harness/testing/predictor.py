"""The best constant predictor: one fixed output per time step, fitted and scored on two samples."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np

from harness.contract import Array, Batch, Task

SAMPLE_BATCHES, SAMPLE_SIZE = 16, 64  # about a thousand sequences for each half


def constant_predictor(task: Task) -> tuple[float, float, float]:
    """Return the loss of the best constant predictor, four standard errors, and the fit's bias."""
    batches = list(islice(task.training(np.random.default_rng(5), SAMPLE_SIZE), 2 * SAMPLE_BATCHES))
    fitted, scored = batches[:SAMPLE_BATCHES], batches[SAMPLE_BATCHES:]
    steps = max(batch.time_steps for batch in batches)
    sums, counts = np.zeros((steps, task.outputs)), np.zeros((steps, 1))
    for batch in fitted:
        t, _ = np.nonzero(batch.mask)
        np.add.at(sums, t, _as_values(task, batch)[batch.mask])
        np.add.at(counts, t, 1.0)
    overall = sums.sum(axis=0) / counts.sum()
    # The overall mean counts as a tenth of an observation.
    means = (sums + 0.1 * overall) / (counts + 0.1)
    losses = [_losses(task, means, batch) for batch in scored]
    total = sum(float(part.sum()) for part in losses) / sum(part.size for part in losses)
    error = 4.0 * np.std([part.mean() for part in losses], ddof=1) / math.sqrt(len(losses)) + 1e-9
    per_step = float(counts.sum()) / np.count_nonzero(counts)
    bias = 2.0 * total / per_step if task.loss == "squared_error" else task.outputs / per_step
    return total, float(error), float(bias)


def _as_values(task: Task, batch: Batch) -> Array:
    if task.loss == "cross_entropy":
        return np.eye(task.outputs)[batch.targets]
    return np.asarray(batch.targets, np.float64)


def _losses(task: Task, means: Array, batch: Batch) -> Array:
    t, b = np.nonzero(batch.mask)
    if task.loss == "squared_error":
        return np.asarray(np.mean((means[t] - batch.targets[t, b]) ** 2, axis=-1))
    if task.loss == "binary_cross_entropy":
        chances = np.abs(1 - batch.targets[t, b] - means[t])  # of what is the case
        return np.asarray(-np.log(np.maximum(chances, 1e-12)).mean(axis=-1))
    return np.asarray(-np.log(np.maximum(means[t, batch.targets[t, b]], 1e-12)))
