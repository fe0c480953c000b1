"""What a user asks to be run: axes and their values, task options, includes and excludes. Nothing is checked here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Trial
from harness.contract.trial import OptionValue

DEFAULT_AXES: Mapping[str, Sequence[Any]] = {
    "backend": ("numpy",),
    "task": ("char",),
    "cell": ("lstm",),
    "length": (25, 50, 100),
}
AXES = tuple(name for name in Trial.model_fields if name not in {"variant", "task_options", "python"})

Combination = dict[str, Any]  # axis -> one value


@dataclass(frozen=True)
class PlanRequest:
    """What a user asks for.

    Attributes:
        axes: axis -> values, in the order in which they vary; an axis left out takes its default.
        task_options: task -> option -> value.
        include: further combinations; an axis left out takes the first value of its axis.
        exclude: combinations to leave out; each matches on the axes that it names, which the plan must have.
    """

    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    task_options: Mapping[str, Mapping[str, OptionValue]] = field(default_factory=dict)
    include: Sequence[Combination] = ()
    exclude: Sequence[Combination] = ()


def merge(base: PlanRequest, over: PlanRequest) -> PlanRequest:
    """Return ``base`` with every axis and task option of ``over`` in place of its own (flags override the file)."""
    options = {name: dict(values) for name, values in base.task_options.items()}
    for name, values in over.task_options.items():
        options.setdefault(name, {}).update(values)
    return PlanRequest(
        {**base.axes, **over.axes}, options, [*base.include, *over.include], [*base.exclude, *over.exclude]
    )


def count(request: PlanRequest) -> int:
    """Return the number of combinations before excludes, without making them."""
    axes = {**DEFAULT_AXES, **request.axes}
    return math.prod(len(values) for values in axes.values()) + len(request.include)
