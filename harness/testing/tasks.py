"""Checks of a task: its batches, its random streams, its score and its baseline."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from harness.contract import Array, Batch, Evaluation, Score, Task
from harness.contract.wording import check_name
from harness.measure.evaluate import baseline_loss
from harness.plugins.task_validation import (
    checked_criterion,
    checked_set_names,
    checked_steps_per_epoch,
)
from harness.testing.compare import Check, NotApplicable
from harness.testing.predictor import constant_predictor

BATCH = 8
SAMPLES = 4  # of validation, each with another seed
CERTAIN = 30.0  # a logit that leaves a probability of 1e-13 to each other class


@dataclass(frozen=True)
class TaskBench:
    """One task class with options, at several lengths."""

    task: type[Task]
    options: Mapping[str, Any]
    lengths: tuple[int, ...]
    constant_baseline: bool = False

    def prepared(self, length: int, seed: int = 0) -> Task:
        """Return a new instance that is ready to generate."""
        task = self.task(self.task.Options(**self.options), length)
        task.check()
        task.prepare(np.random.SeedSequence(seed))
        return task

    def each_length(self) -> Iterator[Task]:
        """Yield a prepared instance per length."""
        return (self.prepared(length) for length in self.lengths)

    def longest(self) -> Task:
        """Return a prepared instance of the greatest length."""
        return self.prepared(max(self.lengths))


def checks_for_task(
    task: type[Task],
    options: Mapping[str, Any] | None = None,
    lengths: Sequence[int] | None = None,
    *,
    constant_baseline: bool = False,
) -> Iterator[Check]:
    """Yield every check of a task.

    Args:
        task: the class that the plugin offers.
        options: values of its options; None means the defaults.
        lengths: the lengths to try; None means the task's minimum, and the minimum plus 20.
        constant_baseline: True if the baseline is the loss of the best *constant* predictor; a
            fitted one must then reach it. Leave it False if the baseline is a better predictor
            (n-grams of a text).
    """
    lengths = tuple(lengths or (task.minimum_length, task.minimum_length + 20))
    bench = TaskBench(task, options or {}, lengths, constant_baseline)
    return (Check(function.__name__, partial(function, bench)) for function in CHECKS)


def it_declares_itself_sanely(bench: TaskBench) -> None:
    """The name is valid, the defaults are positive, and the facts can be stored."""
    check_name("task", bench.task.name)
    defaults = bench.task.defaults
    for name in ("hidden", "batch", "steps", "learning_rate"):
        assert getattr(defaults, name) > 0, (
            f"defaults.{name}: must be positive, got {getattr(defaults, name)}"
        )
    task = bench.longest()
    json.dumps(task.facts(), allow_nan=False)
    vocabulary = task.vocabulary
    assert vocabulary is None or vocabulary.size == task.inputs.size, (
        "vocabulary: its size is not that of the inputs"
    )


def batches_are_well_formed(bench: TaskBench) -> None:
    """Batches have the contract's shapes, dtypes and ranges, and at least one position counts."""
    for task in bench.each_length():
        training = list(islice(task.training(_rng(), BATCH), 3))
        validation = list(task.validation(_rng(), BATCH))
        assert validation, "validation: expected at least one batch"
        assert not validation[0].carry, "validation: the first batch must have carry=False"
        sample = list(task.training_sample(_rng(), BATCH, 2))
        assert len(sample) == 2, f"training_sample: asked for 2 batches, got {len(sample)}"  # noqa: PLR2004
        for kind, batches in (
            ("training", training),
            ("validation", validation),
            ("training_sample", sample),
        ):
            for batch in batches:
                _well_formed(task, batch, f"{kind} batch at length {task.length}")


def equal_generators_give_equal_batches(bench: TaskBench) -> None:
    """Two instances with equal seeds give equal batches, byte for byte."""
    for length in bench.lengths:
        first, second = (_drawn(bench.prepared(length)) for _ in range(2))
        for batch, other in zip(first, second, strict=True):
            for name in ("inputs", "targets", "mask"):
                same = np.array_equal(getattr(batch, name), getattr(other, name))
                assert same, f"{name}: equal generators gave different batches (length {length})"


def training_batches_differ(bench: TaskBench) -> None:
    """Successive training batches are not the same."""
    first, second = islice(bench.longest().training(_rng(), BATCH), 2)
    assert not np.array_equal(first.inputs, second.inputs), (
        "inputs: two successive training batches are equal"
    )


def validation_differs_from_training(bench: TaskBench) -> None:
    """Validation from another random stream, as in a trial, does not repeat training batches."""
    task = bench.longest()
    seen = list(islice(task.training(_rng(), BATCH), 3))
    for batch in islice(task.validation(_rng(1), BATCH), 3):
        again = any(np.array_equal(batch.inputs, other.inputs) for other in seen)
        assert not again, "inputs: a validation batch is one of the first training batches"


