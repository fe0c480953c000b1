"""Checks every value of a plan's axes by itself, so that all problems are reported at once."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.contract import UsageError
from harness.plan.backend_options import EXECUTION_AXES
from harness.plan.problems import validation_lines
from harness.plan.request import (
    AXES,
    DEFAULT_AXES,
    MOST_TRIALS,
    Combination,
    PlanAxes,
    PlanRequest,
)
from harness.plan.resolve import Resolver

# A valid trial around the value that is checked; its names are never looked up.
USUAL = {"backend": "numpy", "variant": "usual", "task": "char", "cell": "lstm", "length": 1}
ASKED_OF_BACKENDS = ("device",)  # a backend knows its devices


@dataclass(frozen=True)
class AxisValues:
    """The problems of values.

    Attributes:
        problems: in words.
        bad: (axis, ``repr`` of the value) of each wrong value.
    """

    problems: Sequence[str]
    bad: Collection[tuple[str, str]]

    def faulty(self, combination: Combination) -> set[str]:
        """Return the axes of a combination whose values are wrong."""
        if not self.bad:
            return set()
        return {axis for axis, value in combination.items() if (axis, repr(value)) in self.bad}


def tables(request: PlanRequest) -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    """Yield the name of each table of axes and the table; options and defaults have no name."""
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
    for name, table in (*tables(request), *_of_backends(request)):
        for axis, values in table.items():
            for value in itertools.islice(values, MOST_TRIALS):
                if lines := _problems(axis, value, name, resolver):
                    problems += [request.at(line) if name else line for line in lines]
                    bad.add((axis, repr(value)))
    return AxisValues(problems, bad)


def _of_backends(request: PlanRequest) -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    for engine, options in request.backend_options.items():
        axes = {axis: (value,) for axis, value in options.items() if axis in EXECUTION_AXES}
        yield f"backend.{engine}", axes


def _problems(axis: str, value: Any, table: str, resolver: Resolver) -> list[str]:
    if axis not in AXES or axis in ASKED_OF_BACKENDS:
        return []
    try:
        if axis in {"backend", "task", "cell"}:
            resolver.look_up(axis, str(value))
        else:
            PlanAxes.model_validate(USUAL | {axis: value})
    except UsageError as error:
        return [f"{table}.{axis}: {error}" if table else str(error)]
    except ValidationError as error:
        # An error without a place contradicts another axis, and the other axes are not real here.
        if any(item["loc"] for item in error.errors()):
            return validation_lines(error, f"{table}." if table else "")
    return []
