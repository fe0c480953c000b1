"""What a user asks for: axes and their values, options, includes and excludes, unchecked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field

from harness.contract import TaskDefaults, Trial, UsageError
from harness.contract.trial import OptionValue
from harness.contract.wording import split_engine

FASTEST = "fastest"  # BACKEND:fastest, unless the backend has a variant of that name
DEFAULT_AXES: Mapping[str, Sequence[Any]] = {
    "backend": (f"numpy:{FASTEST}",),
    "task": ("char",),
    "cell": TaskDefaults.cells,
    "length": TaskDefaults.lengths,
}


class PlanAxes(Trial):
    """The fields of a trial, and the axes that only plans have.

    Attributes:
        tokens: the time steps of all sequences to train on; sets ``steps``.
        seeds: how many seeds, from 0; sets ``seed``.
    """

    tokens: int = Field(default=1, ge=1, le=10**15)
    seeds: int = Field(default=1, ge=1, le=10_000)


AXES = tuple(
    name for name in PlanAxes.model_fields if name not in {"variant", "task_options", "python"}
)
EXCLUSIVE = ({"steps", "tokens"}, {"seed", "seeds"})  # two axes that say the same thing
OPTIONS_OF_TASK = "task_options"  # in products: mappings of option to value
JOINED = "evaluate_at"  # an axis whose list is one value
LEFT_TO_TASKS = {"cell": "cells", "length": "lengths"}  # axis -> field of TaskDefaults
MOST_TRIALS = 100_000

Combination = dict[str, Any]  # axis -> one value
TaskSettings = Mapping[str, Mapping[str, OptionValue | list[OptionValue]]]


@dataclass(frozen=True)
class PlanRequest:
    """What a user asks for.

    Attributes:
        axes: axis -> values, in the order in which they vary; a missing axis takes its default.
        task_options: task -> option -> a value, or a list of values, which varies like an axis.
        include: further combinations; a missing axis takes the first value of its axis.
        exclude: combinations to leave out; each matches on the axes that it names, which the plan
            must have. A list of values means any of them.
        cases: axes that override those of ``axes``; the plan is one product per case, or that of
            ``axes`` if there are no cases.
        options: field of ``harness.plan.options.RunOptions`` -> value, as the plan's file has it.
        overridden: axes whose values replace the plan's; excludes that name one may exclude
            nothing.
        backend_options: backend, engine or group -> axis -> value, which overrides the plan's.
        problems: of the plan's file, to be reported with all other problems.
        path: of the plan's file; empty if there is none.
        set_tasks: tasks with options from elsewhere than the plan's file.
        defaults: task -> what it publishes, for axes that the plan lacks.
        quick: axes in place of the plan's in its smaller form; None: it has none.
        asks: the question that the plan answers.
        takes: how long it takes, in words.
    """

    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    task_options: TaskSettings = field(default_factory=dict)
    include: Sequence[Combination] = ()
    exclude: Sequence[Combination] = ()
    cases: Sequence[Mapping[str, Sequence[Any]]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    overridden: frozenset[str] = frozenset()
    backend_options: Mapping[str, Combination] = field(default_factory=dict)
    problems: Sequence[str] = ()
    path: str = ""
    set_tasks: frozenset[str] = frozenset()
    defaults: Mapping[str, TaskDefaults] = field(default_factory=dict)
    quick: Mapping[str, Sequence[Any]] | None = None
    asks: str = ""
    takes: str = ""

    def at(self, problem: str) -> str:
        """Return a problem of the plan's file with the file's name."""
        return f"{self.path}: {problem}" if self.path else problem

    def writes_task(self, name: str) -> bool:
        """Return whether the options of this task are those of the plan's file alone."""
        return bool(self.path) and name not in self.set_tasks

    def left_to_backends(self) -> set[str]:
        """Return the backends that are only named without a variant."""
        asked = [str(name) for axes in self.products() for name in axes["backend"]]
        asked += [str(extra["backend"]) for extra in self.include if "backend" in extra]
        engines = [split_engine(name) for name in asked]
        named = {backend for backend, variant in engines if variant is not None}
        return {backend for backend, _ in engines} - named

    def products(self) -> list[dict[str, Sequence[Any]]]:
        """Return the axes of each product of the plan, defaults filled in.

        Tasks that publish other axes, or have options, get products of their own.
        """
        products = []
        for case in self.cases or ({},):
            axes = _with_each_seed({**self.axes, **case})
            tasks = axes.get("task", DEFAULT_AXES["task"])
            of_tasks = [self._of_task(task, axes) for task in tasks]
            if all(filled == of_tasks[0] for filled in of_tasks):
                products.append({**DEFAULT_AXES, **axes, **(of_tasks[0] if of_tasks else {})})
                continue
            products += [
                {**DEFAULT_AXES, **axes, "task": (task,), **filled}
                for task, filled in zip(tasks, of_tasks, strict=True)
            ]
        return products

    def included(self, extra: Combination) -> Combination:
        """Return an include; axes that it lacks have the first value of the plan's."""
        axes = self.products()[0]
        if "task" in extra:
            axes = {**axes, **self._of_task(extra["task"], self.axes)}
        own = {name: value for name, value in extra.items() if name != "seeds"}
        return {name: values[0] for name, values in axes.items()} | own

    def _of_task(self, task: Any, axes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """Return the axes that are left to a task, and its options."""
        defaults = self.defaults.get(str(task), TaskDefaults())
        left = [axis for axis in LEFT_TO_TASKS if axis not in axes]
        filled: dict[str, Sequence[Any]] = {
            axis: getattr(defaults, LEFT_TO_TASKS[axis]) for axis in left
        }
        return {**filled, OPTIONS_OF_TASK: products_of(self.task_options.get(str(task), {}))}


def _with_each_seed(axes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return the axes with the seeds 0 to N - 1 in place of ``seeds``, if N can be a number."""
    most = PlanAxes.model_fields["seeds"].metadata[1].le
    match axes.get("seeds"):
        case [int(number), *_] if 1 <= number <= most:
            others = {name: values for name, values in axes.items() if name != "seeds"}
            return {**others, "seed": range(number)}
    return dict(axes)


def products_of(options: Mapping[str, Any]) -> list[dict[str, OptionValue]]:
    """Return each combination of the values of a task's options; a list varies like an axis."""
    lists = [value if isinstance(value, list) else [value] for value in options.values()]
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*lists)]


