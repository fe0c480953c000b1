"""Programs of the proof are kept between processes; the training step that is timed is compiled in each."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("jax", reason="jax is not installed")
pytest.importorskip("optax", reason="optax is not installed")
from harness_jax import JaxBackend
from harness_jax import cache as cache_module

TRAIN_AND_TELL = """
import json, sys
import jax
import numpy as np
from harness.cells import RNN
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness_jax import JaxBackend

found, compiled = [], []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
model = Model(RNN(), Inputs("token", 5), 3, 1, 5, "cross_entropy")
weights = {name: np.zeros(shape) for name, shape in model.parameter_shapes().items()}
trainer = JaxBackend().trainer(model, Optimizer(), weights, Execution("fused"))
batch = trainer.put(Batch(np.ones((4, 2), int), np.ones((4, 2), int), np.ones((4, 2), bool)))
told = {}
for name in sys.argv[1].split(","):
    del found[:]
    call = getattr(trainer, name)
    call(batch)
    told[name] = [event.rpartition("/")[2] for event in found if "compilation_cache/cache" in event]
print(json.dumps(told))
"""


def told(variables, names):
    """Return the events of JAX's cache by method, as a new process has them that calls each method in turn."""
    command = [sys.executable, "-W", "error", "-c", TRAIN_AND_TELL, ",".join(names)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """What the JAX backend sets for a worker of a user whose cache is empty."""
    monkeypatch.delenv(cache_module.FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return JaxBackend().environment(1)


@pytest.mark.slow
def test_the_second_process_reads_the_programs_of_the_proof_and_compiles_the_timed_step(variables):
    methods = ("gradients", "compile", "train_step", "outputs")
    first, second = told(variables, methods), told(variables, methods)
    assert "cache_misses" in first["gradients"]
    assert "cache_misses" in first["outputs"], "the cache is used again after a step was compiled without it"
    assert set(second["gradients"]) == set(second["outputs"]) == {"cache_hits"}
    assert first["compile"] == second["compile"] == [], "neither read nor written"


@pytest.mark.slow
def test_a_step_that_is_not_timed_is_kept(variables):
    told(variables, ("train_step",))
    assert "cache_misses" not in told(variables, ("train_step",))["train_step"]


def test_a_folder_that_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv(cache_module.FOLDER, "mine")
    assert cache_module.FOLDER not in JaxBackend().environment(1)


def test_without_a_folder_of_ones_own_there_is_no_cache(monkeypatch):
    def refuse(name):
        raise cache_module.UnavailableError(name)

    monkeypatch.delenv(cache_module.FOLDER, raising=False)
    monkeypatch.setattr(cache_module, "private_folder", refuse)
    assert cache_module.FOLDER not in JaxBackend().environment(1)


def test_the_size_is_bounded_only_where_jax_can(variables, monkeypatch):
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" in variables
    monkeypatch.setattr(cache_module, "find_spec", lambda name: None)
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in JaxBackend().environment(1)
