"""Further held-out data on which a trained network is judged: the task's own, other lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from harness.contract import Batch, Task, Trainer, UsageError, array_dtype
from harness.measure.evaluate import FEWEST_BATCHES, Evaluator, baseline_loss
from harness.measure.events import Event, Facts, SetsEvaluated
from harness.measure.proof.streams import generator, seed_sequence
from harness.measure.setup import Setup, data_seed
from harness.plugins.task_validation import (
    check_declared,
    check_evaluation,
    checked_loss,
    checked_set_names,
    checked_solved,
)


@dataclass(frozen=True)
class EvaluationSet:
    """Held-out data besides validation.

    Attributes:
        name: unique in the trial.
        task: scores the outputs.
        draw: returns the batches, given a generator and the sequences in a batch.
        is_length: whether it is the trial's task at another length.
    """

    name: str
    task: Task
    draw: Callable[[np.random.Generator, int], Sequence[Batch]]
    is_length: bool = False


def evaluation_sets(setup: Setup) -> list[EvaluationSet]:
    """Return the sets of the trial's task, then one for each length of ``evaluate_at``.

    Raises:
        UsageError: the trained network does not fit the task at another length.
    """
    task, trial = setup.task, setup.trial
    sets = [
        EvaluationSet(name, task, partial(task.evaluation_set, name))
        for name in checked_set_names(task, setup.task_label)
    ]
    for length in trial.evaluate_at:
        other = task.at_length(length, seed_sequence(data_seed(trial), "prepare"))
        check_declared(other, setup.task_label)
        _check_alike(task, other)
        sets.append(EvaluationSet(f"T={length}", other, other.validation, is_length=True))
    return sets


def judged(
    setup: Setup, sets: Sequence[EvaluationSet], trainer: Trainer, step: int
) -> Iterator[Event]:
    """Judge a trained network on each set, and yield what is known after each.

    Args:
        setup: of the trial.
        sets: of ``evaluation_sets``.
        trainer: after training; its carried state is restored.
        step: the number of training steps done.
    """
    results: list[dict[str, Any]] = []
    for each in sets:
        results.append(_figures(setup, each, _batches(setup, each), trainer, step))
        yield Facts(details={"evaluation_sets": list(results)})


@dataclass(frozen=True)
class LengthsOverTraining:
    """Judges a network at further lengths while it trains, each time on the same batches.

    These are the first of the batches on which the trained network is judged.

    Attributes:
        setup: of the trial.
        sets: of ``evaluation_sets``; those of other lengths are read.
    """

    setup: Setup
    sets: Sequence[EvaluationSet]

    @cached_property
    def _batches(self) -> list[tuple[EvaluationSet, Sequence[Batch]]]:
        lengths = [each for each in self.sets if each.is_length]
        return [(each, _batches(self.setup, each)[:FEWEST_BATCHES]) for each in lengths]

    def during(self, trainer: Trainer, step: int) -> Iterator[Event]:
        """Yield the figures at each length after ``step`` updates."""
        figures = [
            _figures(self.setup, each, batches, trainer, step) for each, batches in self._batches
        ]
        yield SetsEvaluated(step, tuple(figures))


def _batches(setup: Setup, each: EvaluationSet) -> Sequence[Batch]:
    trial = setup.trial
    seed = trial.seed if trial.evaluation_seed is None else trial.evaluation_seed
    batches = each.draw(generator(seed, "evaluation", each.name), trial.batch)
    check_evaluation(f"evaluation set {each.name}", batches, each.task, setup.task_label)
    return batches


def _figures(
    setup: Setup, each: EvaluationSet, batches: Sequence[Batch], trainer: Trainer, step: int
) -> dict[str, Any]:
    trial, task, label = setup.trial, each.task, setup.task_label
    mean = baseline_loss(task, batches, label)
    baseline = mean.value() if mean else checked_loss("baseline", task.baseline(), label)
    dtype = array_dtype(trial.dtype)
    evaluator = Evaluator(task, setup.model, dtype, batches, (), setup.label, label)
    (evaluation,) = evaluator.evaluate(trainer, step)
    kept = {name: value for name, value in asdict(evaluation).items() if "train_eval" not in name}
    return kept | {
        "name": each.name,
        "length": task.length,
        "loss_baseline": baseline,
        "loss_ratio": evaluation.loss_validation / baseline if baseline else None,
        "solved": checked_solved(task.solved(evaluation), label),
    }


def _check_alike(task: Task, other: Task) -> None:
    for name in ("inputs", "outputs", "loss"):
        here, there = getattr(task, name), getattr(other, name)
        if here != there:
            raise UsageError(
                f"task {task.name}: {name} are {here} at T = {task.length} and {there} at "
                f"T = {other.length}, so one network cannot do both: leave evaluate_at "
                f"{other.length} out"
            )