def with_joined_lengths(request: PlanRequest) -> PlanRequest:
    """Return the request with the list of ``evaluate_at`` as one value, as in ``40,80``.

    A network is judged at all of these lengths, so they are no axis.
    """
    return replace(
        request,
        axes=_joined(request.axes),
        cases=[_joined(case) for case in request.cases],
    )


def _joined(axes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    values = axes.get(JOINED)
    return {**axes, JOINED: (",".join(map(str, values)),)} if values else dict(axes)


def merge(base: PlanRequest, over: PlanRequest) -> PlanRequest:
    """Return ``base`` with the axes and options of ``over`` in place of its own.

    Flags override the plan's file in this way. An axis of ``over`` also overrides the cases; tokens
    and steps override each other, as do seeds and seed.
    """
    replaced = set(over.axes)
    for pair in EXCLUSIVE:
        replaced |= pair if replaced & pair else set()
    options = {name: dict(values) for name, values in base.task_options.items()}
    for name, values in over.task_options.items():
        options.setdefault(name, {}).update(values)
    cases = [
        {name: values for name, values in case.items() if name not in replaced}
        for case in base.cases
    ]
    of_backends = {
        engine: {name: value for name, value in values.items() if name not in over.axes}
        for engine, values in base.backend_options.items()
    }
    kept = {
        name: values for name, values in base.axes.items() if name not in replaced - {*over.axes}
    }
    return replace(
        base,
        axes={**kept, **over.axes},
        task_options=options,
        include=[*base.include, *over.include],
        exclude=[*base.exclude, *over.exclude],
        cases=[*cases, *over.cases],
        options={**base.options, **over.options},
        overridden=base.overridden | replaced,
        backend_options={**of_backends, **over.backend_options},
        problems=[*base.problems, *over.problems],
        path=over.path or base.path,
        set_tasks=base.set_tasks | set(over.task_options),
    )


def smaller(request: PlanRequest) -> PlanRequest:
    """Return the smaller form of a plan, for ``--quick``.

    Raises:
        UsageError: the plan has none.
    """
    if request.quick is None:
        problem = f"{request.path} has none" if request.path else "none is named"
        raise UsageError(f"--quick takes the table [quick] of a plan or a suite, and {problem}")
    return merge(request, PlanRequest(request.quick))


def count(request: PlanRequest) -> int:
    """Return the number of combinations before excludes, without making them."""
    products = (math.prod(map(len, axes.values())) for axes in request.products())
    return sum(products) + len(request.include)
