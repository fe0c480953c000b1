"""Checks what a trainer returns. A wrong value raises ``PluginError`` with the plugin's label.

``task_validation`` does the same for tasks, and ``query`` for the metadata of a backend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.contract import (
    Array,
    Batch,
    Dtype,
    Model,
    Placement,
    PluginError,
    Rank,
    Snapshot,
    StepResult,
    Trainer,
    array_dtype,
)
from harness.contract.wording import shortened, text_of

LONGEST = 200  # characters of a plugin's answer in a message, so that the rest is not cut off
COUNT_LIMIT = 2**63
CHAIN_TOLERANCE = 0.1  # relative to the largest element: bfloat16 has two digits


@dataclass(frozen=True)
class Step:
    """A ``StepResult`` as Python values."""

    loss: float
    norm: float
    clipped: bool


def check_step(result: Any, label: str) -> Step:
    """Fetch the scalars of a training step. It waits until the device has computed them.

    Raises:
        PluginError: it is not a ``StepResult`` of numbers.
    """
    if not isinstance(result, StepResult):
        raise invalid("step", "a StepResult", type(result).__name__, label)
    try:
        step = Step(float(result.loss), float(result.gradient_norm), bool(result.clipped))
    except (TypeError, ValueError, OverflowError) as error:
        problem = f"loss and gradient norm must be scalars ({error})"
        raise PluginError(f"invalid step: {problem}; {label}") from error
    if step.norm < 0:
        raise PluginError(f"invalid step: a gradient norm is 0 or more, got {step.norm}; {label}")
    return step


def checked_outputs(
    trainer: Trainer, batch: Batch, model: Model, dtype: Dtype, label: str
) -> Array:
    """Return the outputs (T, B, K) for a host batch, without dropout.

    Raises:
        PluginError: they have another shape or dtype, or are not a NumPy array.
    """
    outputs = trainer.outputs(trainer.put(batch))
    shape = (batch.time_steps, batch.size, model.outputs)
    if not isinstance(outputs, np.ndarray) or outputs.shape != shape or outputs.dtype != dtype:
        expected = f"(T, B, K) = {shape} {dtype}"
        raise invalid("output", expected, shape_and_dtype(outputs), label)
    return outputs


def check_parameters(trainer: Trainer, model: Model, dtype: Dtype, label: str) -> dict[str, Array]:
    """Return the trainer's parameters.

    Raises:
        PluginError: their names, shapes or dtype are not the model's.
    """
    parameters = trainer.parameters()
    if not isinstance(parameters, dict):
        raise invalid("parameters", "a dict of arrays", shape_and_dtype(parameters), label)
    if problems := parameter_problems(parameters, model, dtype):
        raise PluginError(f"invalid parameters: {'; '.join(problems)}; {label}")
    return parameters


def parameter_problems(parameters: Mapping[str, Any], model: Model, dtype: Dtype) -> list[str]:
    """Return, for each parameter that is not the model's, what it should be and what it is."""
    expected = {name: f"{shape} {dtype}" for name, shape in model.parameter_shapes().items()}
    actual = {name: shape_and_dtype(array) for name, array in parameters.items()}
    return [
        f"{name} should be {expected.get(name, 'absent')}, and is {actual.get(name, 'absent')}"
        for name in sorted(expected | actual)
        if expected.get(name) != actual.get(name)
    ]


def checked_peak_memory(trainer: Trainer, label: str) -> int | None:
    """Return the peak of device memory in bytes; None if the engine does not report it.

    Raises:
        PluginError: it is not a number of bytes.
    """
    return _count_or_none("peak_memory()", trainer.peak_memory(), label)


def checked_compilations(trainer: Trainer, label: str) -> int:
    """Return how often the engine has compiled; 0 if it does not report it.

    Raises:
        PluginError: it is not a count.
    """
    return _count_or_none("compilations()", trainer.compilations(), label) or 0


