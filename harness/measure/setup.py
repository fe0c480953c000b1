"""From a trial to everything that its measurement needs: task, model, weights, batches and the backend's trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from harness.contract import (
    Backend,
    Batch,
    Checkpoint,
    Execution,
    Inputs,
    Missing,
    Model,
    Parameters,
    Task,
    Trainer,
    Trial,
    UnavailableError,
    UnsupportedError,
    Vocabulary,
    array_dtype,
)
from harness.contract.checks import variant_error
from harness.contract.trial import OptionValue
from harness.measure import REFERENCE_BACKEND
from harness.measure.checkpoint import Checkpoint as StoredModel
from harness.measure.checkpoint import check_fit
from harness.measure.evaluate import Evaluator, baseline_loss
from harness.measure.proof.initialise import initial_parameters
from harness.measure.proof.streams import generator, seed_sequence
from harness.measure.timing.speed import training_flops_per_token
from harness.plugins import Plugins, query
from harness.plugins.task_validation import check_declared, check_evaluation, checked_batches
from harness.plugins.validation import check_parameters

FLOW_SEQUENCES = 32  # of a batch, for the gradient flow ...
FLOW_BYTES = 2**28  # ... or fewer, if the gradients of their states take more than this ...
FLOW_OPERATIONS = (
    1e11  # ... or more operations than this, about ten seconds of the float64 reference
)
FEWEST = 4  # sequences, however many operations they take: those of parity


@dataclass(frozen=True)
class Setup:
    """One trial, resolved. ``label`` names the backend and its distribution, ``task_label`` the task and its own."""

    trial: Trial
    plugins: Plugins
    backend: Backend
    task: Task
    model: Model
    parameters: Parameters  # float64
    execution: Execution
    label: str
    task_label: str

    @property
    def reference(self) -> Backend:
        """The backend that every other is compared with."""
        return self.plugins.backend(REFERENCE_BACKEND)

    def trainer(self) -> Trainer:
        """Return the backend's trainer at the initial weights, its parameters checked.

        Raises:
            UnsupportedError: the variant turned out to be missing, as one that cannot be built.
        """
        try:
            trainer = self.backend.trainer(
                self.model, self.trial.update_rule(), self.parameters, self.execution
            )
        except UnavailableError as error:
            if (variant := self.trial.variant) not in (
                missing := query.missing_variants(self.backend)
            ):
                raise
            raise UnsupportedError(
                str(variant_error(self.backend.name, variant, (), missing))
            ) from error
        check_parameters(trainer, self.model, array_dtype(self.trial.dtype), self.label)
        return trainer

    def reference_trainer(self, parameters: Parameters) -> Trainer:
        """Return the reference's trainer at these weights, in the trial's dtype."""
        variant = self.reference.variants(self.model.cell)[0]
        execution = Execution(variant, dtype=array_dtype(self.trial.dtype))
        return self.reference.trainer(self.model, self.trial.update_rule(), parameters, execution)

    def exact_trainer(self, parameters: Parameters) -> Trainer:
        """Return the reference's trainer at these weights, in float64; it keeps few states of long sequences."""
        variant = self.reference.variants(self.model.cell)[0]
        checkpoint: Checkpoint = "auto" if self.reference.checkpoints else "off"
        execution = Execution(variant, dtype="float64", checkpoint=checkpoint)
        return self.reference.trainer(self.model, self.trial.update_rule(), parameters, execution)

    def training(self) -> Iterator[Batch]:
        """Yield the training batches, the same for every backend, without end."""
        batches = self.task.training(generator(self._data_seed, "data"), self.trial.batch)
        return checked_batches(batches, self.trial.batch, self.task, self.task_label)

    def flow_batch(self) -> Batch:
        """Return the first sequences of the first training batch, as many as the gradient flow is read off."""
        (batch,) = islice(self.training(), 1)
        states, most = len(self.model.cell.states), FLOW_SEQUENCES
        dtype = array_dtype(self.trial.dtype)
        if (
            states > 1
        ):  # the reference may have to give them; the batch is the same for every backend
            dtype = "float64"
            operations = training_flops_per_token(self.model) * batch.time_steps
            most = min(most, max(FEWEST, int(FLOW_OPERATIONS // operations)))
        width = self.model.layers * self.model.hidden * states * np.dtype(dtype).itemsize
        return batch.first(min(most, max(1, FLOW_BYTES // (width * batch.time_steps))))

    def probe(self, sequences: int) -> Batch:
        """Return the first training batch, cut to so many sequences, without taking it out of the training stream."""
        return next(self.training()).first(sequences)

    def evaluator(self) -> Evaluator:
        """Return what evaluates: held-out batches, and as many of training data from a stream of their own."""
        trial = self.trial
        seed = trial.seed if trial.evaluation_seed is None else trial.evaluation_seed
        validation = self.task.validation(generator(seed, "evaluation"), trial.batch)
        check_evaluation("validation", validation, self.task, self.task_label)
        rng = generator(self._data_seed, "training_sample")
        sample = self.task.training_sample(rng, trial.batch, len(validation))
        check_evaluation("training_sample", sample, self.task, self.task_label)
        mean = baseline_loss(self.task, validation, self.task_label)
        baseline, dtype = mean.value() if mean else None, array_dtype(trial.dtype)
        return Evaluator(
            self.task, self.model, dtype, validation, sample, self.label, self.task_label, baseline
        )

    @property
    def _data_seed(self) -> int:
        return data_seed(self.trial)


def text_trainer(
    plugins: Plugins, path: Path, stored: StoredModel, vocabulary: Vocabulary
) -> Trainer:
    """Return the reference's trainer of the text model that was read from ``path``.

    Raises:
        StoreError: the tensors are not those of its trial.
    """
    trial, size, dtype = stored.trial, vocabulary.size, array_dtype(stored.trial.dtype)
    cell = plugins.cell(trial.cell)
    model = Model(cell, Inputs("token", size), trial.hidden, trial.layers, size, "cross_entropy")
    check_fit(path, stored.parameters, model, dtype)
    reference = plugins.backend(REFERENCE_BACKEND)
    execution = Execution(reference.variants(cell)[0], dtype=dtype)
    return reference.trainer(model, trial.update_rule(), stored.parameters, execution)


def data_seed(trial: Trial) -> int:
    """Return the seed of the training data."""
    return trial.seed if trial.data_seed is None else trial.data_seed


def check_backend(backend: Backend, trial: Trial, plugins: Plugins) -> None:
    """Check what can be known before anything is built.

    Raises:
        UnsupportedError: the backend cannot run here, on this device or so many, in this dtype,
            with checkpoints, or has no such variant of the cell.
    """
    answer = query.availability(backend)
    if isinstance(answer, Missing):
        raise UnsupportedError(
            f"backend {backend.name!r} cannot run here: {answer.reason}. Fix: {answer.fix}"
        )
    cell = plugins.cell(trial.cell)
    variants = query.variants(backend, cell)
    if trial.variant not in variants:
        if trial.variant in (missing := query.missing_variants(backend)):
            raise UnsupportedError(
                str(variant_error(backend.name, trial.variant, variants, missing))
            )
        if not variants:
            runs = (
                ", ".join(
                    name for name, other in plugins.cells.items() if query.variants(backend, other)
                )
                or "none here"
            )
            raise UnsupportedError(
                f"backend {backend.name!r} does not run the cell {trial.cell}; it runs: {runs}"
            )
        names = ", ".join(variants)
        raise UnsupportedError(
            f"backend {backend.name!r} runs {trial.cell} as {names}, not as {trial.variant!r}"
        )
    devices = query.devices(backend)
    if trial.device not in devices and trial.device.split(":")[0] not in devices:
        raise UnsupportedError(
            f"backend {backend.name!r} finds no device {trial.device!r}: {', '.join(devices)}"
        )
    if trial.dtype not in (dtypes := query.dtypes(backend, trial.device)):
        known = ", ".join(dtypes)
        raise UnsupportedError(
            f"backend {backend.name!r} has no {trial.dtype} on {trial.device}; it has: {known}"
        )
    if trial.checkpoint != "off" and not backend.checkpoints:
        raise UnsupportedError(
            f"backend {backend.name!r} has no checkpointed BPTT: leave --checkpoint out"
        )
    if trial.devices > 1:
        _check_devices(backend, trial, devices)


def _check_devices(backend: Backend, trial: Trial, known: Sequence[str]) -> None:
    """Check that a batch can be split over so many devices; a CPU stands for as many as are wanted."""
    if not backend.data_parallel:
        raise UnsupportedError(
            f"backend {backend.name!r} does not train on several devices: leave --devices out"
        )
    there = [name for name in known if name.partition(":")[0] == trial.device]
    if trial.device != "cpu" and len(there) < trial.devices:
        found = (
            f"backend {backend.name!r} finds {len(there)} of {trial.device} ({', '.join(known)})"
        )
        raise UnsupportedError(
            f"{trial.devices} devices were asked for, {found}: give --devices {len(there)}"
        )


def prepare(trial: Trial, plugins: Plugins, backend: Backend, label: str) -> Setup:
    """Prepare the task and draw the weights.

    Raises:
        UnsupportedError: the backend cannot run this model.
        UsageError: an option of the task cannot be used.
    """
    task_class = plugins.task(trial.task)
    task = task_class(task_class.Options(**trial.task_options), trial.length)
    task.prepare(seed_sequence(data_seed(trial), "prepare"))
    task_label = plugins.label("task", trial.task)
    check_declared(task, task_label)
    cell = plugins.cell(trial.cell)
    model = Model(
        cell, task.inputs, trial.hidden, trial.layers, task.outputs, task.loss, trial.dropout
    )
    reason = query.why_unsupported(backend, model, trial)
    if reason is not None:
        raise UnsupportedError(reason)
    parameters = initial_parameters(
        model,
        trial.seed,
        scheme=trial.initialisation,
        forget_bias=trial.forget_bias,
        chrono=trial.chrono,
    )
    dropout_seed = int(seed_sequence(trial.seed, "dropout").generate_state(1)[0])
    execution = Execution(
        trial.variant,
        trial.device,
        trial.dtype,
        dropout_seed,
        threads=trial.threads,
        checkpoint=trial.checkpoint,
        devices=trial.devices,
    )
    return Setup(trial, plugins, backend, task, model, parameters, execution, label, task_label)


def default_options(task: type[Task]) -> dict[str, OptionValue]:
    """Return the default of every option of a task that has one, if a trial can hold it."""
    defaults = {
        name: field.default
        for name, field in task.Options.model_fields.items()
        if not field.is_required()
    }
    return {
        name: value
        for name, value in defaults.items()
        if value is None or isinstance(value, str | int | float)
    }
