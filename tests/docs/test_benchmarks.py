"""The benchmarks do what they say; what they measure is not tested here."""

import os
import runpy
import subprocess
import sys

import pytest

import paths
from harness.contract import Trial
from harness.measure.setup import prepare
from harness.plugins import load_plugins
from harness_numpy import trainer as numpy_trainer
from harness_results.store.store import Store

BENCHMARKS = paths.BENCHMARKS
SCRIPT = BENCHMARKS / "verdicts.sh"
FAKE = """#!/bin/sh
case "$*" in
  run*) exit 0 ;;
  *"slowed:a slowed:b") exit {equal} ;;
  *"slowed:a slowed:slowed") exit {slowed} ;;
esac
exit 99
"""


@pytest.mark.parametrize(
    ("equal", "slowed", "passes"), [(0, 4, True), (4, 4, False), (0, 0, False), (0, 5, False)]
)
def test_equal_code_that_is_called_slower_and_slow_code_that_is_not_fail(
    tmp_path, equal, slowed, passes
):
    program = tmp_path / "harness"
    program.write_text(FAKE.format(equal=equal, slowed=slowed))
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "STORE": str(tmp_path / "s.sqlite"),
    }
    done = subprocess.run(["sh", SCRIPT], env=environment, capture_output=True, check=False)
    assert (done.returncode == 0) == passes


@pytest.mark.parametrize(
    "engine", ["numpy:vectorised", "torch:library", "torch:fused", "jax:fused"]
)
def test_the_gradient_norm_can_be_taken_out_of_each_engine(engine):
    benchmark = runpy.run_path(str(BENCHMARKS / "instrumentation.py"))
    backend, variant = engine.split(":")
    trial = Trial(
        backend=backend,
        variant=variant,
        task="adding",
        cell="lstm",
        length=4,
        hidden=5,
        batch=2,
        steps=2,
    )
    plugins = load_plugins()
    setup = prepare(trial, plugins, plugins.backend(backend), engine)
    batch, norms = next(setup.training()), []
    for stand_in in (None, benchmark["NORMS"][backend][2]):
        trainer = setup.trainer()
        with benchmark["replaced"](*benchmark["NORMS"][backend][:2], stand_in):
            norms.append(float(trainer.train_step(trainer.put(batch)).gradient_norm))
    assert norms[1] == 1.0 != norms[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("overhead.py nosuch", "error: unknown backend 'nosuch'"),
        (
            "instrumentation.py flax:linen",
            "error: unknown backend whose norm can be left out: 'flax'",
        ),
        ("startup.py --launches 0", "--launches: at least 1 is needed"),
        ("memory_limits.py numpy:nosuch", "error: unknown variant of backend 'numpy': 'nosuch'"),
        (
            "profile_step.py numpy:all lstm 8 1 1 5",
            "error: numpy:all is more than one engine: name a variant",
        ),
        ("profile_step.py numpy:loop lstm x 1 1 5", "error: hidden = 'x'"),
        ("profile_step.py flax lstm 8 1 1 5", "error: unknown backend with a profiler: 'flax'"),
        ("drift.py --runs 0", "--runs: at least 1 is needed"),
        ("drift.py --launches 1", "--launches: at least 2 is needed"),
        ("drift.py --affinity x", "'x'"),
        ("large_store.py time nosuch.sqlite", "there is no store nosuch.sqlite"),
        (
            "large_store.py make nosuch/x.sqlite --trials 100",
            "error: store nosuch/x.sqlite: there is no directory",
        ),
        ("large_store.py make x.sqlite --points 0", "--points: at least 1 is needed"),
        ("large_store.py make x.sqlite --trials 0", "--trials: at least 100 are needed"),
    ],
)
def test_bad_arguments_of_a_benchmark_are_told_in_a_line(tmp_path, arguments, told):
    script, *rest = arguments.split()
    command = [sys.executable, str(BENCHMARKS / script), *rest]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_store_without_records_is_told_in_a_line(tmp_path):
    with Store.open(tmp_path / "empty.sqlite"):
        pass
    command = [sys.executable, str(BENCHMARKS / "large_store.py"), "time", "empty.sqlite"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: empty.sqlite holds no record: name a store that `make` has made\n",
    )


def test_a_variant_of_numpy_without_workspaces_can_be_profiled(monkeypatch):
    for name in (
        "backpropagate",
        "global_norm",
        "clip",
    ):  # which the script replaces, in a process of its own
        monkeypatch.setattr(numpy_trainer, name, getattr(numpy_trainer, name))
    benchmark = runpy.run_path(str(BENCHMARKS / "profile_step.py"))
    trial = Trial(
        backend="numpy",
        variant="loop",
        task="adding",
        cell="lstm",
        length=4,
        hidden=5,
        batch=2,
        steps=2,
    )
    plugins = load_plugins()
    setup = prepare(trial, plugins, plugins.backend("numpy"), "numpy:loop")
    trainer = setup.trainer()
    shares = benchmark["numpy_shares"](trainer, benchmark["stepping"](setup, trainer))
    assert {"network.forward", "network.backward", "update.apply"} <= set(shares)


@pytest.mark.full
def test_hostile_inputs_end_in_no_traceback():
    counts = ["--plans", "8", "--commands", "8", "--bytes", "3", "--stores", "1"]
    command = [sys.executable, str(BENCHMARKS / "hostile_inputs.py"), *counts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" cases, ") == 4
