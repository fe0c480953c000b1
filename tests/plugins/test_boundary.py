"""Every answer of a plugin in a trial is checked: a wrong one fails it with the plugin's name."""

from dataclasses import replace

import numpy as np
import pytest

import paths
from harness.cells.operations import OPS
from harness.contract import (
    Batch,
    Inputs,
    Placement,
    PluginError,
    Rank,
    Score,
    StepResult,
    Trial,
    Vocabulary,
)
from harness.measure.events import Finished
from harness.measure.runner import Settings, run_trial
from harness.measure.timing import limits
from harness.measure.timing.audit import Auditor
from harness.plugins import load_plugins
from harness.plugins.task_validation import checked_solved

FAULTY = paths.FAULTY
HUGE = 10**400
NO_COUNTS = ("x", HUGE, -5, float("nan"), float("inf"), 1.5, [7], object(), np.arange(3), True)


class RudeError:
    """It cannot even be shown."""

    def __repr__(self):
        raise RuntimeError("no words")

    __float__ = __len__ = __bool__ = __repr__


@pytest.fixture
def plugins(monkeypatch):
    monkeypatch.syspath_prepend(FAULTY)
    monkeypatch.setattr(limits, "LARGE", 16)
    # An audit of four steps is noise on a busy machine.
    monkeypatch.setattr(Auditor, "finding", lambda *_: None)
    return load_plugins(block=("jax", "torch"))


def measure(plugins, **changes):
    small = {"backend": "faulty", "variant": "good", "task": "echo", "cell": "rnn"}
    sizes = {"length": 3, "hidden": 4, "batch": 2, "steps": 4}
    *_, finished = run_trial(Trial(**(small | sizes | changes)), plugins=plugins)
    assert isinstance(finished, Finished)
    return finished.record


def with_trainer(plugins, method, answer):
    """Return the plugins with a backend whose trainers answer so."""
    return with_method(plugins, method, lambda *_: answer)


def with_method(plugins, method, function):
    """Return the plugins with a backend whose trainers have this function as a method."""
    faulty = plugins.backend("faulty")

    def trainer(self, *arguments):
        made = type(faulty).trainer(self, *arguments)
        setattr(made, method, function)
        return made

    odd = type(
        "Odd", (type(faulty),), {"trainer": trainer, "__module__": type(faulty).__module__}
    )()
    return replace(plugins, backends=plugins.backends | {"faulty": odd})


def with_task(plugins, name, answer):
    """Return the plugins with a task one of whose answers is this, or what this function gives."""
    echo = plugins.task("echo")
    reply = answer if isinstance(answer, property) or callable(answer) else lambda *_: answer
    odd = type("Odd", (echo,), {name: reply, "__module__": echo.__module__})
    return replace(plugins, tasks=plugins.tasks | {"echo": odd})


RIGHT = Placement("cpu", "float32")
TRAINER_ANSWERS = {
    "peak_memory": NO_COUNTS,
    "compilations": NO_COUNTS,
    "placement": (
        "cpu",
        7,
        replace(RIGHT, device=7),
        replace(RIGHT, dtype=None),
        replace(RIGHT, matmul_precision=HUGE),
        replace(RIGHT, devices="x"),
        replace(RIGHT, devices=-1),
        RudeError(),
    ),
    "ranks": (
        None,
        "x",
        7,
        [("cpu", 1, 0.0)],
        RudeError(),
        *(
            [Rank(*wrong)]
            for wrong in (
                ("cpu", "x", 0.0),
                ("cpu", -1, 0.0),
                (7, 1, 0.0),
                ("cpu", 1, "x"),
                ("cpu", 1, HUGE),
                ("cpu", 1, -1.0),
                ("cpu", 1, float("nan")),
            )
        ),
    ),
    "train_step": (
        StepResult("x", 1.0),
        StepResult(HUGE, 1.0),
        StepResult(1.0, HUGE),
        StepResult(1.0, -1.0),
        StepResult([1.0, 2.0], 1.0),
        StepResult(1.0, None),
        StepResult(1.0, 1.0, np.zeros(3)),
        None,
    ),
    "parameters": (None, {}, {"weight_out": "x"}, [1]),
    "outputs": (None, "x", np.zeros((3, 2, 3), dtype="<U1"), np.zeros(3)),
    "gradients": (None, "x", 7),
}


@pytest.mark.parametrize(
    ("method", "answer"), [(m, a) for m, several in TRAINER_ANSWERS.items() for a in several]
)
def test_a_wrong_answer_of_a_trainer_fails_the_trial_with_the_plugins_name(plugins, method, answer):
    record = measure(with_trainer(plugins, method, answer))
    assert (record.status, record.figures.get("tokens_per_second")) == ("failed", None)
    assert "faulty 1.0" in record.reason
    assert len(record.reason) < 2500


def old_step(cell):
    zx, zh = np.zeros((2, 2, 4 * len(cell.gates)))
    return cell.step(OPS, zx, zh if cell.recurrent else None, (np.zeros((2, 4)),) * 2)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "mingru"])
@pytest.mark.parametrize(
    "call", [old_step, lambda cell: cell.step_gradient], ids=["step", "step_gradient"]
)
def test_an_engine_of_the_old_contract_is_told_what_to_change(plugins, name, call):
    cell = plugins.cell(name)
    record = measure(with_method(plugins, "gradients", lambda _: call(cell)), cell=name)
    assert record.status == "failed"
    assert "this engine calls a cell as step(ops, zx, zh, state) or step_gradient" in record.reason
    assert "harness.recurrence.step_of(cell), or derive(cell) for its gradient" in record.reason
    assert "faulty 1.0" in record.reason


