"""The PyTorch backend besides equal gradients: honest answers, torch.nn's own module, errors."""

import subprocess
import sys

import numpy as np
import pytest

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import (
    Available,
    Batch,
    Cell,
    Execution,
    Inputs,
    Missing,
    Model,
    Optimizer,
    PluginError,
    Trial,
    UnavailableError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)

torch = pytest.importorskip("torch", reason="torch is not installed")
from harness_torch import TorchBackend, harness_backends  # noqa: E402
from harness_torch import backend as backend_module  # noqa: E402
from harness_torch import variants as variants_module  # noqa: E402

T, B, D, H, K = 5, 2, 4, 3, 3
SAME_OPERATIONS = 1e-14  # float64: torch.nn's module against itself
ON_ANOTHER_DEVICE = 1e-10  # float64: another order of summation
MODULES = {
    "rnn": lambda: torch.nn.RNN(D, H, 2),
    "rnn_relu": lambda: torch.nn.RNN(D, H, 2, nonlinearity="relu"),
    "lstm": lambda: torch.nn.LSTM(D, H, 2),
    "gru": lambda: torch.nn.GRU(D, H, 2),
}


class Echo(Cell):
    name, gates = "echo", ("h",)

    def step(self, ops, zx, zh, state):
        return (zx + zh,)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        return d_new_state[0], d_new_state[0], (0.0,)


class OtherLSTM(LSTM):
    """A cell of the same name, with other equations than nn.LSTM."""


def model_of(cell=None, dropout=0.0, kind="real"):
    return Model(cell or LSTM(), Inputs(kind, D), H, 2, K, "cross_entropy", dropout)


def batch_of(kind="real"):
    rng = np.random.default_rng(1)
    if kind == "real":
        inputs = rng.normal(size=(T, B, D))
    else:
        inputs = rng.integers(0, D, (T, B)).astype(np.int32)
    return Batch(inputs, rng.integers(0, K, (T, B)).astype(np.int32), np.ones((T, B), bool))


def weights_of(model):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()}


def trainer_of(model=None, variant="fused", weights=None, **execution):
    model = model or model_of()
    return TorchBackend().trainer(
        model,
        Optimizer(),
        weights or weights_of(model),
        Execution(variant, **{"dtype": "float64"} | execution),
    )


def test_the_plugin_does_not_import_torch():
    code = (
        "import sys, harness_torch as plugin; backend = plugin.harness_backends()[0]; "
        "backend.availability(); backend.versions(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_backend_is_available_with_its_version():
    (backend,) = harness_backends()
    assert backend.availability() == Available()
    assert backend.versions()["torch"] == torch.__version__
    assert backend.devices()[-1] == "cpu"
    assert backend.threads() == torch.get_num_threads()


def test_without_torch_the_backend_is_missing_with_the_fix(monkeypatch):
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None)
    missing = TorchBackend().availability()
    assert isinstance(missing, Missing)
    assert 'pip install "rnn-harness[torch]"' in missing.fix


def test_a_torch_that_cannot_be_imported_is_an_error_with_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnavailableError, match=r"torch cannot be imported(.|\n)*pip install"):
        trainer_of()


@pytest.mark.parametrize("cell", [RNN(), ReluRNN(), LSTM(), GRU()], ids=lambda cell: cell.name)
def test_library_comes_first_where_torch_has_the_cell(cell, monkeypatch):
    monkeypatch.setattr(variants_module, "why_no_compiler", lambda: None)
    assert TorchBackend().variants(cell)[:4] == ("library", "loop", "fused", "compiled")


@pytest.mark.parametrize("cell", [Echo(), OtherLSTM()], ids=lambda cell: type(cell).__name__)
def test_library_is_unsupported_for_other_cells(cell):
    trial = Trial(backend="torch", variant="library", task="copy", cell=cell.name, length=5)
    backend, model = TorchBackend(), model_of(cell)
    assert backend.variants(cell)[:2] == ("loop", "fused")
    assert "choose torch:fused" in backend.why_unsupported(model, trial)
    assert backend.why_unsupported(model, trial.model_copy(update={"variant": "loop"})) is None
    with pytest.raises(UnsupportedError, match=r"torch\.nn has no"):
        trainer_of(model, "library")


