"""Resolves one combination to checked trials: fills in task settings, variants and device."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from harness.contract import (
    Backend,
    Cell,
    HarnessError,
    Missing,
    Task,
    TaskOptions,
    Trial,
    UnavailableError,
    UsageError,
)
from harness.contract.checks import variant_error
from harness.contract.errors import with_fix
from harness.contract.trial import GATE_OPTIONS, OptionValue
from harness.contract.wording import error_text, split_engine
from harness.measure import REFERENCE_BACKEND
from harness.plan.problems import validation_lines
from harness.plan.published import published
from harness.plan.request import (
    AXES,
    FASTEST,
    MOST_TRIALS,
    OPTIONS_OF_TASK,
    Combination,
    PlanRequest,
    TaskSettings,
    products_of,
)
from harness.plugins import Plugins, query

SEEDS = ("seed", "data_seed", "evaluation_seed")  # which decide no variant
CHOICES = {None: query.default_variant, FASTEST: query.fastest_variant}  # made by the backend


class Resolver:
    """Turns combinations into trials: fills in what the task publishes, and the device."""

    def __init__(self, plugins: Plugins, task_options: TaskSettings) -> None:
        self._plugins = plugins
        self._task_options = task_options
        self._valid: dict[tuple[str, str], TaskOptions] = {}
        self._checked: dict[tuple[Any, ...], Task] = {}
        self._devices: dict[str, tuple[str, ...]] = {}
        self._all_variants: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        # (variant asked for, a trial's content without its seeds) -> variant
        self._chosen: dict[tuple[str | None, str], str] = {}
        self._tasks_seen: set[str] = set()
        self._choosing: dict[str, Backend] = {}  # backends whose choice may depend on the machine
        # engine that runs in place of its framework's layer -> cells
        self.without_layer: dict[str, dict[str, None]] = {}
        # option of the memory gate -> cells that have none
        self.without_gate: dict[str, dict[str, None]] = {}
        _check_reference(plugins)

    def look_up(self, axis: str, name: str) -> None:
        """Check the name of a task, a cell or a backend with its variant, by itself.

        Raises:
            UsageError: it is unknown, or cannot be used here.
        """
        if axis == "task":
            self._plugins.task(name)
        elif axis == "cell":
            self._plugins.cell(name)
        else:
            name, variant = split_engine(name)
            for backend in self._plugins.usable_backends(name):
                for cell in [*self._plugins.cells.values()][:1]:  # any: it gives all variants
                    _, variants = self._variants(backend, cell)
                    if variant is not None and variant not in {"all", FASTEST, *variants}:
                        missing = query.missing_variants(backend)
                        raise variant_error(backend.name, variant, (*variants, FASTEST), missing)

    def task_problems(self, request: PlanRequest) -> tuple[list[str], list[str]]:
        """Return the problems with the options of tasks, and the names of these tasks."""
        problems, unusable = list[str](), list[str]()
        for name in self._task_options:
            lines = self._option_problems(name)
            problems += map(request.at, lines) if request.writes_task(name) else lines
            if lines:
                unusable.append(name)
        return problems, unusable

    def _option_problems(self, name: str) -> list[str]:
        try:
            task_class = self._plugins.task(name)
        except UsageError as error:
            return [f"task.{name}: {error}"]
        settings, names = self._task_options[name], tuple(task_class.Options.model_fields)
        lines = [
            f"task.{name}.{option} is empty: give it at least one value"
            for option, value in settings.items()
            if value == []
        ]
        for options in itertools.islice(products_of(settings), MOST_TRIALS):
            try:
                self._valid_options(task_class, options)
            except ValidationError as error:
                lines += validation_lines(error, f"task.{name}.", names)
        return list(dict.fromkeys(lines))

    def rest(self, combination: Combination, faulty: Collection[str]) -> list[str]:
        """Return the other problems of a combination some of whose axes are ``faulty``."""
        checks = {("backend", "device"): self._check_device, ("task", "length"): self._check_length}
        self._tasks_seen.add(str(combination["task"]))
        problems = []
        for axes, check in checks.items():
            try:
                if not set(axes) & set(faulty):
                    check(combination)
            except UsageError as error:
                problems.append(str(error))
        return problems

    def _check_device(self, combination: Combination) -> None:
        name, _ = split_engine(str(combination["backend"]))
        for backend in self._plugins.usable_backends(name):
            self._device(backend, str(combination.get("device", "auto")))

    def _check_length(self, combination: Combination) -> None:
        self._task(combination)

    def trials(self, combination: Combination) -> list[Trial]:
        """Return the trials that a combination names: one for each variant that it asks for.

        Raises:
            UsageError: anything in it is unavailable, or does not go together; its values were
                checked before.
        """
        self._tasks_seen.add(str(combination["task"]))
        name, variant = split_engine(str(combination["backend"]))
        cell = self._plugins.cell(str(combination["cell"]))
        backends = self._plugins.usable_backends(name)
        task = self._task(combination)
        left_out = {"backend", "device", OPTIONS_OF_TASK}
        fields = {key: value for key, value in combination.items() if key not in left_out}
        fields = self._for_cell(cell, published(task, fields), combination)
        device = str(combination.get("device", "auto"))
        trials: list[Trial] = []
        for backend in backends:
            trials += self._of_backend(backend, variant, cell, fields, device)
        for length in {length for trial in trials for length in trial.evaluate_at}:
            try:
                self._task({**combination, "length": length})
            except UsageError as error:
                raise UsageError(f"evaluate_at = {length}: {error}") from error
        options = task.options.model_dump(mode="json")
        return [_validated(trial.content() | {"task_options": options}) for trial in trials]

    def _for_cell(self, cell: Cell, fields: Combination, chosen: Combination) -> Combination:
        """Return the fields without the options of a memory gate if the cell has none."""
        if cell.memory_gate is not None:
            return fields
        for option in GATE_OPTIONS:
            if chosen.get(option) is not None:
                self.without_gate.setdefault(option, {})[cell.name] = None
        return fields | dict.fromkeys(GATE_OPTIONS)

    def _of_backend(
        self, backend: Backend, wanted: str | None, cell: Cell, fields: Combination, device: str
    ) -> Iterator[Trial]:
        """Yield a trial for each wanted variant: all, the named one, or the backend's choice.

        If the backend cannot run this cell, there is a trial all the same, and its record says so.
        """
        fields = fields | {"backend": backend.name, "device": self._device(backend, device)}
        own, variants = self._variants(backend, cell)
        chooses = wanted in CHOICES and wanted not in variants
        named = (wanted,) if wanted and not chooses else ()
        for variant in (own if wanted == "all" else named) or variants[:1]:
            trial = _validated(fields | {"variant": variant})
            chosen = self._choice(backend, cell, trial, wanted) if chooses and own else variant
            yield trial.model_copy(update={"variant": chosen})

    def unused_options(self, request: PlanRequest) -> list[str]:
        """Return a problem for each task that has options and that no combination named so far.

        Options in a plan's file may be unused if the command line overrides its tasks.
        """
        problems = []
        for name in self._task_options:
            if name in self._tasks_seen:
                continue
            problem = f"options are set for task {name!r}, which the plan does not run: add it to "
            if not request.writes_task(name):
                problems.append(f"{problem}--task or drop them")
            elif "task" not in request.overridden:
                problems.append(request.at(f"task.{name}: {problem}task or drop them"))
        return problems

    def _choice(self, backend: Backend, cell: Cell, trial: Trial, wanted: str | None) -> str:
        if wanted or type(backend).default_variant is not Backend.default_variant:
            self._choosing[backend.name] = backend
        content = {name: value for name, value in trial.content().items() if name not in SEEDS}
        key = (wanted, json.dumps(content, sort_keys=True))
        if key not in self._chosen:
            self._chosen[key] = CHOICES[wanted](backend, cell, trial)
        chosen = self._chosen[key]
        layers = backend.own_layers
        if not wanted and layers and layers not in self._variants(backend, cell)[0]:
            self.without_layer.setdefault(f"{backend.name}:{chosen}", {})[cell.name] = None
        return chosen

    def lost_variants(self) -> dict[str, dict[str, Missing]]:
        """Return backend -> variant -> why it is missing, for variants that were offered at first.

        A backend may discover that a variant is missing when it chooses one.
        """
        lost = {}
        for name, backend in self._choosing.items():
            offered: set[str] = set()
            for (owner, _), (_, variants) in self._all_variants.items():
                if owner == name:
                    offered.update(variants)
            missing = query.missing_variants(backend)
            lost[name] = {variant: why for variant, why in missing.items() if variant in offered}
        return lost

    def _variants(self, backend: Backend, cell: Cell) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the variants that run this cell, and all of the backend's with those first."""
        key = (backend.name, cell.name)
        if key not in self._all_variants:
            own = query.variants(backend, cell)
            variants = dict.fromkeys(own)
            for other in self._plugins.cells.values():
                variants |= dict.fromkeys(query.variants(backend, other))
            if not variants:
                problem = f"backend {backend.name!r} runs no cell that is installed"
                raise UnavailableError(f"{problem}; choose another")
            self._all_variants[key] = own, tuple(variants)
        return self._all_variants[key]

    def _device(self, backend: Backend, wanted: str) -> str:
        if wanted == "cpu":
            return wanted
        if backend.name not in self._devices:
            self._devices[backend.name] = query.devices(backend)
        devices = self._devices[backend.name]
        if wanted == "auto":
            return devices[0]
        if wanted not in devices:
            problem = f"device {wanted!r} cannot be used by backend {backend.name!r} here"
            raise UsageError(f"{problem}; usable: {', '.join(devices)}")
        return wanted

    def _task(self, combination: Combination) -> Task:
        """Return the task of a combination, checked once; a bad corpus is an error here.

        Raises:
            UsageError: the task's options and the length do not go together.
        """
        task_class = self._plugins.task(str(combination["task"]))
        length, chosen = int(combination["length"]), combination.get(OPTIONS_OF_TASK, {})
        key = (task_class.name, length, _canonical(chosen))
        if key not in self._checked:
            options = self._valid_options(task_class, chosen)
            if length < task_class.minimum_length:
                least = f"needs a length of at least {task_class.minimum_length}, got {length}"
                raise UsageError(f"task {task_class.name!r} {least}")
            self._checked[key] = self._build(task_class, options, length)
        return self._checked[key]

    def _valid_options(
        self, task_class: type[Task], options: Mapping[str, OptionValue]
    ) -> TaskOptions:
        key = (task_class.name, _canonical(options))
        if key not in self._valid:
            self._valid[key] = task_class.Options.model_validate(options)
        return self._valid[key]

    def _build(self, task_class: type[Task], options: TaskOptions, length: int) -> Task:
        try:
            task = task_class(options, length)
            task.check()
            task.time_steps  # noqa: B018  a plugin's own code
        except HarnessError:
            raise
        except Exception as error:
            what = f"{self._plugins.label('task', task_class.name)} is broken: {error_text(error)}"
            raise UnavailableError(with_fix(what, query.FIX)) from error
        return task


def _canonical(options: Mapping[str, OptionValue]) -> str:
    return json.dumps(options, sort_keys=True)


def _check_reference(plugins: Plugins) -> None:
    try:
        plugins.backend(REFERENCE_BACKEND)
    except UsageError as error:
        problem = f"every trial is proved against backend {REFERENCE_BACKEND!r}"
        raise UsageError(f"{problem}: {error}") from error


def _validated(fields: Mapping[str, Any]) -> Trial:
    try:
        return Trial.model_validate(fields)
    except ValidationError as error:
        raise UsageError("\n".join(validation_lines(error, names=AXES))) from error
