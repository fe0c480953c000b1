"""Trained networks are judged at other lengths and on named sets, after what is timed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from builders import small_trial
from harness.contract import Inputs
from harness.measure.checkpoint import load
from harness.measure.events import Facts, Finished, Phase
from harness.measure.proof.streams import generator
from harness.measure.runner import Settings, run_trial
from harness.plugins import load_plugins
from harness.plugins.catalog import Loaded
from harness_tasks import Adding, Char

FEW = {"validation_sequences": 20}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plugins():
    return load_plugins(block=("jax", "torch"))


def events(plugins, settings=None, **changes):
    trial = small_trial(**({"task": "adding", "length": 4, "task_options": FEW} | changes))
    return list(run_trial(trial, settings, plugins=plugins))


def measure(plugins, settings=None, **changes):
    last = events(plugins, settings, **changes)[-1]
    assert isinstance(last, Finished)
    return last.record


def with_task(plugins, task):
    offered = Loaded(task.name, "harness-own 1.0", (("task", task.name),))
    tasks = {**plugins.tasks, task.name: task}
    return replace(plugins, tasks=tasks, loaded=(*plugins.loaded, offered))


def test_the_loss_at_another_length_is_that_of_the_trained_weights(plugins, tmp_path):
    torch = pytest.importorskip("torch")
    file = tmp_path / "weights.safetensors"
    record = measure(plugins, Settings(checkpoint=str(file)), steps=30, evaluate_at=[8])
    _, at_8 = record.details["evaluation_sets"]
    weights = load(file).parameters
    layer = torch.nn.RNN(2, 4)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    layer.load_state_dict({name: torch.from_numpy(weights[name]) for name in names})
    errors, targets = [], []
    for batch in Adding(Adding.Options(**FEW), 8).validation(generator(0, "evaluation", "T=8"), 2):
        with torch.no_grad():
            states, _ = layer(torch.from_numpy(batch.inputs.astype(np.float32)))
        outputs = states[-1].numpy() @ weights["weight_out"].T + weights["bias_out"]
        errors.append((outputs - batch.targets[-1]) ** 2)
        targets.append(batch.targets[-1])
    assert at_8["name"] == "T=8"
    assert at_8["length"] == 8
    assert at_8["loss_validation"] == pytest.approx(float(np.mean(errors)), rel=1e-5)
    assert at_8["loss_baseline"] == pytest.approx(float(np.mean((np.array(targets) - 1) ** 2)))
    assert at_8["loss_ratio"] == at_8["loss_validation"] / at_8["loss_baseline"]
    assert at_8["accuracy"] == pytest.approx(float(np.mean(np.sqrt(errors) < 0.04)))
    assert json.loads(record.columns()["evaluation_sets"]) == record.details["evaluation_sets"]


def test_judging_changes_no_other_figure_and_comes_after_the_limits(plugins):
    plain = measure(plugins)
    everything = events(plugins, evaluate_at="2T,3T")
    judged = everything[-1].record
    assert [each["name"] for each in plain.details["evaluation_sets"]] == ["test"]
    names = [each["name"] for each in judged.details["evaluation_sets"]]
    assert names == ["test", "T=8", "T=12"]
    assert judged.details["evaluation_sets"][0] == plain.details["evaluation_sets"][0]
    for name in ("loss", "gradient_norm", "evaluations", "gradient_flow"):
        assert judged.curves[name] == plain.curves[name]
    phases = [event.name for event in everything if isinstance(event, Phase)]
    first = next(
        n
        for n, event in enumerate(everything)
        if isinstance(event, Facts) and "evaluation_sets" in event.details
    )
    before = [event.name for event in everything[:first] if isinstance(event, Phase)]
    assert before[-2:] == phases[-2:] == ["limits", "finish"]


def test_lengths_are_followed_on_the_same_batches_and_training_stays_the_same(plugins):
    changes = {"steps": 10, "evaluate_every": 4, "evaluate_at": "2T,3T"}
    changes |= {"task_options": {"validation_sequences": 16}}  # 8 batches: all of them
    plain = measure(plugins, **changes)
    record = measure(plugins, Settings(follow_lengths=True), **changes)
    followed = record.curves["evaluation_sets"]
    assert [each["step"] for each in followed[::2]] == [0, 4, 8, 10]
    assert {(each["name"], each["length"]) for each in followed} == {("T=8", 8), ("T=12", 12)}
    assert followed[-2:] == record.details["evaluation_sets"][1:]
    assert len({each["loss_validation"] for each in followed}) == 8
    assert record.details["evaluation_sets"] == plain.details["evaluation_sets"]
    assert record.curves["loss"] == plain.curves["loss"]
    assert "evaluation_sets" not in plain.curves


def test_lengths_that_cannot_be_followed_cost_a_flag(plugins):
    broken = with_task(plugins, Breaking)
    changes = {"task": "breaking", "evaluate_at": "2T", "evaluate_every": 4}
    record = measure(broken, Settings(follow_lengths=True), **changes)
    assert record.status == "ok"
    assert any(
        "at other lengths during training failed" in flag for flag in record.details["flags"]
    )


def test_test_validation_and_other_lengths_have_data_of_their_own(plugins):
    record = measure(plugins, evaluate_at=[4])
    test, again = record.details["evaluation_sets"]
    baselines = {test["loss_baseline"], again["loss_baseline"], record.figures["loss_baseline"]}
    assert len(baselines) == 3


class Widening(Adding):
    name = "widening"

    @property
    def inputs(self):
        return Inputs("real", self.length)


class Breaking(Adding):
    name = "breaking"

    def at_length(self, length, data_seed):
        task = super().at_length(length, data_seed)
        task.score = None
        return task


def test_a_task_that_is_another_one_at_another_length_fails_before_training(plugins):
    record = measure(with_task(plugins, Widening), task="widening", length=2, evaluate_at="3")
    assert record.status == "failed"
    assert record.reason.startswith(
        "task widening: inputs are Inputs(kind='real', size=2) at T = 2 and "
        "Inputs(kind='real', size=3) at T = 3, so one network cannot do both"
    )
    assert "loss" not in record.curves


def test_a_set_that_fails_costs_no_other_figure(plugins):
    record = measure(with_task(plugins, Breaking), task="breaking", evaluate_at="2T")
    assert record.status == "ok"
    assert any("evaluation on further data failed" in flag for flag in record.details["flags"])
    assert [each["name"] for each in record.details["evaluation_sets"]] == ["test"]


def test_a_text_is_judged_at_other_windows_and_on_the_text_after_validation(plugins, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog. " * 40, encoding="utf-8")
    options = {"corpus": str(file), "validation_characters": 100}
    record = measure(
        plugins, task="char", task_options=options, length=5, batch=2, evaluate_at="4T"
    )
    test, longer = record.details["evaluation_sets"]
    assert (test["name"], longer["name"]) == ("test", "T=20")
    assert test["tokens_validation"] >= 80
    task = Char(Char.Options(**options), 5)
    task.prepare(np.random.SeedSequence(0))
    text, start = task.text.tokens, int(0.9 * len(task.text.tokens))
    (first, *_) = task.evaluation_set("test", generator(0), 1)
    np.testing.assert_array_equal(first.inputs[:, 0], text[start + 100 : start + 105])
