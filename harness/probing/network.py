"""A trained network as probes see it, from its checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.contract import Parameters, array_dtype
from harness.contract.probes import TrainedNetwork
from harness.measure.checkpoint import check_fit, load
from harness.measure.setup import model_of, prepared_task, validation_batches
from harness.plugins import Plugins
from harness.plugins.task_validation import check_declared
from harness.probing.stepper import DerivedStepper


def trained_network(plugins: Plugins, checkpoint: Path) -> TrainedNetwork:
    """Return the network of a checkpoint, with its task and validation batches.

    Raises:
        StoreError: the file is missing or damaged.
        UsageError: the task cannot be prepared, or the data is not that of the training.
    """
    stored = load(checkpoint)
    trial = stored.trial
    label = plugins.label("task", trial.task)
    task = prepared_task(trial, plugins)
    check_declared(task, label)
    model = model_of(plugins, trial, task.inputs, task.outputs, task.loss)
    check_fit(checkpoint, stored.parameters, model, array_dtype(trial.dtype))
    weights: Parameters = {
        name: np.asarray(values, np.float64) for name, values in stored.parameters.items()
    }
    batches = validation_batches(task, trial, label, trial.batch)
    return TrainedNetwork(model, weights, task, batches, DerivedStepper(model, weights))
