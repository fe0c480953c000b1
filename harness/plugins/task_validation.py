"""Checks what a task returns. A wrong value raises ``PluginError`` with the plugin's label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from harness.contract import Batch, Inputs, Loss, PluginError, Score, Task, Vocabulary
from harness.contract.records.record import finite
from harness.contract.wording import NAME_PATTERN, error_text, shortened
from harness.plugins.validation import (
    LONGEST,
    answer_text,
    finite_number,
    invalid,
    invalid_answer,
    shape_and_dtype,
)


def check_declared(task: Task, label: str) -> None:
    """Check the attributes of a task after ``prepare``.

    Raises:
        PluginError: inputs, outputs, loss or vocabulary are not what the contract says.
    """
    inputs, outputs, vocabulary = task.inputs, task.outputs, task.vocabulary
    if (
        not isinstance(inputs, Inputs)
        or inputs.kind not in {"token", "real"}
        or not _is_size(inputs.size)
    ):
        raise invalid_answer("inputs", "Inputs of token or real, with a size", inputs, label)
    if not _is_size(outputs):
        raise invalid_answer("outputs", "a whole number, 1 or more", outputs, label)
    if task.loss not in get_args(Loss):
        raise invalid_answer("loss", " or ".join(get_args(Loss)), task.loss, label)
    if vocabulary is not None and not (
        isinstance(vocabulary, Vocabulary) and vocabulary.size == inputs.size
    ):
        raise invalid_answer(
            "vocabulary", "None, or a Vocabulary of the inputs' size", vocabulary, label
        )


def checked_batches(
    batches: Iterator[Batch], sequences: int, task: Task, label: str
) -> Iterator[Batch]:
    """Yield a task's training batches.

    Raises:
        PluginError: they end, or a batch has no scored position, another number of sequences, or
            wrong arrays.
    """
    for batch in batches if isinstance(batches, Iterable) else ():
        if not isinstance(batch, Batch) or batch.size != sequences or not batch.mask.any():
            expected = f"{sequences} sequences with a scored position"
            raise PluginError(f"invalid batch: expected {expected}; {label}")
        _check_arrays("batch", batch, task, label)
        yield batch
    problem = "training data ended, but it must go on without end"
    raise PluginError(f"invalid batches: {problem}; {label}")


def checked_loss(name: str, loss: Any, label: str) -> float:
    """Return a loss that a task computes, as a float.

    Raises:
        PluginError: it is not a finite number.
    """
    number = finite_number(loss)
    if number is None:
        raise invalid_answer(name, "a finite number", loss, label)
    return number


def check_baseline_outputs(outputs: Any, batch: Batch, width: int, label: str) -> None:
    """Check the outputs of a task's trivial predictor.

    Raises:
        PluginError: they are not an array of numbers (T, B, width).
    """
    shape = (batch.time_steps, batch.size, width)
    if (
        not isinstance(outputs, np.ndarray)
        or outputs.shape != shape
        or outputs.dtype.kind not in "fiu"
    ):
        expected, got = f"(T, B, K) = {shape} or None", shape_and_dtype(outputs)
        raise invalid("baseline_outputs", expected, got, label)


def checked_criterion(task: Task, label: str) -> str:
    """Return a task's description of its criterion.

    Raises:
        PluginError: it is not a text.
    """
    criterion = task.criterion
    if not isinstance(criterion, str):
        raise invalid_answer("criterion", "a text", criterion, label)
    return shortened(criterion, LONGEST)


def checked_steps_per_epoch(task: Task, batch: int, label: str) -> float | None:
    """Return the steps after which a task's training data repeat, or None.

    Raises:
        PluginError: it is not a positive number.
    """
    steps = task.steps_per_epoch(batch)
    if steps is None:
        return None
    number = finite_number(steps)
    if number is None or number <= 0:
        raise invalid_answer("steps_per_epoch", "None or a positive number", steps, label)
    return number


def checked_facts(task: Task, label: str) -> dict[str, Any]:
    """Return a task's facts as JSON values.

    Raises:
        PluginError: they cannot be stored.
    """
    facts = task.facts()
    try:
        content: dict[str, Any] = json.loads(json.dumps(finite(dict(facts)), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        why = shortened(error_text(error), LONGEST)
        problem = f"invalid facts: expected a dict of JSON values ({why})"
        raise PluginError(f"{problem}; {label}") from error
    return content


def checked_set_names(task: Task, label: str) -> tuple[str, ...]:
    """Return the names of a task's evaluation sets.

    Raises:
        PluginError: one is not a name, or occurs twice.
    """
    names = task.evaluation_sets
    listed = isinstance(names, Sequence) and not isinstance(names, str)
    valid = listed and all(isinstance(name, str) and NAME_PATTERN.fullmatch(name) for name in names)
    if not valid or len(set(names)) < len(names):
        raise invalid_answer("evaluation_sets", "distinct names", names, label)
    return tuple(names)


def check_evaluation(name: str, batches: Sequence[Batch], task: Task, label: str) -> None:
    """Check a task's evaluation batches.

    Raises:
        PluginError: there are none, or one is not a batch, has no scored position, or has wrong
            arrays.
    """
    listed = isinstance(batches, Sequence) and len(batches) > 0
    if not listed or not all(isinstance(batch, Batch) and batch.mask.any() for batch in batches):
        raise PluginError(f"invalid {name}: expected batches, each with a scored position; {label}")
    for batch in batches:
        _check_arrays(name, batch, task, label)


def checked_score(score: Any, label: str) -> Score:
    """Return a task's score as Python numbers.

    Raises:
        PluginError: it is not a ``Score`` of finite numbers, or ``hits`` is above ``total``.
    """
    if not isinstance(score, Score) or not isinstance(score.extra, Mapping):
        raise invalid_answer("score", "a Score", score, label)
    hits, total = finite_number(score.hits), finite_number(score.total)
    if hits is None or total is None or not 0 <= hits <= total:
        raise invalid_answer("score", "0 <= hits <= total", score, label)
    extra = {name: _pair(name, pair, label) for name, pair in score.extra.items()}
    return Score(hits, total, extra)


def checked_solved(answer: Any, label: str) -> bool:
    """Return whether a task says that it is solved. None, 0 and 1 are accepted too.

    Raises:
        PluginError: it is not a truth value.
    """
    if (
        not isinstance(answer, bool | np.bool_)
        and answer is not None
        and finite_number(answer) not in {0.0, 1.0}
    ):
        raise invalid_answer("solved", "True or False", answer, label)
    return bool(answer)


def _pair(name: Any, pair: Any, label: str) -> tuple[float, float]:
    numbers = [finite_number(each) for each in pair] if isinstance(pair, tuple | list) else []
    if not isinstance(name, str) or len(numbers) != 2 or None in numbers or numbers[1] < 0:  # type: ignore[operator]  # noqa: PLR2004
        what = f"score.extra[{answer_text(name)}]"
        raise invalid_answer(what, "a pair (sum, count)", pair, label)
    return numbers[0] or 0.0, numbers[1] or 0.0


def _check_arrays(what: str, batch: Batch, task: Task, label: str) -> None:
    """Check shapes, kinds and ranges.

    An engine may clamp a token id that is out of range. It then trains on another task.
    """
    shape = batch.mask.shape
    token = task.inputs.kind == "token"
    _check_array(f"{what}: inputs", batch.inputs, shape, task.inputs.size, label, classes=token)
    classes = task.loss == "cross_entropy"
    _check_array(f"{what}: targets", batch.targets, shape, task.outputs, label, classes=classes)
    if task.loss == "binary_cross_entropy" and not _are_shares(batch.targets):
        got = f"{batch.targets.min()} to {batch.targets.max()}"
        raise invalid(f"{what}: targets", "values from 0 to 1", got, label)
    if len(shape) != 2 or batch.mask.dtype != np.bool_:  # noqa: PLR2004
        raise invalid(what, "a mask (T, B) bool", f"{shape} {batch.mask.dtype}", label)


def _check_array(
    what: str, array: Any, mask_shape: tuple[int, ...], size: int, label: str, *, classes: bool
) -> None:
    """Check ids (T, B) from 0 to size - 1, or finite vectors (T, B, size)."""
    shape = mask_shape if classes else (*mask_shape, size)
    kinds, expected = ("iu", f"ids below {size}") if classes else ("f", "finite floats")
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in kinds:
        raise invalid(what, f"{expected} {shape}", shape_and_dtype(array), label)
    if not (_in_range(array, size) if classes else np.isfinite(array).all()):
        raise invalid(what, expected, f"{array.min()} to {array.max()}", label)


def _are_shares(values: NDArray[Any]) -> bool:
    return values.size == 0 or (values.min() >= 0 and values.max() <= 1)


def _in_range(ids: NDArray[Any], size: int) -> bool:
    return ids.size == 0 or (int(ids.min()) >= 0 and int(ids.max()) < size)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1
