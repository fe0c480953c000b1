"""The torch backend's variants: checkpoints, other dtypes, cells linear in their state."""

import os
from importlib import import_module

import numpy as np
import pytest

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.cells.minimal import MinGRU, MinLSTM
from harness.contract import (
    Batch,
    Cell,
    Execution,
    Inputs,
    Model,
    Optimizer,
    Trial,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from harness.measure.proof.parity import measure_parity

torch = pytest.importorskip("torch", reason="torch is not installed")
from harness_torch import TorchBackend  # noqa: E402
from harness_torch import graph as graph_module  # noqa: E402
from harness_torch import trainer as trainer_module  # noqa: E402
from harness_torch.recurrence import toolchain as toolchain_module  # noqa: E402
from harness_torch.variants import fastest  # noqa: E402

BACKEND = TorchBackend()
EXACT = 1e-12  # float64: a few hundred roundings of numbers near 1, in another order
CELLS = [RNN(), ReluRNN(), LSTM(), GRU(), MinGRU(), MinLSTM()]
EAGER = [
    (cell, variant) for cell in CELLS for variant in BACKEND.variants(cell) if variant != "compiled"
]
needs_compiler = pytest.mark.skipif(
    "compiled" in BACKEND.missing_variants(), reason="torch.compile needs a compiler"
)

each_variant = pytest.mark.parametrize(
    ("cell", "variant"), EAGER, ids=[f"{c.name}-{v}" for c, v in EAGER]
)


def model_of(cell, *, layers=2, kind="token", hidden=4, dropout=0.0):
    loss = "cross_entropy" if kind == "token" else "squared_error"
    return Model(cell, Inputs(kind, 5), hidden, layers, 3, loss, dropout)


def weights_of(model):
    rng, scale = np.random.default_rng(0), model.hidden**-0.5
    return {
        name: rng.uniform(-scale, scale, shape) for name, shape in model.parameter_shapes().items()
    }


def batch_of(model, steps, size=3, *, carry=False):
    rng = np.random.default_rng(1)
    mask = rng.random((steps, size)) < 0.6
    mask[-1] = True
    if model.inputs.kind == "token":
        inputs, targets = (rng.integers(0, n, (steps, size)).astype(np.int32) for n in (5, 3))
    else:
        inputs, targets = (rng.normal(size=(steps, size, n)) for n in (5, 3))
    return Batch(inputs, targets, mask, carry)


def trainer_of(model, variant, optimizer=None, **execution):
    execution = Execution(variant, **{"dtype": "float64"} | execution)
    return BACKEND.trainer(
        model, optimizer or Optimizer("sgd", learning_rate=0.1), weights_of(model), execution
    )


def everything(trainer, batch, state=None):
    """Return all that a trainer computes of a batch, by name."""
    on_device = trainer.put(batch)
    trainer.load_state(state)
    gradients = trainer.gradients(on_device)
    found = {f"gradient of {name}": array for name, array in gradients.parameters.items()}
    found |= {
        "hidden": gradients.hidden,
        "loss": gradients.loss,
        "outputs": trainer.outputs(on_device),
    }
    found |= {"state after outputs": np.stack(trainer.state())}
    trainer.load_state(state)
    step = trainer.train_step(on_device)
    found |= {"norm": float(step.gradient_norm), "training loss": float(step.loss)}
    return found | trainer.parameters() | {"state": np.stack(trainer.state())}


def assert_same(found, expected, tolerance=EXACT):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@each_variant
@pytest.mark.parametrize(
    ("steps", "size", "hidden", "layers", "kind", "checkpoint"),
    [
        (1, 1, 1, 1, "token", "off"),
        (7, 5, 3, 3, "real", "off"),
        (64, 5, 128, 1, "token", "off"),
        (7, 5, 3, 3, "real", 3),
        (64, 1, 4, 1, "token", "auto"),
        (300, 2, 3, 2, "token", 128),
        (7, 5, 3, 1, "real", 1),
        (7, 5, 3, 1, "real", 50),
    ],
)
def test_every_variant_and_chunk_computes_what_the_whole_loop_does(
    cell, variant, steps, size, hidden, layers, kind, checkpoint
):
    model = model_of(cell, layers=layers, kind=kind, hidden=hidden)
    batch = batch_of(model, steps, size, carry=True)
    state = tuple(np.random.default_rng(2).normal(size=(len(cell.states), layers, size, hidden)))
    found = everything(trainer_of(model, variant, checkpoint=checkpoint), batch, state)
    assert_same(found, everything(trainer_of(model, "loop"), batch, state))


@each_variant
def test_float32_is_near_float64(cell, variant):
    model = model_of(cell, hidden=32)
    batch = batch_of(model, 64)
    found = everything(trainer_of(model, variant, dtype="float32"), batch)
    assert_same(found, everything(trainer_of(model, variant), batch), 1e-4)


def test_a_shorter_and_a_longer_batch_find_buffers_of_their_own():
    model = model_of(LSTM())
    trainer, fresh = trainer_of(model, "fused"), trainer_of(model, "fused")
    for steps, size in ((5, 3), (9, 3), (9, 2), (5, 3)):
        batch = trainer.put(batch_of(model, steps, size))
        found, expected = trainer.gradients(batch), trainer_of(model, "loop").gradients(batch)
        np.testing.assert_allclose(found.hidden, expected.hidden, rtol=0, atol=EXACT)
    assert fresh.gradients(batch).loss == found.loss


@pytest.mark.parametrize("variant", ["library", "fused", "loop"])
def test_a_chunk_draws_the_same_dropout_masks_when_it_is_run_again(variant, monkeypatch):
    trainer = trainer_of(model_of(RNN(), dropout=0.5), variant, checkpoint=4)
    seen = []
    run = trainer._network.stack.__class__.__call__

    def watched(stack, inputs, state, dropout=0.0, probes=None):
        seen.append(torch.get_rng_state())
        return run(stack, inputs, state, dropout, probes)

    monkeypatch.setattr(trainer._network.stack.__class__, "__call__", watched)
    trainer.train_step(trainer.put(batch_of(trainer._model, 12)))
    first, second, third, second_again, first_again = seen
    assert torch.equal(first, first_again)
    assert torch.equal(second, second_again)
    assert len({bytes(state.numpy()) for state in (first, second, third)}) == 3
    before = len(seen)
    trainer.train_step(trainer.put(batch_of(trainer._model, 12)))
    for old in (first, second, third):
        assert not torch.equal(seen[before], old), (
            "the second training step must draw masks of its own"
        )


@pytest.mark.parametrize("variant", ["library", "fused", "loop"])
def test_checkpoints_run_no_more_than_a_chunk_at_once(variant, monkeypatch):
    trainer = trainer_of(model_of(GRU()), variant, checkpoint=10)
    lengths = []
    run = trainer._network.stack.__class__.__call__

    def watched(stack, inputs, *arguments):
        lengths.append(len(inputs))
        return run(stack, inputs, *arguments)

    monkeypatch.setattr(trainer._network.stack.__class__, "__call__", watched)
    batch = trainer.put(batch_of(trainer._model, 100))
    trainer.train_step(batch)
    trainer.outputs(batch)
    # Nine forwards alone, ten with their reverse; ten for the outputs.
    assert lengths == [10] * (19 + 10)


@pytest.mark.parametrize("kind", ["token", "real"])
def test_a_graph_computes_each_batch_that_is_copied_into_it(kind):
    """On a CPU, what is captured is simply run again."""
    model = model_of(LSTM(), kind=kind)
    trainer, expected = trainer_of(model, "fused"), trainer_of(model, "fused")
    first = trainer.put(batch_of(model, 6))
    graph = graph_module.GraphedGradients(
        trainer._network, first, trainer._start(first), capture=run_again
    )
    state = tuple(torch.full((2, 3, 4), 0.5, dtype=torch.float64) for _ in "hc")
    other = batch_of(model, 6, carry=True)
    other.inputs[:] = other.inputs[::-1].copy()
    other.mask[0] = ~other.mask[0]
    other = trainer.put(other)
    assert graph.fits(other)
    assert not graph.fits(trainer.put(batch_of(model, 7)))
    loss, final = graph.run(other, state)
    expected.load_state(tuple(part.numpy() for part in state))
    gradients = expected.gradients(other)
    assert float(loss) == pytest.approx(gradients.loss, abs=EXACT)
    for name, weight in trainer._weights.items():
        np.testing.assert_allclose(weight.grad, gradients.parameters[name], rtol=0, atol=EXACT)
    expected.outputs(other)
    np.testing.assert_allclose(final, expected.state(), rtol=0, atol=EXACT)


def run_again(work):
    work()
    return work


def test_where_no_graph_can_be_captured_training_goes_on_and_says_so(monkeypatch):
    model = model_of(LSTM())
    trainer, expected = trainer_of(model, "fused"), trainer_of(model, "fused")
    trainer._wants_graph = True  # as on a GPU; capturing fails on a CPU

    def refuse(*arguments):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(trainer_module, "GraphedGradients", refuse)
    batch = trainer.put(batch_of(model, 6))
    with pytest.warns(RuntimeWarning, match="no CUDA graph.*not permitted"):
        found = trainer.train_step(batch)
    assert float(found.loss) == float(expected.train_step(batch).loss)
    trainer.train_step(batch)  # says it once


@pytest.mark.gpu
def test_a_cuda_graph_trains_as_without_it():
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    model = model_of(LSTM())
    graphed = trainer_of(model, "fused", device="cuda")
    plain = trainer_of(model, "fused", device="cuda")
    plain._wants_graph = False
    for _ in range(3):
        losses = [
            float(one.train_step(one.put(batch_of(model, 6, carry=True))).loss)
            for one in (graphed, plain)
        ]
        # Atomic additions come in any order.
        assert losses[0] == pytest.approx(losses[1], abs=1e-10)
    assert graphed._captured is not None


def test_only_linear_cells_have_the_parallel_variant():
    for cell in CELLS:
        assert ("parallel" in BACKEND.variants(cell)) == isinstance(cell, MinGRU | MinLSTM)
    trial = Trial(backend="torch", variant="parallel", task="copy", cell="gru", length=5)
    assert "not linear in its state" in BACKEND.why_unsupported(model_of(GRU()), trial)


class Forgetful(Cell):
    """A decay of exactly 0 or 1: a scan that divides by it, or takes its logarithm, fails."""

    name, gates, products = "forgetful", ("a", "b"), ()

    def step(self, ops, zx, state, own):
        zx_a, zx_b = ops.split(zx, 2)
        return (ops.positive(zx_a) * state.h + zx_b,)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 13, 64])