@pytest.mark.parametrize("kind", ["real", "token"])
@pytest.mark.parametrize("cell", [RNN(), ReluRNN(), LSTM(), GRU()], ids=lambda cell: cell.name)
@pytest.mark.parametrize("variant", ["library", "fused", "loop"])
def test_the_parameters_are_those_of_torch_nn(cell, variant, kind):
    model, batch = model_of(cell, kind=kind), batch_of(kind)
    weights = {name: torch.tensor(value) for name, value in weights_of(model).items()}
    readout = weights.pop("weight_out"), weights.pop("bias_out")
    module = MODULES[cell.name]().double()
    module.load_state_dict(weights)
    inputs = batch.inputs if kind == "real" else np.eye(D)[batch.inputs]
    expected = (
        torch.nn.functional.linear(module(torch.tensor(inputs))[0], *readout).detach().numpy()
    )
    trainer = trainer_of(model, variant)
    np.testing.assert_allclose(
        trainer.outputs(trainer.put(batch)), expected, rtol=0, atol=SAME_OPERATIONS
    )


def test_library_gives_its_own_module_s_gradients(monkeypatch):
    """Were they the loop's, parity would prove nothing about the module."""
    trainer = trainer_of(variant="library")
    batch = trainer.put(batch_of())
    honest = trainer.gradients(batch)
    module = trainer._network.stack._module
    monkeypatch.setattr(
        module,
        "forward",
        lambda *arguments: type(module).forward(module, arguments[0] * 2, arguments[1]),
    )
    tampered = trainer.gradients(batch)
    assert tampered.loss != honest.loss
    assert not np.allclose(tampered.parameters["weight_ih_l0"], honest.parameters["weight_ih_l0"])
    np.testing.assert_array_equal(tampered.hidden, honest.hidden)


@pytest.mark.parametrize("variant", ["library", "fused", "loop"])
def test_a_step_gives_lazy_scalars_without_a_graph(variant):
    trainer = trainer_of(variant=variant)
    result = trainer.train_step(trainer.put(batch_of()))
    for scalar in (result.loss, result.gradient_norm, result.clipped):
        assert isinstance(scalar, torch.Tensor)
        assert scalar.shape == ()
        assert not scalar.requires_grad
    assert not trainer.compile(trainer.put(batch_of()))


@pytest.mark.parametrize("variant", ["library", "fused"])
def test_the_process_s_random_state_is_left_alone(variant):
    before = torch.get_rng_state()
    trainer = trainer_of(model_of(dropout=0.5), variant)
    trainer.train_step(trainer.put(batch_of()))
    assert torch.equal(torch.get_rng_state(), before)


def test_products_are_exact_to_the_dtype():
    torch.set_float32_matmul_precision("medium")
    trainer_of()
    assert torch.get_float32_matmul_precision() == "highest"


def test_on_the_cpu_the_process_s_peak_memory_serves():
    assert trainer_of().peak_memory() is None


def test_an_absent_device_is_an_error_that_names_those_there():
    with pytest.raises(UsageError, match=r"no device 'cuda:99' here; it has: .*cpu"):
        trainer_of(device="cuda:99")


def test_an_unknown_variant_is_an_error():
    with pytest.raises(UnknownNameError, match="fused"):
        trainer_of(variant="fusd")


def test_parameters_of_another_model_are_refused():
    weights = weights_of(model_of())
    with pytest.raises(UsageError, match="bias_out"):
        trainer_of(weights=weights | {"bias_out": np.zeros(1)})
    del weights["weight_hh_l1"]
    with pytest.raises(UsageError, match="weight_hh_l1"):
        trainer_of(weights=weights)


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(UsageError, match="state of lstm"):
        trainer_of().load_state((np.zeros((2, B, H)),))


def test_a_token_out_of_range_is_refused():
    batch = batch_of("token")
    batch.inputs[0, 0] = D
    with pytest.raises(PluginError, match=r"token ids must lie in 0\.\.3"):
        trainer_of(model_of(kind="token")).put(batch)


def test_exhausted_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    backend = TorchBackend()
    assert backend.is_out_of_memory(caught.value)
    assert backend.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert backend.is_out_of_memory(MemoryError())
    assert not backend.is_out_of_memory(RuntimeError("shapes do not fit in memory order"))


@pytest.mark.gpu
@pytest.mark.parametrize("variant", ["library", "fused", "loop"])
def test_a_gpu_computes_the_same(variant):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    model = model_of(kind="token")
    found, expected = (trainer_of(model, variant, device=device) for device in ("cuda", "cpu"))
    one, other = (
        trainer.gradients(trainer.put(batch_of("token"))) for trainer in (found, expected)
    )
    for name, array in other.parameters.items():
        np.testing.assert_allclose(one.parameters[name], array, rtol=0, atol=ON_ANOTHER_DEVICE)
    np.testing.assert_allclose(one.hidden, other.hidden, rtol=0, atol=ON_ANOTHER_DEVICE)
    found.train_step(found.put(batch_of("token")))
    found.synchronize()
    assert found.peak_memory() > 0
