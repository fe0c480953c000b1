"""The JAX backend, gradients apart: one compilation, bounded threads, no float64 leak."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from harness.cells import LSTM, RNN
from harness.contract import (
    Available,
    Batch,
    Execution,
    Inputs,
    Missing,
    Model,
    Optimizer,
    PluginError,
    UnavailableError,
    UnknownNameError,
    UsageError,
)

jax = pytest.importorskip("jax", reason="jax is not installed")
pytest.importorskip("optax", reason="optax is not installed")
from harness_jax import JaxBackend, harness_backends  # noqa: E402
from harness_jax import backend as backend_module  # noqa: E402
from harness_jax import batch as batch_module  # noqa: E402
from harness_jax.batch_sharding import BatchSharding  # noqa: E402

T, B, D, H, K = 4, 2, 5, 3, 3

TRAIN_AND_TELL = """
import json, sys
import numpy as np
from harness.cells import RNN
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness_jax import JaxBackend

backend = JaxBackend()
backend.availability(), backend.versions()
imported = "jax" in sys.modules
before = backend.threads()
model = Model(RNN(), Inputs("real", 300), 300, 1, 2, "squared_error")
weights = {name: np.zeros(shape) for name, shape in model.parameter_shapes().items()}
trainer = backend.trainer(model, Optimizer(), weights, Execution("fused"))
batch = trainer.put(Batch(np.ones((20, 50, 300)), np.ones((20, 50, 2)), np.ones((20, 50), bool)))
float(trainer.train_step(batch).loss)
print(json.dumps({"imported": imported, "before": before, "threads": backend.threads()}))
"""


def model_of(cell=None, kind="token"):
    return Model(cell or RNN(), Inputs(kind, D), H, 1, K, "cross_entropy")


def batch_of(steps=T, carry=False):
    rng = np.random.default_rng(1)
    inputs, targets = rng.integers(0, D, (steps, B)), rng.integers(0, K, (steps, B))
    return Batch(
        inputs.astype(np.int32), targets.astype(np.int32), np.ones((steps, B), bool), carry
    )


def weights_of(model):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()}


def trainer_of(model=None, variant="fused", weights=None, optimizer=None, **execution):
    model = model or model_of()
    return JaxBackend().trainer(
        model,
        optimizer or Optimizer(),
        weights or weights_of(model),
        Execution(variant, **execution),
    )


@pytest.fixture
def compilations(caplog):
    """The messages of XLA compilations so far."""
    caplog.set_level(logging.WARNING)
    with jax.log_compiles():
        yield lambda: [
            message for message in caplog.messages if "Finished XLA compilation" in message
        ]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_environment_bounds_the_threads_and_keeps_stderr_clean(threads):
    environment = os.environ | JaxBackend().environment(threads)
    worker = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_TELL],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(worker.stdout)
    assert told["imported"] is False  # the plugin does without jax until a trainer is wanted
    assert told["before"] is None
    assert told["threads"] in (
        {threads, None} if not sys.platform.startswith("linux") else {threads}
    )
    assert worker.stderr == ""


def test_the_backend_is_available_with_its_versions():
    (backend,) = harness_backends()
    assert backend.availability() == Available()
    assert backend.versions()["jax"] == jax.__version__
    assert "cpu" in backend.devices()
    assert backend.variants(RNN())[:3] == ("scan", "fused", "deer")


@pytest.mark.parametrize("library", ["jax", "jaxlib", "optax"])
def test_without_a_library_the_backend_is_missing_with_the_fix(monkeypatch, library):
    found = backend_module.find_spec
    monkeypatch.setattr(
        backend_module, "find_spec", lambda name: None if name == library else found(name)
    )
    missing = JaxBackend().availability()
    assert isinstance(missing, Missing)
    assert missing.reason == f"{library} is not installed"
    assert 'pip install "rnn-harness[jax]"' in missing.fix


def test_a_library_that_cannot_be_imported_is_an_error_with_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(
        UnavailableError, match=r"jax cannot be imported: .*optax(.|\n)*pip install"
    ):
        trainer_of()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_compile_compiled_is_what_every_step_of_that_shape_runs(compilations, dtype):
    optimizer = Optimizer(schedule="cosine", schedule_steps=5, clip_norm=0.1)
    trainer = trainer_of(optimizer=optimizer, dtype=dtype)
    fresh, carried = trainer.put(batch_of()), trainer.put(batch_of(carry=True))
    before = len(compilations())
    assert trainer.compile(fresh)
    assert len(compilations()) == before + 1
    for batch in (fresh, carried, carried, fresh):
        float(trainer.train_step(batch).loss)
    trainer.load(weights_of(model_of()))
    after_loading = len(compilations())
    trainer.train_step(carried)
    assert not [message for message in compilations()[before + 1 :] if "step" in message]
    assert len(compilations()) == after_loading
    trainer.train_step(trainer.put(batch_of(T + 1)))
    assert [message for message in compilations()[after_loading:] if "step" in message]


def test_float32_and_float64_trainers_share_a_process():
    single, double = (trainer_of(dtype=dtype) for dtype in ("float32", "float64"))
    for trainer in (double, single, double, single):
        result = trainer.train_step(trainer.put(batch_of()))
        assert str(result.loss.array.dtype) == trainer._dtype
        assert {str(array.dtype) for array in trainer.parameters().values()} == {trainer._dtype}
        assert str(trainer.outputs(trainer.put(batch_of())).dtype) == trainer._dtype
    assert jax.numpy.ones(1).dtype == np.float32


def test_a_step_gives_lazy_scalars():
    trainer = trainer_of()
    result = trainer.train_step(trainer.put(batch_of()))
    for scalar in (result.loss, result.gradient_norm, result.clipped):
        assert isinstance(scalar.array, jax.Array)
        assert scalar.array.shape == ()
    trainer.synchronize()
    assert all(array.is_ready() for array in jax.tree.leaves(trainer._progress))


def test_on_the_cpu_the_process_s_peak_memory_serves():
    assert trainer_of(device="cpu").peak_memory() is None


def test_an_absent_device_is_an_error_that_names_those_there():
    with pytest.raises(UsageError, match=r"no device 'cuda:99' here; it has: .*cpu"):
        trainer_of(device="cuda:99")


def test_an_unknown_variant_is_an_error():
    with pytest.raises(UnknownNameError, match="scan"):
        trainer_of(variant="loop")


def test_parameters_of_another_model_are_refused():
    weights = weights_of(model_of())
    with pytest.raises(UsageError, match="bias_out"):
        trainer_of(weights=weights | {"bias_out": np.zeros(1)})
    del weights["weight_hh_l0"]
    with pytest.raises(UsageError, match="weight_hh_l0"):
        trainer_of(weights=weights)


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(UsageError, match="state of lstm"):
        trainer_of(model_of(LSTM())).load_state((np.zeros((1, B, H)),))


def test_a_token_out_of_range_is_refused():
    """XLA would clamp it and train on something else."""
    batch = batch_of()
    batch.inputs[0, 0] = D
    with pytest.raises(PluginError, match=r"token ids must lie in 0\.\.4"):
        trainer_of().put(batch)


def test_exhausted_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        jax.numpy.ones((2**25, 2**25)).block_until_ready()
    backend = JaxBackend()
    assert backend.is_out_of_memory(caught.value)
    assert backend.is_out_of_memory(MemoryError())
    assert not backend.is_out_of_memory(RuntimeError("INVALID_ARGUMENT"))


@pytest.mark.gpu
@pytest.mark.parametrize("variant", ["fused", "scan"])
def test_a_gpu_computes_the_same(variant):
    if jax.default_backend() != "gpu":
        pytest.skip("no NVIDIA GPU here")
    model = model_of(LSTM())
    found, expected = (
        trainer_of(model, variant, dtype="float64", device=name) for name in ("cuda", "cpu")
    )
    one, other = (trainer.gradients(trainer.put(batch_of())) for trainer in (found, expected))
    for name, array in other.parameters.items():
        # Another order of summation.
        np.testing.assert_allclose(one.parameters[name], array, rtol=0, atol=1e-10)
    np.testing.assert_allclose(one.hidden, other.hidden, rtol=0, atol=1e-10)
    assert found.peak_memory() > 0


def test_a_batch_is_on_the_device_when_put_returns(monkeypatch):
    class Copying:
        arrived = False

        def block_until_ready(self):
            self.arrived = True

    monkeypatch.setattr(batch_module, "put", lambda *_: Copying())
    batch = batch_module.device_batch(batch_of(), model_of(), BatchSharding("cpu", 1), np.float32)
    assert [array.arrived for array in batch.arrays] == [True, True, True]