def baseline_is_that_of_a_trivial_predictor(bench: TaskBench) -> None:
    """No constant predictor beats the baseline; with ``constant_baseline``, the best reaches it."""
    for task in bench.each_length():
        baseline, floor = task.baseline(), task.floor()
        assert math.isfinite(baseline), f"baseline: must be a positive number, got {baseline}"
        assert baseline > 0, f"baseline: must be a positive number, got {baseline}"
        assert floor is None or 0 <= floor <= baseline, (
            f"floor: {floor} is not between 0 and the baseline {baseline}"
        )
        loss, error, bias = constant_predictor(task)
        where = (
            f"at length {task.length}: "
            f"a constant predictor has the loss {loss:.4f} +- {error + bias:.4f}"
        )
        assert loss >= baseline - error, f"baseline: {baseline:.4f} is too high {where}"
        if bench.constant_baseline:
            assert loss <= baseline + error + bias, f"baseline: {baseline:.4f} is too low {where}"


def baseline_outputs_are_a_fixed_predictors(bench: TaskBench) -> None:
    """The trivial predictor ignores the targets, and its loss over many batches is the baseline."""
    for task in bench.each_length():
        batches = [batch for seed in range(SAMPLES) for batch in task.validation(_rng(seed), BATCH)]
        where, baseline = f"at length {task.length}", task.baseline()
        mean = baseline_loss(task, batches, where)
        if mean is None:
            raise NotApplicable(
                "the task has no baseline_outputs: losses are compared with baseline()"
            )
        other = replace(batches[0], targets=np.roll(batches[0].targets, 1, axis=1)[::-1])
        outputs, again = (np.asarray(task.baseline_outputs(batch)) for batch in (batches[0], other))
        assert np.array_equal(outputs, again), (
            f"baseline_outputs: they change with the targets {where}, but must not"
        )
        loss, error = mean.value(), 5.0 * (mean.standard_error() or 0.0) + 1e-6 * baseline
        assert abs(loss - baseline) <= error, (
            f"baseline_outputs: over {len(batches)} validation batches their loss is {loss:.6g} "
            f"+- {error:.2g}, but baseline() is {baseline:.6g} {where}"
        )


def evaluation_sets_are_well_formed(bench: TaskBench) -> None:
    """Each named set has well-formed batches, equal for equal generators, other than validation."""
    task = bench.longest()
    names = checked_set_names(task, "evaluation_sets")
    if not names:
        raise NotApplicable("the task has no evaluation sets of its own")
    validation = task.validation(_rng(), BATCH)[0]
    for name in names:
        first, again = (task.evaluation_set(name, _rng(3), BATCH) for _ in range(2))
        assert first, f"evaluation_set {name!r}: expected at least one batch"
        assert not first[0].carry, f"evaluation_set {name!r}: the first batch has carry=True"
        for batch, other in zip(first, again, strict=True):
            _well_formed(task, batch, f"evaluation_set {name!r}")
            assert np.array_equal(batch.inputs, other.inputs), (
                f"evaluation_set {name!r}: equal generators gave different batches"
            )
        assert not np.array_equal(first[0].inputs, validation.inputs), (
            f"evaluation_set {name!r}: its first batch is that of validation"
        )


def criterion_and_epoch_are_sane(bench: TaskBench) -> None:
    """The criterion is a text; training data repeat after a positive number of steps, or never."""
    task = bench.longest()
    checked_criterion(task, "criterion")
    checked_steps_per_epoch(task, BATCH, "steps_per_epoch")


def perfect_outputs_score_full_marks(bench: TaskBench) -> None:
    """Outputs that equal the targets hit every scored position, and solve the task."""
    for task in bench.each_length():
        scores = [
            task.score(batch, _perfect(task, batch)) for batch in task.validation(_rng(), BATCH)
        ]
        hits, total = sum(score.hits for score in scores), sum(score.total for score in scores)
        assert total > 0, f"score: nothing is counted at length {task.length}"
        assert hits == total, (
            f"score: perfect outputs hit {hits} of {total} at length {task.length}"
        )
        extra = {name: part / count for name, (part, count) in _extra(scores).items() if count}
        solved = task.solved(Evaluation(0, task.floor() or 0.0, accuracy=1.0, extra=extra))
        assert isinstance(solved, (bool, np.bool_)), f"solved: expected a bool, got {solved!r}"
        assert solved, f"solved: perfect outputs do not solve the task at length {task.length}"


