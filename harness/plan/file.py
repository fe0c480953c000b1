"""The TOML file of a plan, as a request: only its shape is checked here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from harness.contract import UsageError
from harness.contract.trial import OptionValue
from harness.contract.wording import shortened
from harness.plan.kinds import (
    DURATION,
    LONGEST_SECONDS,
    Seconds,
    Switch,
    Text,
    Whole,
    parse_duration,
)
from harness.plan.options import PLAN_KEYS, Option
from harness.plan.problems import validation_lines
from harness.plan.request import PlanRequest, merge, smaller
from harness.plugins import Plugins

MOST_CHARACTERS = 2**24  # of a plan's file
Axes = dict[str, Any]  # axis -> a value, or a list of values
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_SECONDS},
        {"type": "string", "pattern": f"^{DURATION.pattern}$"},
    ]
}


class _Tables(BaseModel):
    """The tables and keys of a plan's file."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="A plan of harness run")

    matrix: Axes = Field(
        default_factory=dict, description="Axes: a value or a list each; their product is the plan."
    )
    case: list[Axes] = Field(
        default_factory=list, description="Axes in place of the matrix's: a product per case."
    )
    task: dict[str, dict[str, OptionValue | list[OptionValue]]] = Field(
        default_factory=dict, description="Options of tasks: a value or a list each."
    )
    backend: dict[str, Axes] = Field(
        default_factory=dict,
        description="Per BACKEND, BACKEND:VARIANT or group: device, dtype, threads, checkpoint.",
    )
    quick: Axes | None = Field(
        default=None, description="Axes in place of the plan's with --quick: its smaller form."
    )
    asks: str = Field(default="", description="The question that the plan answers.")
    takes: str = Field(default="", description="How long it takes, in words.")
    include: list[Axes] = Field(default_factory=list, description="One more combination each.")
    exclude: list[Axes] = Field(default_factory=list, description="Combinations to leave out.")


def _seconds(value: Any) -> Any:
    return parse_duration(str(value)) if isinstance(value, str | bool) else value


def _key(option: Option) -> tuple[Any, Any]:
    """Return the type and the limits of an option's key in a plan's file."""
    kind = option.kind
    limits: dict[str, Any] = {"default": None, "description": option.plan_help or option.help}
    if isinstance(kind, Whole):
        return int | None, Field(ge=kind.least, le=kind.most, strict=True, **limits)
    if isinstance(kind, Seconds):
        seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]
        return seconds | None, Field(gt=0, le=LONGEST_SECONDS, **limits)
    if isinstance(kind, Switch):
        return bool | None, Field(strict=True, **limits)
    if isinstance(kind, Text):
        return str | list[str] | None, Field(**limits)
    raise TypeError(f"a plan's file cannot hold {kind}")


_keys: dict[str, Any] = {key: _key(option) for key, option in PLAN_KEYS.items()}
PlanFile = create_model("PlanFile", __base__=_Tables, __doc__=_Tables.__doc__, **_keys)


def planned(
    request: PlanRequest, plan: Path | None, suite: str | None, plugins: Plugins, *, quick: bool
) -> PlanRequest:
    """Return a request with the plan that it is based on; its own axes replace those of the plan.

    Args:
        request: what is asked for besides.
        plan: a TOML file; None: none.
        suite: the name of a plan that ships with a plugin; None: none.
        plugins: where suites are looked up.
        quick: takes the smaller form of the plan.

    Raises:
        UsageError: there is no such plan or suite, both are named, or it has no smaller form.
    """
    if plan is not None and suite is not None:
        raise UsageError(f"the suite {suite} is a plan, and so is {plan}: leave one of them out")
    if suite is not None:
        plan = plugins.suite(suite).path
    base = PlanRequest() if plan is None else read_plan(plan)
    return merge(smaller(base) if quick else base, request)