def test_another_error_of_an_engine_is_told_as_it_is(plugins):
    record = measure(with_method(plugins, "gradients", lambda _: None.no_such_attribute))
    assert "'NoneType' object has no attribute 'no_such_attribute'; " in record.reason


@pytest.mark.parametrize(
    ("told", "stored"), [(None, None), (2**40, 2**40), (np.int64(7), 7), (8.0, 8), (0, 0)]
)
def test_counts_of_any_kind_of_number_are_stored_as_whole_numbers(plugins, told, stored):
    record = measure(with_trainer(plugins, "peak_memory", told))
    found = record.figures["peak_memory_bytes"]
    assert record.status == "ok"
    assert (stored is None and found is not None) or (found, type(found)) == (stored, int)


TOKENS = np.zeros((3, 2), np.int32)
MASK = np.ones((3, 2), bool)
GOOD = Batch(TOKENS, TOKENS, MASK)
BAD_BATCHES = (
    None,
    "x",
    replace(GOOD, inputs=TOKENS + 3),
    replace(GOOD, inputs=TOKENS - 1),
    replace(GOOD, inputs=TOKENS.astype(np.float64)),
    replace(GOOD, inputs=TOKENS[:2]),
    replace(GOOD, inputs=[[0, 0]] * 3),
    replace(GOOD, targets=TOKENS + 3),
    replace(GOOD, targets=TOKENS[..., None]),
    replace(GOOD, mask=MASK & False),
    replace(GOOD, mask=MASK.astype(int)),
)
TASK_ANSWERS = {
    "baseline": ("x", HUGE, float("nan"), None, [1.0], RudeError()),
    "floor": ("x", HUGE, float("inf"), [1.0]),
    "facts": (7, [1], "x", {"a": {1, 2}}, {"a": object()}),
    "score": (
        None,
        7,
        (1, 2),
        Score("x", 1.0),
        Score(HUGE, HUGE),
        Score(2.0, 1.0),
        Score(-1.0, 1.0),
        Score(0.0, float("nan")),
        Score(0.0, 1.0, {"a": 1.0}),
        Score(0.0, 1.0, {"a": ("x", 1.0)}),
        Score(0.0, 1.0, {"a": (1.0, -1.0)}),
        Score(0.0, 1.0, {7: (1.0, 1.0)}),
        Score(0.0, 1.0, None),
    ),
    "solved": ("no", "yes", 7, float("nan"), [], np.zeros(2)),
    "validation": (None, [], 7, *([one] for one in BAD_BATCHES)),
    "training_sample": (None, [], *([one] for one in BAD_BATCHES)),
    "training": (None, [], *([one] for one in BAD_BATCHES)),
    "inputs": (
        None,
        "token",
        Inputs("word", 3),
        Inputs("token", "x"),
        Inputs("token", 0),
        Inputs("token", HUGE),
    ),
    "outputs": (None, "x", 0, -3, 2.5, True),
    "loss": (None, "accuracy", 7),
    "vocabulary": ("abc", 7, Vocabulary("abcd")),
}
PROPERTIES = ("inputs", "outputs", "loss", "vocabulary")


@pytest.mark.parametrize(
    ("method", "answer"), [(m, a) for m, several in TASK_ANSWERS.items() for a in several]
)
def test_a_wrong_answer_of_a_task_fails_the_trial_with_the_tasks_name(plugins, method, answer):
    reply = property(lambda _: answer) if method in PROPERTIES else answer
    if method == "training":
        reply = lambda *_: iter(answer) if answer is not None else None
    record = measure(with_task(plugins, method, reply))
    assert record.status == "failed"
    assert "task 'echo' from faulty 1.0" in record.reason
    assert len(record.reason) < 2500


@pytest.mark.parametrize("answer", [True, False, np.bool_(True), None, 0, 1, np.int64(1)])
def test_truth_values_of_any_kind_are_understood(answer):
    assert checked_solved(answer, "task") is bool(answer)


@pytest.mark.parametrize("found", [None, "x", np.zeros((2, 4), np.float32), 1.0])
def test_a_chain_of_products_that_is_not_the_product_is_no_limit(plugins, found, monkeypatch):
    monkeypatch.setattr(
        type(plugins.backend("faulty")), "product_chain", lambda *_: lambda _: found
    )
    record = measure(plugins)
    assert record.status == "ok"
    assert record.figures.get("fraction_of_peak") is None
    assert "invalid product_chain(1): expected the product" in record.details["limits"]["reason"]
    assert "'faulty'" in record.details["limits"]["reason"]


@pytest.mark.parametrize("known", ["x", None, float("nan"), {}, -1.0, True])
def test_a_limit_of_the_store_that_is_no_time_is_measured_again(plugins, known):
    first = measure(plugins)
    names = first.details["calibrations"]
    odd = {first.environment_id: dict.fromkeys(names, known)}
    small = {"length": 3, "hidden": 4, "batch": 2, "steps": 4, "task": "echo", "cell": "rnn"}
    trial = Trial(backend="faulty", variant="good", **small)
    *_, finished = run_trial(trial, Settings(calibrations=odd), plugins=plugins)
    assert finished.record.status == "ok"
    assert finished.record.details["calibrations"].keys() == names.keys()


def test_a_plugin_error_is_what_the_guard_raises():
    with pytest.raises(
        PluginError, match=r"invalid solved: expected True or False, got 'no'; task 'a' from b 1\.0"
    ):
        checked_solved("no", "task 'a' from b 1.0")