def test_the_scan_bears_decays_of_zero_and_one_at_any_length(steps):
    model = model_of(Forgetful())
    batch = batch_of(model, steps)
    expected = everything(trainer_of(model, "loop"), batch)
    for variant in ("parallel", "fused"):
        assert_same(everything(trainer_of(model, variant), batch), expected)


@pytest.mark.parametrize(("cell", "variant"), [pair for pair in EAGER if pair[1] != "native"])
def test_bfloat16_agrees_within_its_rounding(cell, variant):
    model, execution = model_of(cell, hidden=32), Execution(variant, dtype="bfloat16")
    parity = measure_parity(
        BACKEND, _Loop(), model, weights_of(model), batch_of(model, 50), execution
    )
    assert parity.passed, str(parity)
    # Ten times rounding is more than that at this length.
    assert max(parity.tolerances.values()) <= 0.25
    trainer = BACKEND.trainer(model, Optimizer(learning_rate=1e-2), weights_of(model), execution)
    batch = trainer.put(batch_of(model, 50))
    losses = [float(trainer.train_step(batch).loss) for _ in range(10)]
    assert losses[-1] < losses[0]
    assert trainer.placement().dtype == "bfloat16"
    assert trainer._state[0].dtype == torch.bfloat16
    assert {weight.dtype for weight in trainer._weights.values()} == {torch.float32}