def read_plan(path: Path) -> PlanRequest:
    """Return the request in a TOML file; its problems are kept with the request.

    It may hold the keys of ``PLAN_KEYS``, ``asks``, ``takes``, ``[matrix]``, ``[[case]]``,
    ``[quick]``, ``[task.NAME]``, ``[backend.NAME]``, ``[[include]]`` and ``[[exclude]]``.

    Raises:
        UsageError: the file cannot be read, or is not TOML.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MOST_CHARACTERS + 1)  # a device may have no end
        if len(text) > MOST_CHARACTERS:
            raise UsageError(
                f"the plan {path} has more than {MOST_CHARACTERS:,} characters: name a file of TOML"
            )
        content = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise UsageError(f"the plan {path} is not valid TOML: {shortened(str(error))}") from error
    except RecursionError:
        raise UsageError(
            f"the plan {path} is nested too deeply: a plan has tables of values and lists"
        ) from None
    return plan_of(content, path)


def plan_of(content: dict[str, Any], path: Path) -> PlanRequest:
    """Return the request in the tables of a plan; its problems are kept with the request.

    Args:
        content: of TOML.
        path: of the file that holds it, for messages.
    """
    plan, problems = _validated(content)
    if _is_empty(content):
        fix = "give [matrix] an axis, as in length = [25, 50], or leave the file out"
        problems.append(f"the plan is empty: {fix}")
    for name, table in _tables(plan).items():
        problems += _odd(name, table)
    include, exclude = [*map(_read, plan.include)], [*map(_read, plan.exclude)]
    options = {option.name: getattr(plan, key) for key, option in PLAN_KEYS.items()}
    return PlanRequest(
        _axes(plan.matrix),
        plan.task,
        include,
        exclude,
        cases=[_axes(case) for case in plan.case],
        options={name: value for name, value in options.items() if value is not None},
        backend_options={name: _read(options) for name, options in plan.backend.items()},
        problems=[f"{path}: {problem}" for problem in problems],
        path=str(path),
        quick=None if plan.quick is None else _axes(plan.quick),
        asks=plan.asks,
        takes=plan.takes,
    )


def _is_empty(content: dict[str, Any]) -> bool:
    """Return whether a file holds nothing, or a matrix without an axis and no other combination."""
    return not content or (
        content.get("matrix") == {} and not content.get("case") and not content.get("include")
    )


def _validated(content: dict[str, Any]) -> tuple[_Tables, list[str]]:
    """Return what can be used of the file, and what is wrong with the rest."""
    try:
        return PlanFile.model_validate(content), []
    except ValidationError as error:
        bad = {item["loc"][0] for item in error.errors()}
        problems = validation_lines(error, names=tuple(PlanFile.model_fields))
    usable = {name: value for name, value in content.items() if name not in bad}
    return PlanFile.model_validate(usable), problems


def _tables(plan: _Tables) -> dict[str, Axes]:
    """Return name -> table of every table of axes in the file."""
    tables = {"matrix": plan.matrix, "quick": plan.quick or {}}
    tables |= {f"backend.{engine}": options for engine, options in plan.backend.items()}
    for name in ("case", "include", "exclude"):
        for number, table in enumerate(getattr(plan, name), start=1):
            tables[f"{name}.{number}"] = table
    return tables


def _odd(name: str, table: Axes) -> list[str]:
    """Remove the values that TOML can hold and no axis takes; return a problem for each."""
    odd = [axis for axis, value in table.items() if not all(map(_is_plain, _list(value)))]
    return [
        f"{name}.{axis} = {table.pop(axis)!r}: no axis takes true or false, a table or a date"
        for axis in odd
    ]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _axes(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: _list(value) for name, value in _read(table).items()}


def _read(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with None for the word ``none``, because TOML has no null."""
    return {
        name: [*map(_none_or, value)] if isinstance(value, list) else _none_or(value)
        for name, value in table.items()
    }


def _none_or(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() == "none" else value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
