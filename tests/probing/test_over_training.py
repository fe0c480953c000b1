"""Probes over training: at which steps, from which weights, and which of two results stays."""

import json

import pytest

import harness
from builders import small_trial
from harness.contract.records.probed import merged, probe_flags, probed
from harness.measure.snapshots.weights import WeightsOverTraining
from harness_results.store.merge import merge
from harness_results.store.store import Store

PROBES = """
    import os
    from harness.contract import hookimpl
    from harness.contract.probes import Findings, Probe

    class Total(Probe):
        name, figures = "total", {"value": "sum of the readout's weights"}

        def measure(self, network):
            return Findings({"value": float(network.parameters["weight_out"].sum())})

    class Fragile(Probe):
        name, figures = "fragile", {"value": "1; the first time it ends its process"}

        def measure(self, network):
            if not os.path.exists(os.environ["FRAGILE"]):
                open(os.environ["FRAGILE"], "w").close()
                os.abort()
            return Findings({"value": 1})

    @hookimpl
    def harness_probes():
        return [Total(), Fragile()]
"""
AXES = {"backend": "numpy:loop", "task": "copy", "cell": "rnn", "length": 3, "hidden": 4}


@pytest.fixture
def store(install, monkeypatch, tmp_path):
    install("fake_probes", PROBES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FRAGILE", str(tmp_path / "fragile"))
    return str(tmp_path / "store.sqlite")


def run(store, steps=10, **options):
    (record,) = harness.run(
        **AXES, batch=2, steps=steps, store=store, progress=False, **options
    ).records
    return record


def total(record):
    return probed(record.details)["total"].figures["value"]


@pytest.mark.parametrize(
    ("every", "steps", "expected"),
    [(2, 20, [2, 4, 8, 16]), (1, 4, [1, 2]), (30, 20, []), (None, 20, [])],
)
def test_the_steps_double(every, steps, expected, tmp_path):
    class Setup:
        trial = small_trial(steps=steps)

    weights = WeightsOverTraining(Setup, tmp_path / "a.safetensors", every)
    reached, step = [], 0
    while (step := weights.next_step(step)) < steps:
        reached.append(step)
    assert reached == expected


@pytest.mark.slow
def test_a_figure_over_training_is_that_of_the_weights_at_each_step(store, tmp_path):
    record = run(store, probe="total,fragile", probe_every=2)
    curve = probed(record.details)["total"].over_training["value"]
    assert curve.along == "training_step"
    assert list(curve.at) == [0, 2, 4, 8, 10]
    assert curve.values[-1] == total(record)
    stopped = run(str(tmp_path / "other.sqlite"), 4, probe="total")
    assert curve.values[2] == total(stopped)  # a network that was trained no longer than that
    plain = run(str(tmp_path / "other.sqlite"), probe="total")
    assert plain.trial.trial_id == record.trial.trial_id
    assert plain.figures["loss_validation"] == record.figures["loss_validation"]
    assert probed(plain.details)["total"].over_training == {}
    fragile = probed(record.details)["fragile"]
    assert list(fragile.over_training["value"].values) == [None, 1, 1, 1, 1]
    (flag,) = probe_flags(record.details)
    assert flag.startswith("probe fragile failed at step 0: its process ended with status -6")


@pytest.mark.slow
def test_probes_that_are_added_later_merge_with_those_that_exist(store, tmp_path):
    record = run(store, probe="total", probe_every=2)
    copy = str(tmp_path / "copy.sqlite")
    with Store.open(copy) as target, Store.open(store, create=False) as source:
        merge(target, [source])
    harness.probe(record.trial.trial_id, "fragile", store=store)
    with Store.open(copy) as target, Store.open(store, create=False) as source:
        (counts,) = merge(target, [source])
        assert (counts.records, counts.present) == (0, 1)
        (of_target,), (of_source,) = target.launches(), source.launches()
    assert set(probed(of_target.details)) == {"total", "fragile"}
    assert of_target.details == of_source.details
    assert list(probed(of_target.details)["total"].over_training["value"].at) == [0, 2, 4, 8, 10]
    started = record.started_at
    again = run(store, probe="total,fragile", probe_every=2)
    assert again.started_at == started  # reused, and no probe ran again
    assert again.details["probes"] == of_source.details["probes"]


CURVE = {"along": "training_step", "at": [0, 5], "values": [1.0, 2.0]}
ASCENDING = [
    {"failed": "no version"},
    {"version": 1, "failed": "it crashed", "measured_at": "2026-09"},
    {"version": 1, "figures": {"a": 1}},
    {"version": 1, "figures": {"a": 1}, "measured_at": "2026-01"},
    {"version": 1, "figures": {"a": 1}, "measured_at": "2026-02"},
    {"version": 1, "figures": {"a": 1}, "over_training": {"a": CURVE}},
    {"version": 2, "failed": "it crashed"},
    {"version": 2, "figures": {"a": 3}},
]


@pytest.mark.parametrize("lower", range(len(ASCENDING) - 1))
def test_the_better_of_two_results_stays_whichever_comes_first(lower):
    low, high = ({"p": content} for content in ASCENDING[lower : lower + 2])
    assert merged(low, high) == merged(high, low) == high
    assert merged("damaged", low) == low
    assert merged(json.loads(json.dumps(low)), {"q": {}}) == {**low, "q": {}}
