"""What a trainer hands back is checked here, so that a broken one fails with its name and not with nonsense.

``task_guard`` does the same for tasks, ``harness.plugins.query`` for what a backend answers before
anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    StepResult,
    Trainer,
    array_dtype,
)
from harness.contract.wording import shortened, text_of

LONGEST = 200  # characters of what a plugin returned: the rest of the message is not to be cut off
MOST = 2**63  # of a count
CHAIN_TOLERANCE = 0.1  # relative to the largest element: bfloat16 keeps two digits


@dataclass(frozen=True)
class Step:
    """A ``StepResult`` that has been fetched."""

    loss: float
    norm: float
    clipped: bool


def check_step(result: Any, label: str) -> Step:
    """Fetch the scalars of a training step, which waits for the work behind them.

    Raises:
        PluginError: it is no ``StepResult`` of numbers.
    """
    if not isinstance(result, StepResult):
        raise PluginError(
            f"invalid step: expected a StepResult, got {type(result).__name__}; {label}"
        )
    try:
        step = Step(float(result.loss), float(result.gradient_norm), bool(result.clipped))
    except (TypeError, ValueError, OverflowError) as error:
        raise PluginError(
            f"invalid step: loss and gradient norm must be scalars ({error}); {label}"
        ) from error
    if step.norm < 0:
        raise PluginError(f"invalid step: a gradient norm is 0 or more, got {step.norm}; {label}")
    return step


def checked_outputs(
    trainer: Trainer, batch: Batch, model: Model, dtype: Dtype, label: str
) -> Array:
    """Return the outputs (T, B, K) of a host batch, dropout off.

    Raises:
        PluginError: they have another shape or dtype, or are no NumPy array.
    """
    outputs = trainer.outputs(trainer.put(batch))
    shape = (batch.time_steps, batch.size, model.outputs)
    if not isinstance(outputs, np.ndarray) or outputs.shape != shape or outputs.dtype != dtype:
        raise PluginError(
            f"invalid output: expected (T, B, K) = {shape} {dtype}, got {described(outputs)}; {label}"
        )
    return outputs


def check_parameters(trainer: Trainer, model: Model, dtype: Dtype, label: str) -> dict[str, Array]:
    """Return the trainer's parameters, whose names, shapes and dtype are the model's.

    Raises:
        PluginError: they are not.
    """
    parameters = trainer.parameters()
    if not isinstance(parameters, dict):
        raise PluginError(
            f"invalid parameters: expected a dict of arrays, got {described(parameters)}; {label}"
        )
    expected = {name: f"{shape} {dtype}" for name, shape in model.parameter_shapes().items()}
    actual = {name: described(array) for name, array in parameters.items()}
    if actual != expected:
        wrong = sorted(name for name in expected | actual if expected.get(name) != actual.get(name))
        pairs = (f"{name}: expected {expected.get(name)}, got {actual.get(name)}" for name in wrong)
        raise PluginError(f"invalid parameters: {'; '.join(pairs)}; {label}")
    return parameters


def checked_peak_memory(trainer: Trainer, label: str) -> int | None:
    """Return the peak of device memory in bytes; None if the engine does not tell.

    Raises:
        PluginError: it is not a number of bytes.
    """
    return _count_or_none("peak_memory()", trainer.peak_memory(), label)


def checked_compilations(trainer: Trainer, label: str) -> int:
    """Return how often the engine has compiled; 0 if it does not tell.

    Raises:
        PluginError: it is not a count.
    """
    return _count_or_none("compilations()", trainer.compilations(), label) or 0


def checked_placement_fields(trainer: Trainer, label: str) -> Placement | None:
    """Return where the engine computes; None if it does not tell.

    Raises:
        PluginError: it is not a ``Placement``, or a field of it has another type.
    """
    answer = trainer.placement()
    if answer is None:
        return None
    fields = (
        (answer.device, answer.dtype, answer.matmul_precision)
        if isinstance(answer, Placement)
        else (None,)
    )
    if not all(isinstance(field, str) for field in fields[:2]) or not isinstance(
        fields[-1], str | None
    ):
        raise _unfit("placement()", "a Placement of texts", answer, label)
    return replace(answer, devices=_count("placement().devices", answer.devices, label))


def checked_rank_fields(trainer: Trainer, label: str) -> tuple[Rank, ...]:
    """Return what the processes of a data-parallel trainer report.

    Raises:
        PluginError: it is not a tuple of ``Rank``, or a field of a rank has another type.
    """
    answer = trainer.ranks()
    if not isinstance(answer, tuple | list) or not all(isinstance(rank, Rank) for rank in answer):
        raise _unfit("ranks()", "a tuple of Rank", answer, label)
    return tuple(_rank(rank, label) for rank in answer)


def checked_chain(
    chain: Any, start: Array, matrices: Sequence[Array], dtype: Dtype, label: str
) -> None:
    """Run one round of an engine's chain of products, and hold its result against NumPy's in float64.

    Raises:
        PluginError: it is another array, or not an array.
    """
    product = chain(1)
    exact = np.linalg.multi_dot([start, *matrices])
    right = isinstance(product, np.ndarray) and (product.shape, product.dtype) == (
        exact.shape,
        array_dtype(dtype),
    )
    if not right or not np.abs(product - exact).max() <= CHAIN_TOLERANCE * np.abs(exact).max():
        raise _unfit(
            "product_chain(1)", f"the product {exact.shape} {array_dtype(dtype)}", product, label
        )


def _rank(rank: Rank, label: str) -> Rank:
    threads, seconds = (
        _count_or_none("ranks().threads", rank.threads, label),
        finite_number(rank.seconds),
    )
    if not isinstance(rank.device, str) or seconds is None or seconds < 0:
        raise _unfit("ranks()", "a device's name, threads and seconds", rank, label)
    return Rank(rank.device, threads, seconds)


def _count_or_none(what: str, answer: Any, label: str) -> int | None:
    return None if answer is None else _count(what, answer, label)


def _count(what: str, answer: Any, label: str) -> int:
    number = finite_number(answer)
    if number is None or not number.is_integer() or not 0 <= number < MOST:
        raise _unfit(what, "a whole number, 0 or more", answer, label)
    return int(answer)


def finite_number(answer: Any) -> float | None:
    """Return a number (a scalar of any library, no truth value and no text) as a float; None if it is not finite."""
    if isinstance(answer, bool | np.bool_ | str | bytes):
        return None
    try:
        number = float(answer)
    except Exception:  # noqa: BLE001 (a plugin's own, which may raise anything)
        return None
    return number if math.isfinite(number) else None


def _unfit(what: str, expected: str, answer: Any, label: str) -> PluginError:
    got = shortened(text_of(answer), LONGEST)
    return PluginError(f"invalid {what}: expected {expected}, got {got}; {label}")


def described(value: Any) -> str:
    """Return shape and dtype of an array, the type's name of anything else."""
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
