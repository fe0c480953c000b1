"""What a task publishes fills the axes that a plan lacks; tokens set the steps."""

import pytest

from harness.contract import UsageError
from harness.plan.expand import expand, expand_with_notes
from harness.plan.request import PlanRequest, merge
from harness.plugins import load_plugins

PLUGINS = load_plugins(block=("torch", "jax"))


def trials(task_options=None, **axes):
    return expand(PlanRequest({"backend": ["numpy:loop"], **axes}, task_options or {}), PLUGINS)


def test_each_task_names_its_cells_and_lengths():
    pairs = {(trial.task, trial.cell, trial.length) for trial in trials(task=["copy", "adding"])}
    lengths = {"copy": (10, 30, 100), "adding": (50, 100, 200)}
    assert pairs == {
        (task, cell, length)
        for task in lengths
        for cell in ("rnn", "lstm")
        for length in lengths[task]
    }


def test_all_lengths_of_char_train_on_equally_many_tokens():
    tokens = {trial.steps * trial.batch * trial.length for trial in trials(cell=["rnn"])}
    assert tokens == {1_200_000}


@pytest.mark.parametrize(("batch", "steps"), [(32, 40), (64, 20), (63, 21)])
def test_tokens_set_the_steps_rounded_up(batch, steps):
    (trial,) = trials(task=["copy"], cell=["rnn"], length=[4], batch=[batch], tokens=[12_800])
    assert trial.steps == steps


def test_tokens_and_steps_exclude_each_other():
    with pytest.raises(UsageError, match="steps = 3 and tokens = 5 exclude each other"):
        trials(steps=[3], tokens=[5])


def test_steps_of_the_command_line_replace_the_tokens_of_a_plan():
    plan = PlanRequest({"task": ["copy"], "cell": ["rnn"], "length": [4], "tokens": [9]})
    merged = merge(plan, PlanRequest({"backend": ["numpy:loop"], "steps": [7]}))
    assert [trial.steps for trial in expand(merged, PLUGINS)] == [7]


@pytest.mark.parametrize("option", ["forget_bias", "chrono"])
def test_an_option_of_a_memory_gate_leaves_other_cells_as_they_are(option):
    axes = {"backend": ["numpy:loop"], "task": ["adding"], "cell": ["rnn", "lstm"], "length": [5]}
    request = PlanRequest({**axes, option: [3, 4]})
    resolved, notes = expand_with_notes(request, PLUGINS)
    rnn, *lstm = resolved
    assert rnn.trial_id == trials(task=["adding"], cell=["rnn"], length=[5])[0].trial_id
    assert [getattr(trial, option) for trial in lstm] == [3, 4]
    (note,) = notes
    assert note.startswith(f"{option} does not apply to rnn")


def test_options_of_a_task_vary_like_axes():
    options = {"char": {"limit": [2000, 4000], "corpus": "stdlib"}}
    limits = [
        trial.task_options["limit"]
        for trial in trials(options, cell=["rnn", "lstm"], length=[5], batch=[2], steps=[1])
    ]
    assert limits == [2000, 4000, 2000, 4000]


def test_every_value_of_an_option_is_checked():
    with pytest.raises(UsageError, match=r"task\.char\.limit = 1: "):
        trials({"char": {"limit": [2000, 1]}}, length=[5])
    with pytest.raises(UsageError, match=r"task\.char\.limit is empty"):
        trials({"char": {"limit": []}}, length=[5])


def test_an_include_takes_the_axes_of_its_own_task():
    request = PlanRequest(
        {"backend": ["numpy:loop"], "steps": [1]}, include=[{"task": "adding", "cell": "lstm"}]
    )
    (included,) = (trial for trial in expand(request, PLUGINS) if trial.task == "adding")
    assert (included.length, included.cell) == (50, "lstm")
