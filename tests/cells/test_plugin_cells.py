"""A cell that a plugin states in a few lines is proven on every engine, and runs as a built-in."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from harness_results.results import Results

TWO_VECTORS = """
from harness.contract import Cell, hookimpl

class TwoLeaks(Cell):
    name, gates, states, vectors = "twoleaks", ("g", "n"), ("h", "m"), ("fast", "slow")

    def step(self, ops, zx, state, own):
        z_g, z_n = ops.split(zx + ops.product("hh", state.h), 2)
        m = state.m + ops.sigmoid(own.slow) * (ops.tanh(z_n) - state.m)
        h = state.h + ops.sigmoid(z_g + own.fast * state.h) * (m - state.h)
        return h, m

@hookimpl
def harness_cells():
    return [TwoLeaks()]
"""
FLIPPED = """
from harness.contract import Cell, hookimpl

class Flipped(Cell):
    name, gates = "flipped", ("h",)

    def step(self, ops, zx, state, own):
        return (ops.tanh(zx + ops.product("hh", state.h)),)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        d_z = -d_new_state[0] * (1.0 - new_state[0] * new_state[0])
        return d_z, d_z, (0.0,)

@hookimpl
def harness_cells():
    return [Flipped()]
"""
BY_HAND = """
    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        return -zx, -zx, (0.0, 0.0)

@hookimpl"""
TWO_VECTORS_FLIPPED = TWO_VECTORS.replace("\n@hookimpl", BY_HAND)
LSTM_CLONE = """
from harness.contract import Cell, hookimpl

class LSTMClone(Cell):
    name, gates, states = "lstmclone", ("i", "f", "g", "o"), ("h", "c")

    def step(self, ops, zx, state, own):
        z_i, z_f, z_g, z_o = ops.split(zx + ops.product("hh", state.h), 4)
        c = ops.sigmoid(z_f) * state.c + ops.sigmoid(z_i) * ops.tanh(z_g)
        return ops.sigmoid(z_o) * ops.tanh(c), c

@hookimpl
def harness_cells():
    return [LSTMClone()]
"""
SECONDS = 1800  # torch.compile and XLA, on a machine with other work
ENGINES = [
    pytest.param("numpy", marks=pytest.mark.slow),
    pytest.param("torch", marks=pytest.mark.full),
    pytest.param("jax", marks=pytest.mark.full),
]


def command(tmp_path, *arguments):
    """Run the command line in a process as users do, with the plugins in ``tmp_path``."""
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
        cwd=tmp_path,
    )


def needs(engine):
    if find_spec(engine) is None:
        pytest.skip(f"needs {engine}")


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_cell_of_a_few_lines_with_two_vectors_is_proven(engine, install, tmp_path):
    needs(engine)
    install("fake_two", TWO_VECTORS)
    done = command(tmp_path, "check", "--backend", engine, "--cell", "twoleaks", "--grid", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks ok" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "cell", "status", "why"),
    [
        (FLIPPED, "flipped", "parity_failed", "step_gradient is not the gradient of step"),
        (TWO_VECTORS_FLIPPED, "twoleaks", "failed", "step_gradient cannot be compared"),
    ],
    ids=["plain", "vectors"],
)
def test_a_gradient_by_hand_with_its_sign_flipped_is_refused_and_the_cell_named(
    source, cell, status, why, install, tmp_path
):
    install("fake_flipped", source)
    run = ("run", "-b", "numpy:loop", "-t", "copy", "-c", cell, "-T", "5", "--steps", "2")
    done = command(tmp_path, *run, "--store", str(tmp_path / "store"))
    assert done.returncode != 0
    (record,) = Results.from_store(tmp_path / "store")
    assert record.status == status, record.reason
    assert cell in record.reason
    assert why in record.reason


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_lstm_under_another_name_learns_the_same_to_the_last_bit(engine, install, tmp_path):
    needs(engine)
    install("fake_clone", LSTM_CLONE)
    run = ("run", "-b", f"{engine}:all", "-t", "char", "-c", "lstm,lstmclone", "-T", "8")
    small = ("--hidden", "8", "--batch", "4", "--steps", "6", "--store", str(tmp_path / "store"))
    done = command(tmp_path, *run, *small)
    losses = {}
    for record in Results.from_store(tmp_path / "store"):
        assert record.status in {"ok", "unsupported"}, record.reason
        if record.status == "ok":
            curve = record.curves["loss"]
            losses.setdefault(record.trial.variant, {})[record.trial.cell] = curve
    both = {variant: pair for variant, pair in losses.items() if len(pair) == 2}
    assert set(losses) - set(both) <= {"library"}, done.stdout
    for variant, pair in both.items():
        assert pair["lstm"] == pair["lstmclone"], variant
