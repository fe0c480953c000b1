"""The plans in ``benchmarks/`` can be read, and name only axes, tasks and options that exist."""

import pytest

import paths
from harness.plan.file import read_plan
from harness.plan.request import AXES
from harness.plugins import load_plugins

PLANS = sorted(paths.BENCHMARKS.glob("*.toml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_names_what_exists(path):
    request, plugins = read_plan(path), load_plugins()
    assert set(request.axes) <= set(AXES)
    for task in request.axes.get("task", ()):
        plugins.task(task).Options.model_validate(request.task_options.get(task, {}))
    for engine in request.axes.get("backend", ()):
        name = engine.partition(":")[0]
        assert name in {*plugins.backends, *plugins.groups}, (
            "install the project anew: its entry points have changed"
        )