def checked_snapshot(trainer: Trainer, label: str) -> Snapshot | None:
    """Return a trainer's snapshot.

    Raises:
        PluginError: it is not a dict of named arrays of numbers.
    """
    answer = trainer.snapshot()
    expected = "None, or a dict of named arrays of numbers"
    if answer is not None and not isinstance(answer, dict):
        raise invalid_answer("snapshot()", expected, answer, label)
    for name, array in (answer or {}).items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            got = f"{name!r} of {shape_and_dtype(array)}"
            raise invalid("snapshot()", expected, got, label)
    return answer


def checked_placement_fields(trainer: Trainer, label: str) -> Placement | None:
    """Return where the engine computes; None if it does not report it.

    Raises:
        PluginError: it is not a ``Placement``, or a field of it has another type.
    """
    answer = trainer.placement()
    if answer is None:
        return None
    if (
        not isinstance(answer, Placement)
        or not isinstance(answer.device, str)
        or not isinstance(answer.dtype, str)
        or not isinstance(answer.matmul_precision, str | None)
    ):
        raise invalid_answer("placement()", "a Placement of texts", answer, label)
    return replace(answer, devices=_count("placement().devices", answer.devices, label))


def checked_rank_fields(trainer: Trainer, label: str) -> tuple[Rank, ...]:
    """Return what the processes of a data-parallel trainer report.

    Raises:
        PluginError: it is not a tuple of ``Rank``, or a field of a rank has another type.
    """
    answer = trainer.ranks()
    if not isinstance(answer, tuple | list) or not all(isinstance(rank, Rank) for rank in answer):
        raise invalid_answer("ranks()", "a tuple of Rank", answer, label)
    return tuple(_rank(rank, label) for rank in answer)


def checked_chain(
    chain: Any, start: Array, matrices: Sequence[Array], dtype: Dtype, label: str
) -> None:
    """Compare one round of an engine's chain of products with NumPy's in float64.

    Raises:
        PluginError: the result is another array, or not an array.
    """
    product = chain(1)
    exact, dtype_name = np.linalg.multi_dot([start, *matrices]), array_dtype(dtype)
    fits = shape_and_dtype(product) == f"{exact.shape} {dtype_name}"
    if not fits or not np.abs(product - exact).max() <= CHAIN_TOLERANCE * np.abs(exact).max():
        expected = f"the product {exact.shape} {dtype_name}"
        raise invalid_answer("product_chain(1)", expected, product, label)


def _rank(rank: Rank, label: str) -> Rank:
    threads = _count_or_none("ranks().threads", rank.threads, label)
    seconds = finite_number(rank.seconds)
    if not isinstance(rank.device, str) or seconds is None or seconds < 0:
        raise invalid_answer("ranks()", "a device's name, threads and seconds", rank, label)
    return Rank(rank.device, threads, seconds)


def _count_or_none(what: str, answer: Any, label: str) -> int | None:
    return None if answer is None else _count(what, answer, label)


def _count(what: str, answer: Any, label: str) -> int:
    number = finite_number(answer)
    if number is None or not number.is_integer() or not 0 <= number < COUNT_LIMIT:
        raise invalid_answer(what, "a whole number, 0 or more", answer, label)
    return int(answer)


def finite_number(answer: Any) -> float | None:
    """Return a scalar of any library as a float; None if it is a bool, a text or not finite."""
    if isinstance(answer, bool | np.bool_ | str | bytes):
        return None
    try:
        number = float(answer)
    except Exception:  # noqa: BLE001 (a plugin's __float__ may raise anything)
        return None
    return number if math.isfinite(number) else None


def answer_text(answer: Any) -> str:
    """Return a plugin's answer for a message, shortened."""
    return shortened(text_of(answer), LONGEST)


def shape_and_dtype(value: Any) -> str:
    """Return shape and dtype of an array, or the type's name of anything else."""
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def invalid_answer(what: str, expected: str, answer: Any, label: str) -> PluginError:
    """Return the error for an answer that is not what the contract says."""
    return invalid(what, expected, answer_text(answer), label)


def invalid(what: str, expected: str, got: str, label: str) -> PluginError:
    """Return the error for an answer that is described by ``got``."""
    return PluginError(f"invalid {what}: expected {expected}, got {got}; {label}")
