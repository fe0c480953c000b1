"""Peers on JAX: they compute what NumPy computes in float64."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest

import paths
from harness.cells import GRU, LSTM, RNN, InputBiasGRU, ReluRNN, ResetBeforeGRU
from harness.contract import (
    Available,
    Batch,
    Execution,
    Inputs,
    Missing,
    Model,
    Optimizer,
    Trial,
    UnknownNameError,
    UnsupportedError,
)
from harness.testing import BackendConformance
from harness.testing.backend import isolation, updates, windows
from harness.testing.backend.grid import Point, every_tensor_equals_the_reference, stepping_trainer
from harness.testing.bench import Bench
from harness.testing.equations import run_equations
from harness_equinox import EquinoxBackend
from harness_flax import FlaxBackend
from harness_haiku import HaikuBackend
from harness_keras import KerasJaxBackend, KerasTorchBackend
from harness_numpy import NumpyBackend
from harness_peers import backend as peer_module

for library in ("jax", "optax", "flax", "haiku", "equinox"):
    pytest.importorskip(library, reason=f"{library} is not installed")

B, D, H, K = 3, 5, 4, 3
EXACT = 1e-12
PEERS = {
    "flax:linen": FlaxBackend(),
    "flax:nnx": FlaxBackend(),
    "haiku:unroll": HaikuBackend(),
    "equinox:scan": EquinoxBackend(),
}
ALL = (RNN(), ReluRNN(), LSTM(), GRU(), InputBiasGRU(), ResetBeforeGRU())
CELLS = {cell.name: cell for cell in ALL}
PAIRS = [
    (engine, name)
    for engine, backend in PEERS.items()
    for name, cell in CELLS.items()
    if engine.partition(":")[2] in backend.variants(cell)
]


class TestFlaxLinen(BackendConformance):
    """One cell: the grid has the others."""

    backend = FlaxBackend()
    variants = ("linen",)
    cells = (GRU(),)
    grid = "none"


class TestEquinox(BackendConformance):
    """Its GRU has a bias that is merged in two gates of three."""

    backend = EquinoxBackend()
    cells = (GRU(),)
    grid = "none"


@pytest.mark.parametrize("engine", ["flax:nnx", "haiku:unroll"])
@pytest.mark.parametrize(
    "check",
    [
        isolation.dropout_acts_in_training_only,
        updates.clipping_acts_before_the_update_and_is_reported,
        windows.a_carried_state_continues_the_stream,
    ],
    ids=lambda check: check.__name__,
)
def test_what_depends_on_the_library_besides_its_cells(engine, check):
    """The trainer is the one that the kit has checked with Flax and Equinox."""
    check(bench_of(engine, "lstm"))


def bench_of(engine, cell):
    return Bench(PEERS[engine], NumpyBackend(), CELLS[cell], engine.partition(":")[2])


def model_of(cell, layers=1):
    return Model(cell, Inputs("real", D), H, layers, K, "cross_entropy")


def weights_of(model):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()}


def batch_of(steps=6):
    rng = np.random.default_rng(1)
    return Batch(
        rng.normal(size=(steps, B, D)), rng.integers(0, K, (steps, B)), np.ones((steps, B), bool)
    )


def trainer_of(engine, model, dtype="float64", optimizer=None):
    variant = engine.partition(":")[2]
    return PEERS[engine].trainer(
        model, optimizer or Optimizer(), weights_of(model), Execution(variant, dtype=dtype)
    )


def point(steps, batch, hidden, layers, *, masked, inputs, dtype):
    shape = {"time_steps": steps, "batch": batch, "hidden": hidden, "layers": layers}
    return Point((*shape.items(), ("masked", masked), ("inputs", inputs), ("dtype", dtype)))


GRID = [
    point(1, 5, 1, 3, masked=False, inputs="real", dtype="float64"),
    point(7, 1, 128, 1, masked=True, inputs="token", dtype="float32"),
    point(300, 5, 3, 1, masked=True, inputs="token", dtype="float64"),
]


def in_default_run(engine, cell, at):
    """Each engine has one cell at every size, and the others at the middle one.

    Haiku unrolls the loop over time: 300 time steps of it compile for minutes.
    """
    shape = dict(at.values)
    if engine == "haiku:unroll":
        return shape["time_steps"] < 300
    return cell == "lstm" or shape["time_steps"] == 7


@pytest.mark.parametrize(
    ("engine", "cell", "at"),
    [
        pytest.param(
            *(engine, cell, at),
            id=f"{engine}-{cell}-{at}",
            marks=() if in_default_run(engine, cell, at) else pytest.mark.full,
        )
        for engine, cell in PAIRS
        for at in GRID
    ],
)
def test_every_tensor_equals_the_reference(engine, cell, at):
    bench = bench_of(engine, cell)
    every_tensor_equals_the_reference(bench, at.case(), at.dtype, partial(stepping_trainer, bench))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("engine", "cell"), PAIRS)
def test_weights_survive_a_round_trip_to_the_last_bit(engine, cell, dtype):
    model = model_of(CELLS[cell], layers=2)
    found = trainer_of(engine, model, dtype).parameters()
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(found[name], value.astype(dtype), err_msg=name)


@pytest.mark.parametrize(
    ("engine", "cell"), [("haiku:unroll", "gru_reset_before"), ("flax:nnx", "gru_input_bias")]
)
def test_a_gru_of_its_own_is_offered_under_the_name_of_its_equations(engine, cell):
    """float64, carried state, two layers: the equations themselves, to rounding."""
    model, batch = model_of(CELLS[cell], layers=2), batch_of()
    state = tuple(np.random.default_rng(2).normal(size=(1, 2, B, H)))
    trainer = trainer_of(engine, model)
    trainer.load_state(state)
    found = trainer.outputs(trainer.put(replace(batch, carry=True)))
    expected = run_equations(model, weights_of(model), batch, state)
    np.testing.assert_allclose(found, expected.outputs, rtol=0, atol=EXACT)
    np.testing.assert_allclose(trainer.state(), expected.state, rtol=0, atol=EXACT)
    assert PEERS[engine].variants(GRU()) == (("linen",) if engine == "flax:nnx" else ())


def test_a_shared_bias_counts_twice_and_others_once():
    from harness_equinox.network import EquinoxNetwork
    from harness_jax.conversion import Conversion

    shares = Conversion(EquinoxNetwork(model_of(GRU()))).shares
    np.testing.assert_array_equal(shares.cells[0].bias, [2.0] * 2 * H + [1.0] * H)
    assert shares.cells[0].bias_n == shares.cells[0].weight_hh == shares.readout.bias == 1.0


@pytest.mark.parametrize("engine", PEERS)
def test_a_step_is_compiled_once_and_ahead_of_time(engine):
    trainer = trainer_of(engine, model_of(LSTM()), "float32", Optimizer(clip_norm=0.1))
    batch = trainer.put(batch_of())
    assert trainer.compile(batch)
    before = trainer.compilations()
    for _ in range(3):
        float(trainer.train_step(batch).loss)
    assert trainer.compilations() == before
    assert trainer.placement().device == "cpu"
    assert trainer.placement().dtype == "float32"


@pytest.mark.parametrize(
    ("backend", "cell"),
    [(EquinoxBackend(), RNN()), (EquinoxBackend(), ReluRNN()), (HaikuBackend(), RNN())],
    ids=lambda thing: thing.name,
)
def test_a_cell_that_the_library_lacks_is_unsupported(backend, cell):
    assert backend.variants(cell) == ()
    variant = backend.variants(LSTM())[0]
    trial = Trial(backend=backend.name, variant=variant, task="copy", cell=cell.name, length=3)
    reason = backend.why_unsupported(model_of(cell), trial)
    assert reason.startswith(
        f"{backend.title} has no cell that computes {cell.name}; the harness runs"
    )
    with pytest.raises(UnsupportedError, match=f"no cell that computes {cell.name}"):
        backend.trainer(model_of(cell), Optimizer(), weights_of(model_of(cell)), Execution(variant))


def test_a_cell_of_another_variant_is_unsupported_with_the_variant_that_has_it():
    model = model_of(GRU())
    with pytest.raises(UnsupportedError, match="computes gru in flax:linen, not in flax:nnx"):
        FlaxBackend().trainer(model, Optimizer(), weights_of(model), Execution("nnx"))


def test_an_unknown_variant_is_an_error():
    model = model_of(LSTM())
    with pytest.raises(UnknownNameError, match="linen"):
        FlaxBackend().trainer(model, Optimizer(), weights_of(model), Execution("lynen"))


BACKENDS = [FlaxBackend(), HaikuBackend(), EquinoxBackend(), KerasTorchBackend(), KerasJaxBackend()]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_a_peer_says_what_it_needs(monkeypatch, backend):
    assert backend.groups == ("peers",)
    assert backend.availability() == Available()
    first, distribution = next(iter(backend.libraries.items()))
    assert backend.versions()[distribution]
    found = peer_module.find_spec
    monkeypatch.setattr(
        peer_module, "find_spec", lambda name: None if name == first else found(name)
    )
    missing = backend.availability()
    assert isinstance(missing, Missing)
    assert missing.reason == f"{distribution} is not installed"
    assert missing.fix.startswith('pip install "rnn-harness[peers')


def test_asking_a_peer_imports_nothing_heavy():
    names = [f"harness_{name}" for name in ("flax", "haiku", "equinox", "keras")]
    code = (
        f"import importlib, sys\nfor name in {names}:\n"
        "    for backend in importlib.import_module(name).harness_backends():\n"
        "        backend.availability(), backend.versions()\n"
        "        backend.environment(1), backend.groups\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"jax", "torch", "flax", "haiku", "equinox", "keras"}


@pytest.mark.parametrize("name", ["flax", "haiku", "equinox", "keras"])
def test_each_package_offers_its_backends(name):
    for backend in import_module(f"harness_{name}").harness_backends():
        assert backend.name.partition("-")[0] == name


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_the_docs_tell_each_engine_and_its_cells(backend):
    page = (paths.ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| `")}
    for cell in CELLS.values():
        for variant in backend.variants(cell):
            assert f"`{cell.name}`" in rows[f"| `{backend.name}:{variant}`"]
            assert backend.deviation(cell, variant) is None
