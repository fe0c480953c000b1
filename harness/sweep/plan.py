"""A plan: axes whose product, minus excludes, plus includes, is a list of trials. All errors are found at once."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness import answers
from harness.contract import (
    Backend,
    Cell,
    HarnessError,
    Task,
    TaskOptions,
    Trial,
    UnavailableError,
    UnknownNameError,
    UsageError,
)
from harness.contract.trial import OptionValue
from harness.measure import REFERENCE_BACKEND
from harness.plugins import Plugins

DEFAULT_AXES: Mapping[str, Sequence[Any]] = {
    "backend": ("numpy",),
    "task": ("char",),
    "cell": ("lstm",),
    "length": (25, 50, 100),
}
AXES = tuple(name for name in Trial.model_fields if name not in {"variant", "task_options", "python"})
MOST_TRIALS = 100_000
LEAST_BETWEEN_EVALUATIONS = 150  # steps; an evaluation costs about as much as thirty
DECAYS = 10  # of an exponential schedule over all steps: a single period would change nothing
_SHOWN_ERRORS = 20

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


class _PlanFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    matrix: dict[str, Any] = Field(default_factory=dict)
    task: dict[str, dict[str, OptionValue]] = Field(default_factory=dict)
    include: list[dict[str, Any]] = Field(default_factory=list)
    exclude: list[dict[str, Any]] = Field(default_factory=list)


def read_plan(path: Path) -> PlanRequest:
    """Return the request in a TOML file with ``[matrix]``, ``[task.NAME]``, ``[[include]]`` and ``[[exclude]]``.

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
    axes = {name: value if isinstance(value, list) else [value] for name, value in plan.matrix.items()}
    return PlanRequest(axes, plan.task, plan.include, plan.exclude)


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


def expand(request: PlanRequest, plugins: Plugins) -> list[Trial]:
    """Return the trials of a request, each resolved in full and none twice.

    Raises:
        UsageError: anything in the request is unknown, unavailable or out of range; all problems in one message.
    """
    unknown = _unknown_axes(request)
    _check_axes(request)
    axes = {**DEFAULT_AXES, **_known(request.axes)}
    product = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    combinations = [(one, request.exclude) for one in product if not _excluded(one, request.exclude)]
    firsts = {name: values[0] for name, values in axes.items()}
    combinations += [({**firsts, **_known(extra)}, ()) for extra in request.include]
    resolver = _Resolver(plugins, request.task_options)
    trials: dict[str, Trial] = {}
    errors: dict[str, None] = dict.fromkeys(unknown)
    for combination, rules in combinations:
        try:
            found = resolver.trials(combination)
            kept = (trial for trial in found if not _excluded(combination | {"backend": trial.engine}, rules))
            trials.update((trial.trial_id, trial) for trial in kept)
        except UsageError as error:
            errors.update(dict.fromkeys(str(error).splitlines()))
    errors.update(dict.fromkeys(resolver.unused_options()))
    if errors:
        raise UsageError(_listed(list(errors)))
    if not trials:
        raise UsageError("the plan holds no trial: every combination is excluded; loosen [[exclude]]")
    return list(trials.values())


def _listed(errors: list[str]) -> str:
    if len(errors) == 1:
        return errors[0]
    shown = [f"  - {error}" for error in errors[:_SHOWN_ERRORS]]
    if len(errors) > _SHOWN_ERRORS:
        shown.append(f"  ... and {len(errors) - _SHOWN_ERRORS} more")
    return "\n".join([f"{len(errors)} problems:", *shown])


def _unknown_axes(request: PlanRequest) -> list[str]:
    named = [*request.axes, *itertools.chain(*request.include, *request.exclude)]
    return [str(UnknownNameError("axis", name, AXES)) for name in _unnamed(named)]


def _unnamed(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in AXES]


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in AXES}


def _check_axes(request: PlanRequest) -> None:
    for name, values in request.axes.items():
        if not values:
            raise UsageError(f"axis {name!r} is empty: give it at least one value")
    axes = {*DEFAULT_AXES, *request.axes}.union(_unnamed(itertools.chain(*request.exclude)))
    if idle := [name for name in dict.fromkeys(itertools.chain(*request.exclude)) if name not in axes]:
        raise UsageError(f"exclude names {', '.join(idle)}, which would exclude nothing: give the matrix that axis")
    if count(request) > MOST_TRIALS:
        raise UsageError(
            f"the plan has {count(request):,} trials, more than the {MOST_TRIALS:,} allowed: shorten an axis"
        )


def _excluded(combination: Combination, rules: Sequence[Combination]) -> bool:
    return any(_matches(combination, rule) for rule in rules)


def _matches(combination: Combination, rule: Combination) -> bool:
    """Say whether all that ``rule`` names is so; a backend without a variant means each of its variants."""
    backend = str(combination["backend"])
    asked = combination | {"backend": backend if ":" in str(rule.get("backend")) else backend.partition(":")[0]}
    return all(name in asked and asked[name] == value for name, value in rule.items())


