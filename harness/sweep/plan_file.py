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

    launches: int | None = Field(default=None, ge=1, le=MOST_LAUNCHES, strict=True)
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
    tables = (plan.matrix, *plan.case, *plan.include, *plan.exclude)
    if odd := sorted(
        {name for table in tables for name, value in table.items() if True in map(_is_bool, _list(value))}
    ):
        raise UsageError(f"the plan {path} is not valid: no axis takes true or false: {', '.join(odd)}")
    include, exclude = ([_read(one) for one in some] for some in (plan.include, plan.exclude))
    cases = [_axes(case) for case in plan.case]
    return PlanRequest(_axes(plan.matrix), plan.task, include, exclude, cases=cases, launches=plan.launches)


def _axes(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: _list(value) for name, value in _read(table).items()}


def _read(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they are meant: TOML has no null, so it is the word ``none`` as on the command line."""
    return {
        name: [_none_or(one) for one in value] if isinstance(value, list) else _none_or(value)
        for name, value in table.items()
    }


def _none_or(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() == "none" else value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)
