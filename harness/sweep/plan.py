"""A plan: a product of axes, or one per case, minus excludes, plus includes, is a list of trials.

All errors are found at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from harness.contract import Trial, UnknownNameError, UsageError
from harness.plugins import Plugins
from harness.sweep.backend_options import BackendOptions
from harness.sweep.exclude import Excludes
from harness.sweep.problems import listed
from harness.sweep.request import AXES, PlanRequest, count
from harness.sweep.resolve import Resolver

MOST_TRIALS = 100_000


def expand(request: PlanRequest, plugins: Plugins) -> list[Trial]:
    """Return the trials of a request, each resolved in full and none twice.

    Raises:
        UsageError: anything in the request is unknown, unavailable or out of range; all problems in one message.
    """
    unknown = _unknown_axes(request)
    _check_axes(request)
    products = [_known(axes) for axes in request.products()]
    every = [dict(zip(axes, values, strict=True)) for axes in products for values in itertools.product(*axes.values())]
    excludes, nothing = Excludes(request.exclude, plugins), Excludes((), plugins)
    combinations = [(one, excludes) for one in every if not excludes.cover(one)]
    firsts = {name: values[0] for name, values in products[0].items()}
    combinations += [({**firsts, **_known(extra)}, nothing) for extra in request.include]
    options = BackendOptions(request.backend_options, request.overridden, plugins)
    resolver = Resolver(plugins, request.task_options)
    trials: dict[str, Trial] = {}
    errors: dict[str, None] = dict.fromkeys([*request.problems, *unknown])
    for combination, rules in combinations:
        try:
            found = resolver.trials(options.applied(combination))
            kept = (trial for trial in found if not rules.cover(combination | {"backend": trial.engine}))
            trials.update((trial.trial_id, trial) for trial in kept)
        except UsageError as error:
            errors.update(dict.fromkeys(str(error).splitlines()))
    errors.update(dict.fromkeys([*resolver.unused_options(), *options.problems()]))
    if not errors:  # else a rule may idle for one of these
        errors.update(dict.fromkeys(excludes.idle(every, request.overridden)))
    if errors:
        raise UsageError(listed(list(errors)))
    if not trials:
        raise UsageError("the plan holds no trial: every combination is excluded; loosen [[exclude]]")
    return list(trials.values())


def _unknown_axes(request: PlanRequest) -> list[str]:
    tables = {"matrix": request.axes} | {
        f"{kind}.{number}": table
        for kind, some in {"case": request.cases, "include": request.include, "exclude": request.exclude}.items()
        for number, table in enumerate(some, start=1)
    }
    return [
        f"{place}: {UnknownNameError('axis', name, AXES)}"
        for place, table in tables.items()
        for name in _unnamed(table)
    ]


def _unnamed(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in AXES]


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in AXES}


def _check_axes(request: PlanRequest) -> None:
    for axes in request.products():
        if empty := [name for name, values in axes.items() if not values]:
            raise UsageError(f"axis {empty[0]!r} is empty: give it at least one value")
    known = set(itertools.chain(*request.products(), _unnamed(itertools.chain(*request.exclude))))
    if idle := [name for name in dict.fromkeys(itertools.chain(*request.exclude)) if name not in known]:
        raise UsageError(f"exclude names {', '.join(idle)}, which would exclude nothing: give the matrix that axis")
    if count(request) > MOST_TRIALS:
        raise UsageError(
            f"the plan has {count(request):,} trials, more than the {MOST_TRIALS:,} allowed: shorten an axis"
        )