def wrong_outputs_score_less(bench: TaskBench) -> None:
    """Wrong outputs hit less than perfect outputs, and the baseline does not solve the task."""
    task = bench.longest()
    batch = task.validation(_rng(), BATCH)[0]
    right = _perfect(task, batch)
    wrong = right + 10.0 if task.loss == "squared_error" else -right
    good, bad = task.score(batch, right), task.score(batch, wrong)
    assert bad.hits < good.hits, (
        f"score: wrong outputs hit {bad.hits} of {bad.total}, as many as perfect ones"
    )
    extra = dict.fromkeys(bad.extra, 0.0)
    assert not task.solved(Evaluation(0, task.baseline(), accuracy=0.0, extra=extra)), (
        "solved: the loss of the baseline with accuracy 0 counts as solved"
    )


def score_ignores_masked_positions(bench: TaskBench) -> None:
    """Outputs at masked positions do not change the score."""
    task = bench.longest()
    batch = task.validation(_rng(), BATCH)[0]
    if batch.mask.all():
        raise NotApplicable("no position is masked")
    outputs = _perfect(task, batch)
    spoilt = np.where(batch.mask[..., None], outputs, -outputs - 1.0)
    before, after = task.score(batch, outputs), task.score(batch, spoilt)
    assert (before.hits, before.total) == (after.hits, after.total), (
        "score: outputs at masked positions change it "
        f"from {before.hits}/{before.total} to {after.hits}/{after.total}"
    )


CHECKS: tuple[Callable[[TaskBench], None], ...] = (
    it_declares_itself_sanely,
    batches_are_well_formed,
    equal_generators_give_equal_batches,
    training_batches_differ,
    validation_differs_from_training,
    baseline_is_that_of_a_trivial_predictor,
    baseline_outputs_are_a_fixed_predictors,
    evaluation_sets_are_well_formed,
    criterion_and_epoch_are_sane,
    perfect_outputs_score_full_marks,
    wrong_outputs_score_less,
    score_ignores_masked_positions,
)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _drawn(task: Task) -> list[Batch]:
    return [
        *islice(task.training(_rng(), BATCH), 2),
        *task.validation(_rng(1), BATCH)[:2],
        *task.training_sample(_rng(2), BATCH, 1),
    ]


def _well_formed(task: Task, batch: Batch, where: str) -> None:
    T, B = batch.mask.shape
    assert batch.mask.dtype == bool, f"mask: expected bool, got {batch.mask.dtype} ({where})"
    assert batch.mask.any(), f"mask: no position counts ({where})"
    assert T > 0, f"mask: no time steps ({where})"
    assert B == BATCH, f"mask: expected {BATCH} sequences, got {B} ({where})"
    inputs, targets = ("inputs", batch.inputs), ("targets", batch.targets)
    check_inputs = _check_classes if task.inputs.kind == "token" else _check_vectors
    check_inputs(*inputs, (T, B), task.inputs.size, where)
    check_targets = _check_classes if task.loss == "cross_entropy" else _check_vectors
    check_targets(*targets, (T, B), task.outputs, where)
    if task.loss == "binary_cross_entropy":
        shares = (batch.targets >= 0) & (batch.targets <= 1)
        assert shares.all(), f"targets: not from 0 to 1 ({where})"


def _check_classes(name: str, array: Any, shape: tuple[int, int], classes: int, where: str) -> None:
    """Require int32 classes (T, B) below ``classes``."""
    _check_array(name, array, shape, "int32", where)
    low, high = int(array.min()), int(array.max())
    assert low >= 0, f"{name}: {low} is not a class 0..{classes - 1} ({where})"
    assert high < classes, f"{name}: {high} is not a class 0..{classes - 1} ({where})"


def _check_vectors(name: str, array: Any, steps: tuple[int, int], width: int, where: str) -> None:
    """Require finite float64 values (T, B, width)."""
    _check_array(name, array, (*steps, width), "float64", where)
    assert np.isfinite(array).all(), f"{name}: not finite ({where})"


def _check_array(name: str, array: Any, shape: tuple[int, ...], dtype: str, where: str) -> None:
    assert array.shape == shape, f"{name}: expected shape {shape}, got {array.shape} ({where})"
    assert array.dtype == dtype, f"{name}: expected dtype {dtype}, got {array.dtype} ({where})"


def _perfect(task: Task, batch: Batch) -> Array:
    if task.loss == "squared_error":
        return np.array(batch.targets, dtype=np.float64)
    if task.loss == "binary_cross_entropy":
        return CERTAIN * (2.0 * batch.targets - 1.0)
    return CERTAIN * np.eye(task.outputs)[batch.targets]


def _extra(scores: Sequence[Score]) -> dict[str, tuple[float, float]]:
    names = {name for score in scores for name in score.extra}
    pairs = {name: [score.extra[name] for score in scores if name in score.extra] for name in names}
    return {
        name: (sum(part for part, _ in each), sum(count for _, count in each))
        for name, each in pairs.items()
    }
