"""The TOML file of a plan, as a request: only its shape is checked here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.contract import UsageError
from harness.contract.trial import OptionValue
from harness.sweep.problems import validation_lines
from harness.sweep.request import MOST_LAUNCHES, PlanRequest


class _PlanFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    launches: int | None = Field(default=None, ge=1, le=MOST_LAUNCHES)
    matrix: dict[str, Any] = Field(default_factory=dict)
    case: list[dict[str, Any]] = Field(default_factory=list)
    task: dict[str, dict[str, OptionValue]] = Field(default_factory=dict)
    include: list[dict[str, Any]] = Field(default_factory=list)
    exclude: list[dict[str, Any]] = Field(default_factory=list)


def read_plan(path: Path) -> PlanRequest:
    """Return the request in a TOML file.

    It may hold ``launches``, ``[matrix]``, ``[[case]]``, ``[task.NAME]``, ``[[include]]`` and ``[[exclude]]``.

    Raises:
        UsageError: the file cannot be read, is not TOML, or has unknown keys or wrong types (all named at once).
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the plan {path} is not valid TOML: {error}") from error
    try:
        plan = _PlanFile.model_validate(content)
    except ValidationError as error:
        raise UsageError(
            f"the plan {path} is not valid:\n" + "\n".join(validation_lines(error, known=tuple(_PlanFile.model_fields)))
        ) from error
    cases = [_axes(case) for case in plan.case]
    return PlanRequest(_axes(plan.matrix), plan.task, plan.include, plan.exclude, cases=cases, launches=plan.launches)


def _axes(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: value if isinstance(value, list) else [value] for name, value in table.items()}
