"""Everything that the measurement of a trial needs: task, model, weights, batches, trainer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from harness.contract import (
    ArrayDtype,
    Backend,
    Batch,
    Checkpoint,
    Execution,
    Inputs,
    Loss,
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
from harness.contract.errors import with_fix
from harness.contract.trial import OptionValue
from harness.measure import REFERENCE_BACKEND
from harness.measure.checkpoint import Checkpoint as StoredModel
from harness.measure.checkpoint import check_fit
from harness.measure.evaluate import Evaluator, baseline_loss, batches_to_sample
from harness.measure.proof.initialise import initial_parameters
from harness.measure.proof.streams import generator, seed_sequence
from harness.measure.timing.speed import training_flops_per_token
from harness.plugins import Plugins, query
from harness.plugins.task_validation import check_declared, check_evaluation, checked_batches
from harness.plugins.validation import check_parameters

# The gradient flow uses this many sequences of a batch, or fewer within the two limits.
FLOW_SEQUENCES = 32
FLOW_BYTES = 2**28  # of the gradients of their states
FLOW_OPERATIONS = 1e11  # about ten seconds of the float64 reference
FEWEST = 4  # sequences, whatever the operations: as for parity


@dataclass(frozen=True)
class Setup:
    """One trial and what it needs.

    Attributes:
        trial: what is measured.
        plugins: all plugins.
        backend: the trial's.
        task: the trial's, prepared.
        model: the trial's.
        parameters: the initial weights, float64.
        execution: how the backend runs the model.
        label: names the backend and its distribution.
        task_label: names the task and its distribution.
    """

    trial: Trial
    plugins: Plugins
    backend: Backend
    task: Task
    model: Model
    parameters: Parameters
    execution: Execution
    label: str
    task_label: str

    @property
    def reference(self) -> Backend:
        """The reference backend, with which every other is compared."""
        return self.plugins.backend(REFERENCE_BACKEND)

    def trainer(self) -> Trainer:
        """Return the backend's trainer at the initial weights. Its parameters are checked.

        Raises:
            UnsupportedError: the variant is missing, for example because it cannot be built.
        """
        try:
            trainer = self.backend.trainer(
                self.model, self.trial.update_rule(), self.parameters, self.execution
            )
        except UnavailableError as error:
            variant, missing = self.trial.variant, query.missing_variants(self.backend)
            if variant not in missing:
                raise
            problem = variant_error(self.backend.name, variant, (), missing)
            raise UnsupportedError(str(problem)) from error
        check_parameters(trainer, self.model, array_dtype(self.trial.dtype), self.label)
        return trainer

    def reference_trainer(self, parameters: Parameters) -> Trainer:
        """Return the reference's trainer at these weights, in the trial's dtype."""
        return self._reference_trainer(parameters, array_dtype(self.trial.dtype), "off")

    def exact_trainer(self, parameters: Parameters) -> Trainer:
        """Return the reference's trainer at these weights, in float64, with checkpoints."""
        checkpoint: Checkpoint = "auto" if self.reference.checkpoints else "off"
        return self._reference_trainer(parameters, "float64", checkpoint)

    def _reference_trainer(
        self, parameters: Parameters, dtype: ArrayDtype, checkpoint: Checkpoint
    ) -> Trainer:
        variant = self.reference.variants(self.model.cell)[0]
        execution = Execution(variant, dtype=dtype, checkpoint=checkpoint)
        return self.reference.trainer(self.model, self.trial.update_rule(), parameters, execution)

    def training(self, skip: int = 0) -> Iterator[Batch]:
        """Yield the training batches without end. They are the same for every backend.

        The first ``skip`` are drawn and left out: only the task knows the position of its stream.
        """
        rng = generator(data_seed(self.trial), "data")
        batches = self.task.training(rng, self.trial.batch)
        if skip:
            batches = islice(batches, skip, None)
        return checked_batches(batches, self.trial.batch, self.task, self.task_label)

    def flow_batch(self) -> Batch:
        """Return the first sequences of the first training batch, for the gradient flow."""
        batch = next(self.training())
        shapes, most = self.model.state_shapes(), FLOW_SEQUENCES
        dtype = array_dtype(self.trial.dtype)
        if len(shapes) > 1:  # the reference may have to run it; all backends have the same batch
            dtype = "float64"
            operations = training_flops_per_token(self.model) * batch.time_steps
            most = min(most, max(FEWEST, int(FLOW_OPERATIONS // operations)))
        width = sum(math.prod(shape) for shape in shapes) * np.dtype(dtype).itemsize
        return batch.first(min(most, max(1, FLOW_BYTES // (width * batch.time_steps))))

    def first_batch(self, sequences: int) -> Batch:
        """Return the first sequences of the first training batch. Training still gets it."""
        return next(self.training()).first(sequences)

    def evaluator(self) -> Evaluator:
        """Return the evaluator on held-out batches and as many batches of training data."""
        trial = self.trial
        validation = validation_batches(self.task, trial, self.task_label, trial.batch)
        rng = generator(data_seed(trial), "training_sample")
        sample = self.task.training_sample(rng, trial.batch, len(validation))
        check_evaluation("training_sample", sample, self.task, self.task_label)
        mean = baseline_loss(self.task, validation, self.task_label)
        baseline, dtype = mean.value() if mean else None, array_dtype(trial.dtype)
        sampled = batches_to_sample(trial, next(self.training()), validation, sample)
        return Evaluator(
            self.task, self.model, dtype, validation, sample, self.label, self.task_label,
            baseline, sampled,
        )  # fmt: skip


def text_trainer(
    plugins: Plugins, path: Path, stored: StoredModel, vocabulary: Vocabulary
) -> Trainer:
    """Return the reference's trainer of a text model that was read from ``path``.

    Raises:
        StoreError: the tensors are not those of its trial.
    """
    trial, model = stored.trial, text_model(plugins, path, stored, vocabulary)
    reference = plugins.backend(REFERENCE_BACKEND)
    variant = reference.variants(model.cell)[0]
    execution = Execution(variant, dtype=array_dtype(trial.dtype))
    return reference.trainer(model, trial.update_rule(), stored.parameters, execution)


def text_model(plugins: Plugins, path: Path, stored: StoredModel, vocabulary: Vocabulary) -> Model:
    """Return the text model that was read from ``path``.

    Raises:
        StoreError: the tensors are not those of its trial.
    """
    trial, size = stored.trial, vocabulary.size
    model = model_of(plugins, trial, Inputs("token", size), size, "cross_entropy")
    check_fit(path, stored.parameters, model, array_dtype(trial.dtype))
    return model


def model_of(plugins: Plugins, trial: Trial, inputs: Inputs, outputs: int, loss: Loss) -> Model:
    """Return the model of a trial, whose task has these inputs, outputs and loss."""
    return Model(
        plugins.cell(trial.cell),
        inputs,
        trial.hidden,
        trial.layers,
        outputs,
        loss,
        trial.dropout,
        trial.embedding,
        trial.tied_readout,
    )


def data_seed(trial: Trial) -> int:
    """Return the seed of the training data."""
    return trial.seed if trial.data_seed is None else trial.data_seed


def check_backend(backend: Backend, trial: Trial, plugins: Plugins) -> None:
    """Check that the backend supports the trial, before anything is built.

    Raises:
        UnsupportedError: the backend cannot run here, has no such variant of the cell, device or
            dtype, or does not support checkpoints, embeddings or several devices.
    """
    name, answer = f"backend {backend.name!r}", query.availability(backend)
    if isinstance(answer, Missing):
        raise UnsupportedError(with_fix(f"{name} cannot run here: {answer.reason}", answer.fix))
    _check_variant(backend, trial, plugins)
    devices = query.devices(backend)
    if trial.device not in devices and trial.device.split(":")[0] not in devices:
        raise UnsupportedError(f"{name} finds no device {trial.device!r}: {', '.join(devices)}")
    dtypes = query.dtypes(backend, trial.device)
    if trial.dtype not in dtypes:
        has = ", ".join(dtypes)
        raise UnsupportedError(f"{name} has no {trial.dtype} on {trial.device}; it has: {has}")
    if trial.checkpoint != "off" and not backend.checkpoints:
        raise UnsupportedError(f"{name} has no checkpointed BPTT: leave --checkpoint out")
    if trial.embedding is not None and not backend.embeddings:
        raise UnsupportedError(f"{name} trains no embeddings: give --embedding none")
    rule = trial.update_rule()
    if ignored := set(rule.options()) - set(backend.rule_options):
        options = " and ".join(f"--{option.replace('_', '-')}" for option in sorted(ignored))
        raise UnsupportedError(f"{name} would ignore it: leave {options} out")
    if trial.devices > 1:
        _check_devices(backend, trial, devices)


def _check_variant(backend: Backend, trial: Trial, plugins: Plugins) -> None:
    cell = plugins.cell(trial.cell)
    variants = query.variants(backend, cell)
    if trial.variant in variants:
        return
    missing = query.missing_variants(backend)
    if trial.variant in missing:
        raise UnsupportedError(str(variant_error(backend.name, trial.variant, variants, missing)))
    if not variants:
        cells = [name for name, cell in plugins.cells.items() if query.variants(backend, cell)]
        runs = ", ".join(cells) or "none here"
        raise UnsupportedError(
            f"backend {backend.name!r} does not run the cell {trial.cell}; it runs: {runs}"
        )
    problem = (
        f"backend {backend.name!r} runs {trial.cell} as {', '.join(variants)}, "
        f"not as {trial.variant!r}"
    )
    small = Model(cell, Inputs("token", 2), trial.hidden, trial.layers, 2, "cross_entropy")
    reason = query.why_unsupported(backend, small, trial)
    raise UnsupportedError(f"{problem}: {reason}" if reason else problem)


def _check_devices(backend: Backend, trial: Trial, names: Sequence[str]) -> None:
    """Check that a batch can be split over the devices. One CPU can serve as any number."""
    name = f"backend {backend.name!r}"
    if not backend.data_parallel:
        raise UnsupportedError(f"{name} does not train on several devices: leave --devices out")
    count = sum(device.partition(":")[0] == trial.device for device in names)
    if trial.device != "cpu" and count < trial.devices:
        finds = f"{name} finds {count} of {trial.device} ({', '.join(names)})"
        raise UnsupportedError(
            f"{trial.devices} devices were asked for, {finds}: give --devices {count}"
        )


def prepare(trial: Trial, plugins: Plugins, backend: Backend, label: str) -> Setup:
    """Prepare the task, and draw the initial weights.

    Raises:
        UnsupportedError: the backend cannot run this model.
        UsageError: an option of the task cannot be used.
    """
    task = prepared_task(trial, plugins)
    task_label = plugins.label("task", trial.task)
    check_declared(task, task_label)
    model = model_of(plugins, trial, task.inputs, task.outputs, task.loss)
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


def prepared_task(trial: Trial, plugins: Plugins) -> Task:
    """Return the task of a trial, with its data.

    Raises:
        UsageError: an option of the task cannot be used.
    """
    task_class = plugins.task(trial.task)
    task = task_class(task_class.Options(**trial.task_options), trial.length)
    task.prepare(seed_sequence(data_seed(trial), "prepare"))
    return task


def validation_batches(task: Task, trial: Trial, label: str, batch: int) -> Sequence[Batch]:
    """Return the trial's held-out batches, of ``batch`` sequences. They are checked."""
    seed = trial.seed if trial.evaluation_seed is None else trial.evaluation_seed
    batches = task.validation(generator(seed, "evaluation"), batch)
    check_evaluation("validation", batches, task, label)
    return batches


def default_options(task: type[Task]) -> dict[str, OptionValue]:
    """Return the defaults of a task's options, if a trial can hold them."""
    defaults: dict[str, OptionValue] = {}
    for name, field in task.Options.model_fields.items():
        value = field.default
        if not field.is_required() and (value is None or isinstance(value, str | int | float)):
            defaults[name] = value
    return defaults