class _Resolver:
    """Turns combinations into trials: fills in what the task publishes, and the device."""

    def __init__(self, plugins: Plugins, task_options: Mapping[str, Mapping[str, OptionValue]]) -> None:
        self._plugins = plugins
        self._task_options = task_options
        self._checked: dict[tuple[Any, ...], dict[str, OptionValue]] = {}
        self._devices: dict[str, tuple[str, ...]] = {}
        self._tasks_seen: set[str] = set()
        _check_reference(plugins)
        for name in task_options:
            plugins.task(name)

    def trials(self, combination: Combination) -> list[Trial]:
        name, _, variant = str(combination["backend"]).partition(":")
        backend = self._plugins.usable_backend(name)
        cell = self._plugins.cell(str(combination["cell"]))
        task_class = self._plugins.task(str(combination["task"]))
        fields = {key: value for key, value in combination.items() if key not in {"backend", "device"}}
        fields = self._defaults(task_class, fields) | fields
        fields |= {"backend": name, "device": self._device(backend, str(combination.get("device", "auto")))}
        trials = [_validated(fields | {"variant": chosen}) for chosen in self._variants(backend, variant, cell)]
        options = self._options(task_class, trials[0].length)
        return [_validated(trial.content() | {"task_options": options}) for trial in trials]

    def unused_options(self) -> list[str]:
        return [
            f"options are set for task {name!r}, which the plan does not run: add it to --task or drop them"
            for name in self._task_options
            if name not in self._tasks_seen
        ]

    def _variants(self, backend: Backend, wanted: str, cell: Cell) -> tuple[str, ...]:
        own = answers.variants(backend, cell)
        others = (name for other in self._plugins.cells.values() for name in answers.variants(backend, other))
        known = tuple(dict.fromkeys((*own, *others)))
        if not known:
            raise UnavailableError(f"backend {backend.name!r} runs no cell that is installed; choose another")
        if wanted not in {"", "all", *known}:
            raise UnknownNameError(f"variant of backend {backend.name!r}", wanted, known, "harness list backends")
        if wanted in known:
            return (wanted,)
        return own if own and wanted == "all" else known[:1]  # where it cannot run this cell, the record says so

    def _device(self, backend: Backend, wanted: str) -> str:
        if wanted == "cpu":
            return wanted
        if backend.name not in self._devices:
            self._devices[backend.name] = answers.devices(backend)
        known = self._devices[backend.name]
        if wanted == "auto":
            return known[0]
        if wanted not in known:
            raise UsageError(
                f"device {wanted!r} cannot be used by backend {backend.name!r} here; usable: {', '.join(known)}"
            )
        return wanted

    def _defaults(self, task_class: type[Task], fields: Combination) -> Combination:
        defaults = task_class.defaults
        filled: Combination = {
            "hidden": defaults.hidden,
            "batch": defaults.batch,
            "steps": defaults.steps,
            "optimizer": defaults.optimizer,
            "learning_rate": defaults.learning_rate,
            "clip_norm": None if fields.get("clip_value") is not None else defaults.clip_norm,
        }
        steps = fields.get("steps", defaults.steps)
        filled["evaluate_every"] = max(LEAST_BETWEEN_EVALUATIONS, steps // 10) if isinstance(steps, int) else 0
        if fields.get("schedule", "constant") != "constant":
            decays = DECAYS if fields["schedule"] == "exponential" and isinstance(steps, int) else 1
            filled["schedule_steps"] = max(1, steps // decays) if decays > 1 else steps
        return filled

    def _options(self, task_class: type[Task], length: int) -> dict[str, OptionValue]:
        """Validate the task's options and length once, in full: a bad corpus is found before any trial runs."""
        self._tasks_seen.add(task_class.name)
        key = (task_class.name, length)
        if key not in self._checked:
            given = self._task_options.get(task_class.name, {})
            try:
                options = task_class.Options.model_validate(given)
            except ValidationError as error:
                lines = validation_lines(error, f"task.{task_class.name}.", tuple(task_class.Options.model_fields))
                raise UsageError("\n".join(lines)) from error
            self._check(task_class, options, length)
            self._checked[key] = options.model_dump(mode="json")
        return self._checked[key]

    def _check(self, task_class: type[Task], options: TaskOptions, length: int) -> None:
        try:
            task_class(options, length).check()
        except HarnessError:
            raise
        except Exception as error:
            what = f"{self._plugins.label('task', task_class.name)} is broken: {type(error).__name__}: {error}"
            raise UnavailableError(f"{what}. Cure: {answers.CURE}") from error


def _check_reference(plugins: Plugins) -> None:
    try:
        plugins.backend(REFERENCE_BACKEND)
    except UsageError as error:
        raise UsageError(f"every trial is proved against backend {REFERENCE_BACKEND!r}: {error}") from error


def _validated(fields: Mapping[str, Any]) -> Trial:
    try:
        return Trial.model_validate(fields)
    except ValidationError as error:
        raise UsageError("\n".join(validation_lines(error, known=AXES))) from error


def validation_lines(error: ValidationError, prefix: str = "", known: Sequence[str] = ()) -> list[str]:
    """Return pydantic's errors as lines that say where, what came and what is allowed, with the nearest name."""
    lines = []
    for item in error.errors():
        place = prefix + ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(str(UnknownNameError("option", place, [prefix + name for name in known])))
        elif item["loc"]:
            lines.append(f"{place} = {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}")
        else:
            lines.append(item["msg"].removeprefix("Value error, "))
    return lines