class _Loop(TorchBackend):
    """A reference of every cell."""

    def variants(self, cell):
        return ("loop",)


def test_tf32_belongs_to_gpus():
    assert BACKEND.dtypes("cpu") == ("float32", "float64", "bfloat16")
    assert BACKEND.dtypes("cuda:1") == ("float32", "float64", "bfloat16", "tf32")
    with pytest.raises(UsageError, match="no dtype 'tf32' on cpu"):
        trainer_of(model_of(RNN()), "fused", dtype="tf32")


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_equals_the_loop_and_compiles_once_for_all_lengths():
    steps = import_module("harness_torch.recurrence.compiled").STEPS
    model = model_of(RNN(), layers=1)
    trainer = trainer_of(model, "compiled")
    batch = batch_of(model, steps)
    assert trainer.compile(trainer.put(batch))
    assert_same(everything(trainer, batch), everything(trainer_of(model, "loop"), batch))
    compiled = trainer.compilations()
    assert compiled == 2, "one program forwards and one backwards"
    longer = batch_of(model, 3 * steps)
    found = everything(trainer_of(model, "compiled"), longer)
    assert_same(found, everything(trainer_of(model, "loop"), longer))
    assert trainer.compilations() == compiled
    assert trainer_of(model, "fused").compilations() is None


