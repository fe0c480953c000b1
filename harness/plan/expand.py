"""Expands a plan into trials: a product of axes, or one per case, minus excludes, plus includes.

All errors are reported at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.contract import Trial, UnknownNameError, UsageError
from harness.plan.axes import check_values, tables
from harness.plan.backend_options import BackendOptions
from harness.plan.exclude import FIX, Excludes
from harness.plan.fallback import device_notes, gate_notes, layer_notes, variant_notes
from harness.plan.problems import listed
from harness.plan.request import (
    AXES,
    MOST_TRIALS,
    OPTIONS_OF_TASK,
    Combination,
    PlanRequest,
    count,
    with_joined_lengths,
)
from harness.plan.resolve import Resolver
from harness.plugins import Plugins


def expand(request: PlanRequest, plugins: Plugins) -> list[Trial]:
    """Return the trials of a request, each resolved in full and none twice.

    Raises:
        UsageError: anything in the request is unknown, unavailable or out of range; all problems in
            one message.
    """
    return expand_with_notes(request, plugins)[0]


def expand_with_notes(request: PlanRequest, plugins: Plugins) -> tuple[list[Trial], list[str]]:
    """Return the trials of a request, and a sentence for each substitution made on this machine.

    Args:
        request: what is asked for.
        plugins: where its names are looked up.

    Raises:
        UsageError: anything in the request is unknown, unavailable or out of range; all problems in
            one message.
    """
    request = prepared(request, plugins)
    resolver = Resolver(plugins, request.task_options)
    values, shape = check_values(request, resolver), _bad_shape(request)
    options = BackendOptions(request.backend_options, request.overridden, plugins)
    excludes = Excludes(request.exclude, plugins)
    every = [] if shape else _products(request)
    trials: dict[str, Trial] = {}
    errors: dict[str, None] = dict.fromkeys(
        [
            *request.problems,
            *_unknown_axes(request),
            *_bad_excludes(request),
            *_bad_seeds(request),
            *shape,
        ]
    )
    errors.update(dict.fromkeys(values.problems))
    combinations = _combinations(request, every, excludes, Excludes((), plugins))
    for combination, rules in () if shape else combinations:
        asked = options.applied(combination)
        if faulty := values.faulty(asked):
            errors.update(dict.fromkeys(resolver.rest(asked, faulty)))
            continue
        try:
            resolved = _resolved(asked, combination, options, resolver)
            kept = rules.without(combination, resolved)
            trials.update((trial.trial_id, trial) for trial in kept)
        except UsageError as error:
            errors.update(dict.fromkeys(str(error).splitlines()))
    errors.update(dict.fromkeys(map(request.at, options.problems())))
    misnamed = {axis for axis, _ in values.bad}  # something may idle for one of these
    if not shape and "task" not in misnamed:
        errors.update(dict.fromkeys(resolver.unused_options(request)))
    if not shape and "backend" not in misnamed:
        errors.update(dict.fromkeys(map(request.at, options.idle())))
    if not errors:  # else a rule may idle for one of these
        errors.update(dict.fromkeys(map(request.at, excludes.idle(every, request.overridden))))
    if errors:
        raise UsageError(listed(list(errors)))
    if not trials:
        problem = "the plan holds no trial: every combination is excluded"
        raise UsageError(f"{problem}; loosen [[exclude]]")
    notes = variant_notes(resolver.lost_variants()) + layer_notes(resolver.without_layer)
    notes += gate_notes(resolver.without_gate)
    return list(trials.values()), notes + device_notes(request, trials.values(), plugins.backends)


def prepared(request: PlanRequest, plugins: Plugins) -> PlanRequest:
    """Return the request with what the tasks publish, and the lengths of an evaluation joined."""
    defaults = {name: task.defaults for name, task in plugins.tasks.items()}
    return replace(with_joined_lengths(request), defaults=defaults)


def _resolved(
    asked: Combination, combination: Combination, options: BackendOptions, resolver: Resolver
) -> Iterator[Trial]:
    """Yield the trials, with the options of their variant if the combination names no variant."""
    for trial in resolver.trials(asked):
        if not options.has(trial.engine) or combination["backend"] == trial.engine:
            yield trial
        else:
            yield from resolver.trials(options.applied(combination | {"backend": trial.engine}))


def _products(request: PlanRequest) -> list[Combination]:
    combinations = []
    for axes in map(_axes_only, request.products()):
        products = itertools.product(*axes.values())
        combinations += [dict(zip(axes, values, strict=True)) for values in products]
    return combinations


def _combinations(
    request: PlanRequest, every: Iterable[Combination], excludes: Excludes, nothing: Excludes
) -> Iterator[tuple[Combination, Excludes]]:
    """Yield the products that are not excluded, then the includes, each with its excludes."""
    yield from ((combination, excludes) for combination in every if not excludes.cover(combination))
    yield from ((request.included(_axes_only(extra)), nothing) for extra in request.include)


def _unknown_axes(request: PlanRequest) -> list[str]:
    rules = ((f"exclude.{number}", rule) for number, rule in enumerate(request.exclude, start=1))
    problems = []
    for table_name, table in (*tables(request), *rules):
        for name in _unknown(table):
            error = UnknownNameError("axis", name, AXES)
            problems.append(request.at(f"{table_name}: {error}") if table_name else str(error))
    return problems


def _unknown(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in AXES]


def _axes_only(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in {*AXES, OPTIONS_OF_TASK}}


def _bad_shape(request: PlanRequest) -> list[str]:
    """Return why the products cannot be made."""
    empty = []
    for table_name, table in tables(request):
        for axis in (axis for axis, values in table.items() if not values):
            problem = f"axis {axis!r} is empty: give it at least one value"
            empty.append(request.at(f"{table_name}: {problem}") if table_name else problem)
    if not empty and count(request) > MOST_TRIALS:
        what = f"the plan has {count(request):,} trials, more than the {MOST_TRIALS:,} allowed"
        return [request.at(f"{what}: shorten an axis")]
    return empty


def _bad_seeds(request: PlanRequest) -> list[str]:
    """Return why a number of seeds cannot be used: two of them, seeds by name too, an include."""
    problems = []
    for case in request.cases or ({},):
        axes = {**request.axes, **case}
        if {"seed", "seeds"} <= axes.keys():
            problems.append("seed and seeds exclude each other: leave one of them out")
        if len(values := axes.get("seeds", (1,))) > 1:
            several = ", ".join(map(str, values))
            problems.append(f"seeds = {several}: give one number, or name each by seed")
    if any("seeds" in extra for extra in request.include):
        problems.append("an include is one combination and takes no seeds: give it a seed")
    return list(map(request.at, dict.fromkeys(problems)))


def _bad_excludes(request: PlanRequest) -> list[str]:
    problems = [
        request.at(f"exclude.{number}: it names no axis, and would exclude nothing: {FIX}")
        for number, rule in enumerate(request.exclude, start=1)
        if not rule
    ]
    named = dict.fromkeys(itertools.chain(*request.exclude))
    axes = set(itertools.chain(*request.products(), _unknown(named)))
    if idle := [name for name in named if name not in axes]:
        what = f"exclude names {', '.join(idle)}, which would exclude nothing"
        problems.append(request.at(f"{what}: give the matrix that axis"))
    return problems
