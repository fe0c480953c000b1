"""Keras on either engine, each in its own process: Keras keeps the engine of its first import."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from harness.cells import GRU, LSTM, ResetBeforeGRU
from harness.contract import Inputs, Model, Trial
from harness_keras import KerasJaxBackend, KerasTorchBackend

# Importing would choose an engine.
missing = [name for name in ("keras", "torch", "jax") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")

CHECK = "import sys\nfrom harness.cli.main import main\nsys.exit(main(sys.argv[1:]))"
ONE_ENGINE = """
import json
import numpy as np
from harness.cells import LSTM
from harness.contract import Execution, Inputs, Model, Optimizer, UnsupportedError
from harness_keras import KerasJaxBackend, KerasTorchBackend

model = Model(LSTM(), Inputs("token", 5), 4, 1, 5, "cross_entropy")
weights = {name: np.full(shape, 0.1) for name, shape in model.parameter_shapes().items()}
first, second = (backend() for backend in CLASSES)
trainer = first.trainer(model, Optimizer(), weights, Execution("layers"))
import keras
try:
    second.trainer(model, Optimizer(), weights, Execution("layers"))
except UnsupportedError as error:
    print(json.dumps([keras.backend.backend(), str(error)]))
"""


def python(code, *arguments, **variables):
    environment = {
        name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"
    } | variables
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.timeout(900)  # three hundred time steps, eagerly
@pytest.mark.parametrize(
    ("cell", "grid"),
    [
        ("gru", "none"),
        ("lstm", "none"),
        pytest.param("gru_reset_before", "none", marks=pytest.mark.full),
        pytest.param("rnn", "none", marks=pytest.mark.full),
        pytest.param("rnn_relu", "none", marks=pytest.mark.full),
        pytest.param("lstm", "cover", marks=pytest.mark.full),
        pytest.param("gru", "cover", marks=pytest.mark.full),
    ],
)
def test_keras_on_torch_conforms(cell, grid):
    done = python(CHECK, "check", "--backend", "keras-torch", "--cell", cell, "--grid", grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks ok" in done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "cell",
    [
        "gru_reset_before",
        pytest.param("lstm", marks=pytest.mark.full),
        pytest.param("gru", marks=pytest.mark.full),
    ],
)
def test_keras_on_jax_conforms(cell):
    done = python(CHECK, "check", "--backend", "keras-jax", "--cell", cell, "--grid", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks ok" in done.stdout


@pytest.mark.parametrize(
    "classes", [(KerasTorchBackend, KerasJaxBackend), (KerasJaxBackend, KerasTorchBackend)]
)
def test_one_process_has_one_engine_and_says_so(classes):
    names = ", ".join(backend.__name__ for backend in classes)
    done = python(ONE_ENGINE.replace("CLASSES", f"({names})"))
    engine, message = json.loads(done.stdout)
    first, second = classes
    assert engine == first.engine
    assert message == (
        f"Keras runs on {engine} in this process, and cannot change: "
        f"{second.name} needs a process of its own"
    )


@pytest.mark.parametrize(
    "backend", [KerasTorchBackend(), KerasJaxBackend()], ids=lambda backend: backend.name
)
def test_a_worker_is_told_its_engine(backend):
    variables = backend.environment(2)
    assert variables["KERAS_BACKEND"] == backend.engine
    assert variables.get("NPROC") == (None if backend.engine == "torch" else "2")


@pytest.mark.parametrize(
    "backend", [KerasTorchBackend(), KerasJaxBackend()], ids=lambda backend: backend.name
)
def test_keras_has_no_float64_and_two_grus(backend):
    assert backend.dtypes("cpu") == ("float32",)
    model = Model(LSTM(), Inputs("token", 5), 4, 1, 5, "cross_entropy")
    trial = Trial(
        backend=backend.name, variant="layers", task="copy", cell="lstm", length=3, dtype="float64"
    )
    assert "round float64 to float32" in backend.why_unsupported(model, trial)
    assert backend.variants(GRU()) == backend.variants(ResetBeforeGRU()) == ("layers",)
