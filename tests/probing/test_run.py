"""A probe that crashes, returns NaN or sleeps costs a flag and never a figure."""

import json

import pytest
from click.testing import CliRunner

import harness
from builders import small_trial
from harness.cli.main import cli
from harness.plugins import load_plugins
from harness_results.store.store import Store

PROBES = """
    import os, time
    from harness.contract import hookimpl
    from harness.contract.probes import Curve, Findings, Probe

    class Base(Probe):
        figures = {"value": "a value"}

    class Good(Base):
        name = "good"

        def measure(self, network):
            weight = network.parameters["weight_out"]
            assert weight.dtype == "float64"
            curve = Curve("lag_steps", [0, 1], [1.0, None])
            return Findings({"value": float(weight.sum())}, {"curve": curve})

    class Crash(Base):
        name = "crash"

        def measure(self, network):
            os.abort()

    class Raises(Base):
        name = "raises"

        def measure(self, network):
            raise ValueError("no idea")

    class NotANumber(Base):
        name = "nan"

        def measure(self, network):
            return Findings({"value": float("nan")})

    class Sleeps(Base):
        name, seconds = "sleeps", 0.2

        def measure(self, network):
            time.sleep(60)

    @hookimpl
    def harness_probes():
        return [Good(), Crash(), Raises(), NotANumber(), Sleeps()]
"""
FAILURES = {
    "crash": "its process ended with status -6",
    "raises": "ValueError: no idea",
    "nan": "expected a finite number or None, got nan",
    "sleeps": "it took over 0.2 s",
}
AXES = {"backend": "numpy:loop", "task": "copy", "cell": "rnn", "length": 3, "hidden": 4}
SIZE = {"batch": 2, "steps": 8}


@pytest.fixture
def with_probes(install, monkeypatch, tmp_path):
    install("fake_probes", PROBES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return str(tmp_path / "store.sqlite")


def run(store, **options):
    (record,) = harness.run(**AXES, **SIZE, store=store, progress=False, **options).records
    return record


@pytest.mark.slow
def test_a_bad_probe_costs_a_flag_and_never_a_figure(with_probes):
    before = run(with_probes)
    names = ["good", *FAILURES]
    record = run(with_probes, probe=names)  # reused: nothing is trained again
    assert record.started_at == before.started_at
    assert record.figures == before.figures
    assert record.trial.trial_id == before.trial.trial_id
    flags = {flag.split()[1]: flag for flag in record.details["flags"] if flag.startswith("probe")}
    assert set(flags) == set(FAILURES)
    for name, reason in FAILURES.items():
        assert reason in flags[name]
        assert f"probe '{name}' from fake-probes 1.0" in flags[name]
    good = record.details["probes"]["good"]
    assert set(good["figures"]) == {"value"}
    assert good["curves"]["curve"] == {"along": "lag_steps", "at": [0, 1], "values": [1.0, None]}
    name = "probe.good.value"
    assert json.loads(record.columns()["probes"]) == {name: good["figures"]["value"]}


@pytest.mark.slow
def test_the_verb_adds_a_probe_to_a_stored_trial(with_probes):
    store, record = with_probes, run(with_probes)
    trial = record.trial.trial_id

    def invoke(*arguments):
        return CliRunner().invoke(cli, list(arguments), standalone_mode=False)

    done = invoke("probe", trial[:6], "good", "--store", store, "--format", "json")
    assert done.return_value == 0, done.output
    value = json.loads(done.stdout)["good"]["figures"]["value"]
    with Store.open(store, create=False) as opened:
        (stored,) = opened.launches()
        (whole,) = opened.launches(with_curves=True)
    assert stored.details["probes"]["good"]["figures"] == {"value": value}
    assert "probes" not in whole.curves
    assert whole.curves["loss"] == record.curves["loss"]
    failed = invoke("probe", "last", "good,raises", "--store", store)
    assert failed.return_value == 3
    assert "probe raises failed: ValueError: no idea" in failed.stderr
    for arguments, problem in (
        (("last", "goood"), "unknown probe 'goood'. Did you mean good?"),
        (("ffffff", "good"), "unknown trial"),
    ):
        error = invoke("probe", *arguments, "--store", store).exception
        assert problem in str(error)


def test_an_unknown_probe_is_refused_before_anything_runs(tmp_path):
    from harness.contract import UnknownNameError

    with pytest.raises(UnknownNameError, match=r"unknown probe 'memoryy'\. Did you mean memory"):
        run(str(tmp_path / "store.sqlite"), probe="memoryy")
    assert not (tmp_path / "store.sqlite").exists()


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        ("figures = {}", "figures must map names to what they say"),
        ("figures = {'a': 'b'}; version = 0", "version must be a whole number"),
        ("figures = {'a': 'b'}; seconds = float('inf')", "seconds must be a number above 0"),
        ("figures = {'a b': 'c'}", "figure name 'a b' is not allowed"),
    ],
)
def test_a_wrong_declaration_breaks_the_plugin(install, declaration, problem):
    source = f"""
        from harness.contract import hookimpl
        from harness.contract.probes import Probe

        class Wrong(Probe):
            name = "wrong"
            {declaration}

            def measure(self, network):
                return None

        @hookimpl
        def harness_probes():
            return [Wrong()]
    """
    install("fake_wrong", source)
    (broken,) = [plugin for plugin in load_plugins().broken if plugin.name == "fake_wrong"]
    assert problem in broken.reason


def test_probes_are_no_part_of_a_trial():
    assert "probe" not in small_trial().content()
