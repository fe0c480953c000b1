"""Suites: plans that ship with a plugin, their smaller form, and what replaces their axes."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.contract import Suite, UnknownNameError, UsageError
from harness.plan.expand import expand
from harness.plan.file import planned
from harness.plan.request import PlanRequest
from harness.plugins import load_plugins

PLUGINS = load_plugins()
PLAN = """
asks = "Does it echo?"
[matrix]
backend = "numpy:loop"
cell = ["rnn", "lstm"]
length = 5
seeds = 3
[[case]]
task = "parity"
steps = 7
[[case]]
task = "copy"
seeds = 2
[quick]
cell = "gru"
seeds = 1
"""


def suite_of(tmp_path: Path, text: str):
    path = tmp_path / "echo.toml"
    path.write_text(text)
    return replace(PLUGINS, suites={"echo": Suite("echo", path)})


def trials(plugins, *, plan=None, suite="echo", quick=False, **axes):
    request = planned(PlanRequest(axes), plan, suite, plugins, quick=quick)
    return [(trial.task, trial.cell, trial.seed) for trial in expand(request, plugins)]


def test_a_suite_is_a_plan_and_its_quick_axes_replace_those_of_matrix_and_cases(tmp_path):
    plugins = suite_of(tmp_path, PLAN)
    assert len(trials(plugins)) == 2 * 3 + 2 * 2
    assert trials(plugins, quick=True) == [("parity", "gru", 0), ("copy", "gru", 0)]
    assert trials(plugins, quick=True, cell=["mgu"], seed=[4]) == [
        ("parity", "mgu", 4), ("copy", "mgu", 4),
    ]  # fmt: skip
    path = plugins.suites["echo"].path
    assert trials(plugins, plan=path, suite=None, quick=True) == trials(plugins, quick=True)


def test_what_cannot_be_asked_for_is_refused_with_the_fix(tmp_path):
    plugins = suite_of(tmp_path, PLAN.partition("[quick]")[0])
    with pytest.raises(UnknownNameError, match=r"unknown suite 'eco'\. Did you mean echo"):
        trials(plugins, suite="eco")
    with pytest.raises(UsageError, match="leave one of them out"):
        trials(plugins, plan=Path("plan.toml"))
    for suite, problem in (("echo", "echo.toml has none"), (None, "none is named")):
        with pytest.raises(UsageError, match=rf"--quick takes the table \[quick\].*{problem}"):
            trials(plugins, suite=suite, quick=True)
    wrong = suite_of(tmp_path, PLAN.replace('cell = "gru"', "cel = true"))
    with pytest.raises(UsageError, match=r"quick.cel = True: no axis takes true or false"):
        trials(wrong)


@pytest.mark.parametrize("name", PLUGINS.suites)
def test_a_suite_that_ships_says_what_it_asks_and_runs_here(name):
    whole = planned(PlanRequest(), None, name, PLUGINS, quick=False)
    assert whole.asks.endswith("?")
    assert whole.takes
    every = expand(whole, PLUGINS)
    quick = expand(planned(PlanRequest(), None, name, PLUGINS, quick=True), PLUGINS)
    assert {trial.trial_id for trial in quick} < {trial.trial_id for trial in every}


def test_the_ladder_has_its_rungs_in_order_for_five_seeds_and_three_lengths():
    plan = planned(PlanRequest({"cell": ["lstm"]}), None, "ladder", PLUGINS, quick=False)
    every = expand(plan, PLUGINS)
    rungs = dict.fromkeys((trial.task, trial.task_options.get("group")) for trial in every)
    assert list(rungs) == [
        ("parity", None), ("word_problem", "Z5"), ("word_problem", "S3"), ("word_problem", "S5"),
        ("dyck", None), ("counting", None), ("associative_recall", None), ("selective_copy", None),
    ]  # fmt: skip
    assert {(trial.length, *trial.evaluate_at) for trial in every} == {(32, 64, 128)}
    assert sorted(trial.seed for trial in every) == sorted([*range(5)] * len(rungs))
