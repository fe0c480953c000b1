"""The values of a plan's axes, one by one: what is wrong with each is told with its place, whatever else is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.contract import Trial, UsageError
from harness.plan.backend_options import EXECUTION_AXES
from harness.plan.problems import validation_lines
from harness.plan.request import AXES, DEFAULT_AXES, MOST_TRIALS, Combination, PlanRequest
from harness.plan.resolve import Resolver

USUAL = {
    "backend": "numpy",
    "variant": "usual",
    "task": "char",
    "cell": "lstm",
    "length": 1,
}  # never looked up
ASKED_OF_BACKENDS = ("device",)  # which know best what it may be


@dataclass(frozen=True)
class AxisValues:
    """What is wrong with values; ``bad`` holds each such axis and value."""

    problems: Sequence[str]
    bad: Collection[tuple[str, str]]

    def faulty(self, combination: Combination) -> set[str]:
        """Return the axes of a combination whose values are wrong."""
        return (
            {axis for axis, value in combination.items() if (axis, repr(value)) in self.bad}
            if self.bad
            else set()
        )


def tables(request: PlanRequest) -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    """Yield each table of axes with its place; the place of what comes from options or defaults is empty."""
    cases = request.cases or ({},)
    shared = {**DEFAULT_AXES, **request.axes}
    used = {
        name: values for name, values in shared.items() if any(name not in case for case in cases)
    }
    written = set(request.axes) - request.overridden if request.path else set()
    yield "", {name: values for name, values in used.items() if name not in written}
    yield "matrix", {name: values for name, values in used.items() if name in written}
    for number, case in enumerate(request.cases, start=1):
        yield f"case.{number}", case
    for number, extra in enumerate(request.include, start=1):
        yield f"include.{number}", {name: (value,) for name, value in extra.items()}


def check_values(request: PlanRequest, resolver: Resolver) -> AxisValues:
    """Check every value of every axis, and the options of every task, each by itself."""
    problems, unusable = resolver.task_problems(request)
    bad = {("task", repr(name)) for name in unusable}
    for place, table in (*tables(request), *_of_backends(request)):
        for axis, values in table.items():
            for value in itertools.islice(values, MOST_TRIALS):
                if lines := _problems(axis, value, place, resolver):
                    problems += [request.at(line) if place else line for line in lines]
                    bad.add((axis, repr(value)))
    return AxisValues(problems, bad)


def _of_backends(request: PlanRequest) -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    for engine, options in request.backend_options.items():
        yield (
            f"backend.{engine}",
            {name: (one,) for name, one in options.items() if name in EXECUTION_AXES},
        )


def _problems(axis: str, value: Any, place: str, resolver: Resolver) -> list[str]:
    if axis not in AXES or axis in ASKED_OF_BACKENDS:
        return []
    try:
        if axis in {"backend", "task", "cell"}:
            resolver.look_up(axis, str(value))
        else:
            Trial.model_validate(USUAL | {axis: value})
    except UsageError as error:
        return [f"{place}.{axis}: {error}" if place else str(error)]
    except ValidationError as error:
        if any(
            item["loc"] for item in error.errors()
        ):  # else it contradicts other axes, which are not these
            return validation_lines(error, f"{place}." if place else "")
    return []
