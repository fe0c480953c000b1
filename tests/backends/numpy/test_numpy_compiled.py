"""The variant ``numba``: its functions, its agreement with ``vectorised``, its cache."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Batch, Execution, Inputs, Missing, Model, Optimizer, Trial
from harness_numpy import NumpyBackend, variants
from native_cells import Normalised, TooWide

needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed")
CELLS = [RNN(), ReluRNN(), LSTM(), GRU(), Normalised()]
V, K = 6, 5
# Of the largest element: 300 steps of products of 128 in another order.
TOLERANCE = {"float64": 1e-11, "float32": 2e-3}


def trainer_of(cell, variant, dtype, hidden=3, layers=1, loss="cross_entropy", dropout=0.0):
    inputs = Inputs("token", V) if loss == "cross_entropy" else Inputs("real", V)
    model = Model(cell, inputs, hidden, layers, K, loss, dropout)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape) * hidden**-0.5
        for name, shape in model.parameter_shapes().items()
    }
    rule = Optimizer(learning_rate=0.01, clip_norm=0.5)
    return NumpyBackend().trainer(model, rule, weights, Execution(variant, dtype=dtype))


def batch_of(steps, size, loss="cross_entropy", carry=False):
    rng = np.random.default_rng(1)
    if loss == "cross_entropy":
        inputs, targets = (rng.integers(0, high, (steps, size)).astype(np.int32) for high in (V, K))
    else:
        inputs, targets = rng.normal(size=(steps, size, V)), rng.normal(size=(steps, size, K))
    mask = rng.random((steps, size)) < 0.5
    mask[-1] = True
    return Batch(inputs, targets, mask, carry)


def assert_near(found, expected, tolerance):
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=tolerance * max(1e-3, np.abs(expected).max())
    )


@needs_numba
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("hidden", "size", "steps", "layers"),
    [
        (1, 1, 1, 1),
        (3, 5, 7, 3),
        (128, 5, 64, 1),
        (128, 1, 64, 3),
        (3, 1, 300, 1),
        (16, 32, 7, 1),
        (17, 2, 7, 3),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_gradients_equal_those_of_vectorised(cell, dtype, hidden, size, steps, layers, loss):
    reference = trainer_of(cell, "vectorised", "float64", hidden, layers, loss)
    trainer = trainer_of(cell, "numba", dtype, hidden, layers, loss)
    state = tuple(np.random.default_rng(2).normal(size=(len(cell.states), layers, size, hidden)))
    results = []
    for one in (reference, trainer):
        one.load_state(state)
        batch = one.put(batch_of(steps, size, loss, carry=True))
        results.append((one.gradients(batch), one.outputs(batch), one.state()))
    (expected, outputs, final), (found, own_outputs, own_final) = results
    assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE[dtype])
    for name, gradient in expected.parameters.items():
        assert_near(found.parameters[name], gradient, TOLERANCE[dtype])
    assert_near(found.hidden, expected.hidden, TOLERANCE[dtype])
    assert_near(own_outputs, outputs, TOLERANCE[dtype])
    assert_near(np.array(own_final), np.array(final), TOLERANCE[dtype])


@needs_numba
def test_training_with_dropout_and_clipping_follows_vectorised():
    trainers = [
        trainer_of(LSTM(), variant, "float64", 8, 3, dropout=0.3)
        for variant in ("vectorised", "numba")
    ]
    for _ in range(5):
        losses = [float(one.train_step(one.put(batch_of(7, 5))).loss) for one in trainers]
        assert losses[1] == pytest.approx(losses[0], rel=1e-10)
    for name, value in trainers[0].parameters().items():
        np.testing.assert_allclose(trainers[1].parameters()[name], value, rtol=0, atol=1e-9)


FUNCTIONS = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "log": np.log,
    "sqrt": np.sqrt,
    "relu": lambda x: np.maximum(x, 0),
    "absolute": np.abs,
}


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_functions_are_exact_to_a_few_units_in_the_last_place(name, dtype):
    import numba

    from harness_numpy.compiled import functions

    function = getattr(functions, name)

    @numba.njit(error_model="numpy")
    def fill(x, out):
        for index in range(x.size):
            out[index] = function(x[index])

    points = np.concatenate([np.linspace(-70, 70, 2001), np.geomspace(1e-30, 1, 500), [np.nan]])
    if name in {"log", "sqrt"}:
        points = np.concatenate([np.geomspace(1e-30, 1e30, 2001), [1.0, np.nan]])
    points = points.astype(dtype)
    found = np.empty_like(points)
    fill(points, found)
    exact = FUNCTIONS[name](points[:-1].astype(np.float64))
    np.testing.assert_allclose(found[:-1], exact, rtol=4 * float(np.finfo(dtype).eps))
    assert np.isnan(found[-1])


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_functions_are_right_at_their_limits(dtype):
    import numba

    from harness_numpy.compiled.functions import exp, log, sigmoid

    @numba.njit(error_model="numpy")
    def results(x):
        return exp(x), sigmoid(x), log(x)

    real = np.dtype(dtype).type
    assert results(real(np.inf)) == (np.inf, 1, np.inf)
    assert results(real(-np.inf))[:2] == pytest.approx((0, 0), abs=1e-30)
    assert results(real(0)) == (1, 0.5, -np.inf)
    assert np.isnan(results(real(-1))[2])


@needs_numba
def test_a_second_process_compiles_nothing(tmp_path):
    code = (
        "import numpy as np\nfrom harness.cells import GRU\n"
        "from harness.contract import Inputs, Model\n"
        "from harness_numpy.compiled.chain import Compiled\n"
        "from harness_numpy.compiled.jit import compilations\n"
        "from harness_numpy.recurrence.layer import Shape\n"
        "shapes = Model(GRU(), Inputs('token', 1), 3, 1, 1, 'cross_entropy').parameter_shapes()\n"
        "weights = {name.removesuffix('_l0'): np.zeros(size) for name, size in shapes.items()}\n"
        "layer = Compiled(GRU(), Shape(2, 5, 3, 'float64'))\n"
        "layer.zx.fill(0); layer.forward(weights)\n"
        "print(compilations())"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    counts = [
        int(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True))
        for _ in range(2)
    ]
    assert counts[0] > 0
    assert counts[1] == 0


@needs_numba
def test_divergence_shows_in_the_loss():
    trainer = trainer_of(ReluRNN(), "numba", "float32")
    trainer.load({name: value * np.float32(1e30) for name, value in trainer.parameters().items()})
    assert not np.isfinite(trainer.train_step(trainer.put(batch_of(7, 5))).loss)


@needs_numba
@pytest.mark.parametrize("size", [1, 5])
def test_compiling_ahead_leaves_nothing_for_the_training_step(size):
    trainer, untouched = (trainer_of(GRU(), "numba", "float32") for _ in range(2))
    batch = trainer.put(batch_of(7, size))
    assert trainer.compile(batch)
    compiled = trainer.compilations()
    loss = trainer.train_step(batch).loss
    assert trainer.compilations() == compiled
    assert loss == untouched.train_step(batch).loss


def test_variants_that_compile_nothing_say_so():
    trainer = trainer_of(RNN(), "vectorised", "float32")
    assert not trainer.compile(trainer.put(batch_of(3, 2)))
    assert trainer.compilations() is None


@needs_numba
def test_compiled_code_goes_to_a_folder_of_ones_own(monkeypatch, tmp_path):
    from harness_numpy.compiled import jit

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jit, "_kernels", [])

    def kernel(x):
        return 2 * x

    assert jit.compiled(kernel)(3) == 6
    assert list((tmp_path / "rnn-harness" / "numba").rglob("*.nbi"))


def test_the_backend_imports_no_numba_until_it_is_used():
    code = "import sys, harness_numpy as h; from harness.cells import LSTM; b = h.NumpyBackend()\n"
    code += (
        "b.variants(LSTM()), b.versions(), b.missing_variants(); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_numba_the_variant_is_missing_with_its_fix(monkeypatch):
    monkeypatch.setattr(variants, "find_spec", lambda name: None)
    backend = NumpyBackend()
    assert "numba" not in backend.variants(LSTM())
    missing = backend.missing_variants()["numba"]
    assert isinstance(missing, Missing)
    assert "rnn-harness[numba]" in missing.fix


@pytest.mark.parametrize(
    ("offered", "is_built", "fastest"),
    [
        (("vectorised", "loop", "numba", "native"), True, "native"),
        (("vectorised", "loop", "numba", "native"), False, "numba"),
        (("vectorised", "loop", "numba"), True, "numba"),
        (("vectorised", "loop", "native"), False, "vectorised"),
        (("vectorised", "loop"), True, "vectorised"),
    ],
)
def test_the_fastest_is_a_compiled_one_on_offer_where_it_pays(
    offered, is_built, fastest, monkeypatch
):
    backend = NumpyBackend()
    native = replace(variants.VARIANTS["native"], build=lambda _cell: is_built)
    monkeypatch.setitem(variants.VARIANTS, "native", native)
    monkeypatch.setattr(backend, "variants", lambda cell: offered)
    large = Trial(backend="numpy", variant="any", task="char", cell="lstm", length=64, steps=1000)
    small = large.model_copy(update={"hidden": 4, "batch": 2, "steps": 20})
    assert backend.fastest_variant(LSTM(), large) == fastest
    assert backend.fastest_variant(LSTM(), large.model_copy(update={"length": 5})) == fastest
    assert backend.fastest_variant(LSTM(), small) == "vectorised"


@needs_numba
def test_a_cell_that_the_kernel_lacks_runs_compiled_by_numba():
    backend = NumpyBackend()
    large = Trial(backend="numpy", variant="any", task="char", cell="odd", length=64, steps=1000)
    assert backend.fastest_variant(TooWide(), large) == "numba"
    assert "native" not in backend.variants(TooWide())
