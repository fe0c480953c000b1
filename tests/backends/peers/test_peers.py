"""Peers on JAX: they compute what NumPy computes in float64, or say how they differ."""

import subprocess
import sys
from functools import partial
from importlib import import_module

import numpy as np
import pytest

import paths
from harness.cells import GRU, LSTM, RNN, ReluRNN
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
CELLS = {cell.name: cell for cell in (RNN(), ReluRNN(), LSTM(), GRU())}
PAIRS = [
    (engine, name)
    for engine, backend in PEERS.items()
    for name, cell in CELLS.items()
    if engine.partition(":")[2] in backend.variants(cell)
]
EQUAL = [
    (engine, name)
    for engine, name in PAIRS
    if not PEERS[engine].deviation(CELLS[name], engine.partition(":")[2])
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
        for engine, cell in EQUAL
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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reset_first(parameters, x, h):
    """haiku.GRU, as its deviation says."""
    (w_r, w_z, w_n), (u_r, u_z, u_n) = (
        np.split(parameters[name], 3) for name in ("weight_ih_l0", "weight_hh_l0")
    )
    b_r, b_z, b_n = np.split(parameters["bias_ih_l0"] + parameters["bias_hh_l0"], 3)
    r, z = sigmoid(x @ w_r.T + h @ u_r.T + b_r), sigmoid(x @ w_z.T + h @ u_z.T + b_z)
    return (1 - z) * np.tanh(x @ w_n.T + (r * h) @ u_n.T + b_n) + z * h


def no_recurrent_bias(parameters, x, h):
    """flax.nnx.GRUCell, as its deviation says."""
    zx = x @ parameters["weight_ih_l0"].T + parameters["bias_ih_l0"] + parameters["bias_hh_l0"]
    (x_r, x_z, x_n) = np.split(zx, 3, -1)
    (h_r, h_z, h_n) = np.split(h @ parameters["weight_hh_l0"].T, 3, -1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return (1 - z) * np.tanh(x_n + r * h_n) + z * h


DEVIATING = {"haiku:unroll": reset_first, "flax:nnx": no_recurrent_bias}


def test_nothing_deviates_but_what_is_tested():
    assert set(PAIRS) - set(EQUAL) == {(engine, "gru") for engine in DEVIATING}


@pytest.mark.parametrize("engine", DEVIATING)
def test_a_deviating_cell_computes_what_its_deviation_says(engine):
    model, batch = model_of(GRU()), batch_of()
    parameters, h, expected = weights_of(model), np.zeros((B, H)), []
    for x in batch.inputs:
        h = DEVIATING[engine](parameters, x, h)
        expected.append(h @ parameters["weight_out"].T + parameters["bias_out"])
    trainer = trainer_of(engine, model)
    np.testing.assert_allclose(trainer.outputs(trainer.put(batch)), expected, rtol=0, atol=EXACT)


@pytest.mark.parametrize("engine", DEVIATING)
def test_a_deviating_cell_has_other_gradients_than_the_reference(engine):
    model, batch = model_of(GRU()), batch_of()
    trainer = trainer_of(engine, model)
    reference = NumpyBackend().trainer(
        model, Optimizer(), weights_of(model), Execution("vectorised", dtype="float64")
    )
    found, expected = (one.gradients(one.put(batch)).parameters for one in (trainer, reference))
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_hh_l0"):
        assert np.max(np.abs(found[name] - expected[name])) > 1e-3 * np.max(np.abs(expected[name]))


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
def test_the_docs_tell_each_engine_and_each_deviation(backend):
    page = (paths.ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    for cell in CELLS.values():
        for variant in backend.variants(cell):
            assert f"| `{backend.name}:{variant}` |" in page
            if deviation := backend.deviation(cell, variant):
                formula = deviation.partition("n = tanh(")[2]
                assert f"- `{backend.name}:{variant}` `{cell.name}`: " in page
                assert formula
                assert formula in page