@pytest.mark.parametrize(
    ("cell", "sizes", "variant"),
    [
        (LSTM(), {"length": 25, "hidden": 128, "batch": 32}, "fused"),
        (LSTM(), {"length": 1024, "hidden": 128, "batch": 32}, "fused"),
        (LSTM(), {"length": 100_000, "hidden": 100, "batch": 1}, "library"),
        (GRU(), {"length": 25, "hidden": 100, "batch": 1}, "fused"),
        (MinGRU(), {"length": 1024}, "fused"),
        (MinGRU(), {"length": 1024, "hidden": 100, "batch": 1}, "parallel"),
        (GRU(), {"length": 25, "device": "cuda:1"}, "library"),
        (MinGRU(), {"length": 25, "device": "cuda"}, "parallel"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_the_default_is_what_was_measured_fastest_where_there_is_no_kernel_in_c(
    cell, sizes, variant
):
    trial = Trial(backend="torch", variant="loop", task="copy", cell=cell.name, **sizes)
    assert (
        fastest(cell, trial, [name for name in BACKEND.variants(cell) if name != "native"])
        == variant
    )
    assert variant in BACKEND.variants(cell)


def test_the_default_is_native_where_it_runs():
    trial = Trial(backend="torch", variant="loop", task="copy", cell="lstm", length=25)
    offered = ("library", "fused", "loop", "native")
    assert fastest(LSTM(), trial, offered) == "native"
    assert fastest(LSTM(), trial.model_copy(update={"dtype": "bfloat16"}), offered) != "native"
    assert fastest(LSTM(), trial.model_copy(update={"device": "cuda"}), offered) == "library"


def test_without_a_compiler_compiled_is_missing_with_the_fix(monkeypatch):
    monkeypatch.setattr(toolchain_module.shutil, "which", lambda name: None)
    assert "compiled" not in BACKEND.variants(GRU())
    missing = BACKEND.missing_variants()["compiled"]
    assert "needs a C++ compiler" in missing.reason
    assert "apt install g++" in missing.fix


def test_without_python_s_headers_compiled_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain_module.shutil, "which", lambda name: name)
    monkeypatch.setattr(toolchain_module.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert "Python.h" in BACKEND.missing_variants()["compiled"].reason


def test_compiled_programs_lie_in_a_folder_of_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(toolchain_module.CACHE, raising=False)
    toolchain_module.keep_programs_private()
    folder = tmp_path / "rnn-harness" / "inductor"
    assert os.environ[toolchain_module.CACHE] == str(folder)
    assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setenv(toolchain_module.CACHE, "mine")
    toolchain_module.keep_programs_private()
    assert os.environ[toolchain_module.CACHE] == "mine"


def test_without_a_folder_of_the_users_own_nothing_is_compiled(monkeypatch):
    monkeypatch.setenv(toolchain_module.CACHE, "")

    def refuse(name):
        raise UnavailableError("no folder")

    monkeypatch.setattr(toolchain_module, "private_folder", refuse)
    with pytest.raises(UnsupportedError, match="no folder"):
        toolchain_module.keep_programs_private()
