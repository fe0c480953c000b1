"""The audit rejects every engine that hides its work, and no honest engine, even under noise."""

import importlib.util
import json
import os
import random
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import paths
from harness.contract import Batch, Optimizer, Trial
from harness.measure.events import Finished
from harness.measure.runner import run_trial
from harness.measure.timing.audit import Auditor, Claim, must_move
from harness.measure.timing.clock import MonotonicClock, Stopwatch
from harness.measure.timing.speed import SPEED_CURVES, SPEED_DETAILS
from harness.plugins import load_plugins
from harness.plugins.validation import Step
from harness_numpy import NumpyBackend

pytestmark = pytest.mark.slow

FAULTY = paths.FAULTY
LENGTH, BATCH = 3, 10


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


FAMILY = module("family", FAULTY / "deferring.py")
THREADS = ("threaded", "stale", "coalesces")


class SleepingClock:
    """A clock that only sleeping moves, and a little every look."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        self.seconds += 1e-5
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds

    def monotonic(self):
        return self.seconds


@pytest.fixture
def plugins(monkeypatch):
    monkeypatch.syspath_prepend(FAULTY)
    return load_plugins(block=("jax", "torch", "peers"))


@pytest.fixture
def clock(monkeypatch, plugins):
    """A fake clock that the fakes of the plugin sleep on."""
    clock = SleepingClock()
    monkeypatch.setattr(sys.modules["deferring"], "time", clock)
    monkeypatch.setattr(
        type(plugins.backend("faulty")), "product_chain", lambda *_: None
    )  # no product moves the clock
    return clock


def measure(plugins, clock, variant="good", **changes):
    chosen = {
        "backend": "faulty",
        "variant": variant,
        "task": "echo",
        "cell": "rnn",
        "length": LENGTH,
    }
    sizes = {"hidden": 4, "batch": BATCH, "steps": 60, "evaluate_every": 0}
    events = run_trial(Trial(**(chosen | sizes | changes)), clock=clock, plugins=plugins)
    return next(event.record for event in events if isinstance(event, Finished))


def publishes_nothing_false(record, seconds):
    if record.status == "ok":
        assert record.figures["step_seconds_median"] >= 0.98 * seconds
        assert record.figures["tokens_per_second"] <= 1.02 * LENGTH * BATCH / seconds
        return
    assert (record.status, record.figures.get("tokens_per_second")) == ("failed", None)
    assert record.reason.startswith("no speed is published: ")
    assert record.reason.endswith("; backend 'faulty' from faulty 1.0")


@pytest.mark.parametrize("every", [0, 20])
@pytest.mark.parametrize("variant", [name for name in FAMILY.DEFERRING if name not in THREADS])
def test_an_engine_that_hides_its_work_publishes_no_false_speed(plugins, clock, variant, every):
    publishes_nothing_false(measure(plugins, clock, variant, evaluate_every=every), FAMILY.SECONDS)


@pytest.mark.parametrize("variant", THREADS)
def test_one_that_works_in_a_thread_of_its_own_neither(plugins, variant, monkeypatch):
    monkeypatch.setattr(sys.modules["deferring"], "SECONDS", 0.005)
    record = measure(plugins, None, variant, steps=30)
    assert record.status == "failed"
    publishes_nothing_false(record, 0.005)


def test_an_honest_one_reads_what_it_sleeps(plugins, clock):
    record = measure(plugins, clock, "sleeps", evaluate_every=20)
    assert record.status == "ok", record.reason
    assert record.figures["step_seconds_median"] == pytest.approx(FAMILY.SECONDS, rel=0.02)
    assert record.figures["tokens_per_second"] == pytest.approx(
        LENGTH * BATCH / FAMILY.SECONDS, rel=0.02
    )


def test_the_audit_leaves_the_trained_weights_as_they_were(plugins, monkeypatch):
    sizes = {"steps": 8, "evaluate_every": 0, "learning_rate": 0.1}
    with_audit = measure(plugins, None, "good", **sizes)
    monkeypatch.setattr(Auditor, "finding", lambda *_: None)
    without = measure(plugins, None, "good", **sizes)
    assert with_audit.curves["gradient_flow"]["final"] == without.curves["gradient_flow"]["final"]


def test_a_speed_that_cannot_be_verified_is_not_published(plugins, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(Auditor, "finding", fail)
    record = measure(plugins, None, "good", steps=8)
    assert record.status == "ok"
    assert record.figures.get("tokens_per_second") is record.figures.get("fraction_of_peak") is None
    assert not {*SPEED_CURVES, *SPEED_DETAILS} & {*record.curves, *record.details}
    assert any(
        flag.startswith("no speed, since it could not be verified: MemoryError")
        for flag in record.details["flags"]
    )


def test_a_speed_is_published_if_validation_has_fewer_streams_than_training(plugins):
    text = {"corpus": "grammar", "limit": 3000, "validation_characters": 60}
    trial = {"backend": "numpy", "variant": "vectorised", "task": "char", "task_options": text}
    record = measure(plugins, None, length=10, batch=8, steps=8, **trial)
    assert record.status == "ok"
    assert record.figures["tokens_per_second"] > 0, record.details["flags"]


def test_more_than_the_peak_is_not_published(plugins, monkeypatch):
    slow = type(plugins.backend("faulty"))

    class SlowPeak(slow):
        def product_chain(self, start, matrices, execution):
            chain = super().product_chain(start, matrices, execution)
            return lambda rounds: (
                time.sleep(0.05 if len(start) < 1024 else 30.0 * rounds) or chain(rounds)
            )

    clock = SleepingClock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    odd = replace(plugins, backends=plugins.backends | {"faulty": SlowPeak()})
    record = measure(odd, clock, "good", steps=8, length=20, hidden=64)
    assert (record.status, record.figures.get("tokens_per_second")) == ("failed", None)
    assert "of the peak that this engine reaches; backend 'faulty'" in record.reason
    assert not {*SPEED_CURVES, *SPEED_DETAILS} & {*record.curves, *record.details}


def test_a_peak_that_was_disturbed_is_measured_again(plugins, monkeypatch):
    disturbed = iter([True])

    class Disturbed(type(plugins.backend("faulty"))):
        def product_chain(self, start, matrices, execution):
            product = super().product_chain(start, matrices, execution)(1)
            seconds = 30.0 if len(start) >= 1024 and next(disturbed, False) else 1e-6
            return lambda rounds: time.sleep(seconds * rounds) or product

    clock = SleepingClock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    odd = replace(plugins, backends=plugins.backends | {"faulty": Disturbed()})
    record = measure(odd, clock, "good", steps=8, length=20, hidden=64)
    assert record.status == "ok", record.reason
    assert 0 < record.figures["fraction_of_peak"] <= 1.1


class Noisy:
    """A clock of an honest engine on a machine that stops for 50 ms, half of the time."""

    def __init__(self, seed):
        self.seconds, self.random = 0.0, random.Random(seed)

    def now(self):
        self.seconds += 1e-4 + 0.05 * (self.random.random() < 0.5)
        return self.seconds


@pytest.mark.parametrize("seed", range(8))
def test_an_honest_engine_is_not_accused_on_a_busy_machine(seed):
    assert audited(Noisy(seed), Claim(100, 2.0)) is None


@pytest.mark.parametrize(
    "rule", [Optimizer(), Optimizer("sgd", 1e-12), Optimizer("sgd", 1e3), Optimizer("rmsprop", 0.0)]
)
def test_an_honest_engine_is_not_accused_whatever_its_rule(rule):
    assert audited(SleepingClock(), Claim(100, 1.0), rule) is None


def audited(clock, claim, rule=None):
    from harness.cells import LSTM
    from harness.testing.bench import SMALL

    rule, backend = rule or Optimizer(), NumpyBackend()
    from harness.contract import Execution

    execution = Execution("vectorised", dtype="float32")
    trainer = backend.trainer(SMALL.model(LSTM()), rule, SMALL.parameters(LSTM()), execution)
    batch: Batch = SMALL.make_batch()
    return Auditor(trainer, rule, clock, "numpy", batch, batch).finding(claim, iter([batch] * 50))


@pytest.mark.parametrize(
    ("rule", "norm", "moves"),
    [
        (Optimizer("sgd", 0.1), 1.0, True),
        (Optimizer("sgd", 0.1), 1e-9, False),
        (Optimizer("sgd", 0.0), 1.0, False),
        (Optimizer("sgd", 0.1, clip_norm=1e-9), 1.0, False),
        (Optimizer("adam", 1e-3), 1.0, True),
        (Optimizer("adam", 1e-9), 1.0, False),
        (Optimizer("adam", 1e-3), 1e-9, False),
        (Optimizer("adam", 1e-3), float("nan"), False),
        (Optimizer("adam", 1e-3, "cosine", 1), 1.0, False),
    ],
)
def test_a_step_must_move_the_weights_only_where_it_surely_does(rule, norm, moves):
    weights = {"w": np.full((4, 4), 0.5, np.float32)}
    assert must_move(rule, 1, Step(1.0, norm, clipped=False), weights) is moves


def test_a_plugin_that_replaces_the_clock_does_not_move_the_harness(tmp_path):
    (tmp_path / "doubling.py").write_text(
        "import time\ntrue = time.perf_counter\ntime.perf_counter = lambda: true() / 2\n"
    )
    info = tmp_path / "doubling-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doubling\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness]\ndoubling = doubling\n")
    asked = shlex.split("-b faulty:sleeps -t echo -c rnn -T 3 --hidden 4 --batch 2 --steps 20")
    where = {"PYTHONPATH": f"{tmp_path}:{FAULTY}", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "harness", "run", *asked, "--format", "json"]
    done = subprocess.run(
        [*command, "--store", str(tmp_path / "store.sqlite")],
        capture_output=True, text=True, check=False, env=os.environ | where, cwd=tmp_path,
    )  # fmt: skip
    (row,) = json.loads(done.stdout)
    assert row["status"] == "ok", done.stderr
    assert row["step_seconds_median"] >= FAMILY.SECONDS


SPIN = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not count it"
)
def test_time_that_another_process_takes_on_the_same_processor_is_counted():
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    clock = MonotonicClock()
    watch, begin = Stopwatch(clock), clock.now()
    try:
        with subprocess.Popen([sys.executable, "-c", SPIN]) as rival:  # on the same processor
            while rival.poll() is None:
                pass
    finally:
        os.sched_setaffinity(0, processors)
    assert clock.now() - begin - watch.seconds() > 0.1
