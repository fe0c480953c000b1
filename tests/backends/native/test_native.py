"""The native kernel: the same function on every host."""

import itertools
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

import harness_native
from harness.cells import GRU, LSTM, RNN, MinGRU
from harness.contract import (
    Batch,
    Cell,
    Execution,
    Inputs,
    Missing,
    Model,
    Optimizer,
    UnsupportedError,
)
from harness_jax.backend import JaxBackend
from harness_native.build import Recipe, build
from harness_native.emit import cell_recipe, source
from harness_native.library import CellLibrary, Library, Product
from harness_numpy import NumpyBackend
from harness_numpy.native import NativeRecurrence, address, library
from harness_numpy.recurrence.layer import Shape, Stepwise
from harness_torch.backend import TorchBackend
from native_cells import CELLS, TooWide
from random_cells import random_cells

pytestmark = pytest.mark.skipif(bool(harness_native.native_missing()), reason="no C compiler here")

# Relative to the largest element; sums over T steps of unit weights.
TOLERANCE = {"float32": 5e-5, "float64": 1e-11, "random": 1e-9}
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


def weights_of(cell, hidden, rng, dtype):
    """Return random weights of the products and vectors."""
    shapes = {}
    for product in cell.products:
        width = len(product.gates or cell.gates) * hidden
        shapes[f"weight_{product.name}"] = (width, hidden)
        if product.bias:
            shapes[f"bias_{product.name}"] = (width,)
    shapes |= dict.fromkeys(cell.vectors, (hidden,))
    return {
        name: (rng.normal(size=shape) / np.sqrt(shape[-1] if len(shape) > 1 else 1)).astype(dtype)
        for name, shape in shapes.items()
    }


def layer(make, cell, shape, seed=0):
    """Run one layer there and back; return all that it computed by name.

    What the layer is to write is NaN before, as is all memory that it keeps between.
    """
    rng = np.random.default_rng(seed)
    weights, unrolled = weights_of(cell, shape.hidden, rng, shape.dtype), make(cell, shape)
    poisoned = [*unrolled.d_vectors, *unrolled.states, *unrolled.d_products]
    if isinstance(unrolled, NativeRecurrence):
        poisoned += [*unrolled.kept, *unrolled.operands, *unrolled.d_initial]
    for array in poisoned:
        array[...] = np.nan
    unrolled.zx[...] = rng.normal(size=unrolled.zx.shape)
    for states in unrolled.states:
        states[0] = rng.normal(size=states[0].shape)
    d_hidden, *d_final = (
        rng.normal(size=(*sizes, shape.batch, shape.hidden)).astype(shape.dtype)
        for sizes in ((shape.steps,), *[()] * len(cell.states))
    )
    unrolled.forward(weights)
    found = {f"states {index}": part.copy() for index, part in enumerate(unrolled.states)}
    d_initial = unrolled.backward(weights, d_hidden, d_final)
    found |= {f"d_initial {index}": part.copy() for index, part in enumerate(d_initial)}
    gradients = {name: np.full_like(weight, np.nan) for name, weight in weights.items()}
    gradients["bias_ih"] = unrolled.zx.sum((0, 1))
    unrolled.weight_gradients(gradients)
    return {**found, "d_hidden": d_hidden, "d_zx": unrolled.zx.copy(), **gradients}


def agree(found, expected, dtype):
    assert found.keys() == expected.keys()
    for name, b in expected.items():
        assert np.abs(found[name] - b).max() <= TOLERANCE[dtype] * max(np.abs(b).max(), 1e-3), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_cell
def test_a_layer_and_its_reverse_are_those_of_the_equations(cell, dtype):
    sizes = ((1, 1, 1), (7, 1, 3), (3, 5, 37), (2, 33, 16), (257, 2, 5), (3, 20, 140))
    for steps, batch, hidden in sizes:
        expected = layer(Stepwise, cell, Shape(steps, batch, hidden, "float64"))
        agree(layer(NativeRecurrence, cell, Shape(steps, batch, hidden, dtype)), expected, dtype)


def agrees_on_random_cells(count):
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(random_cells())
    def agrees(cell):
        assume(harness_native.native_runs(cell))
        expected = layer(Stepwise, cell, Shape(4, 7, 19, "float64"))
        assume(all(np.abs(value).max() < 1e8 for value in expected.values()))
        agree(layer(NativeRecurrence, cell, Shape(4, 7, 19, "float64", 2)), expected, "random")

    agrees()


def test_random_cells_agree_with_their_equations():
    agrees_on_random_cells(4)  # each takes a second to build


@pytest.mark.full
def test_many_random_cells_agree_with_their_equations():
    agrees_on_random_cells(100)


@each_cell
def test_threads_change_nothing_but_rounding_and_repeat_to_the_bit(cell):
    alone = layer(NativeRecurrence, cell, Shape(9, 13, 40, "float32"))
    for threads in (2, 3, 20):
        shape = Shape(9, 13, 40, "float32", threads)
        found = layer(NativeRecurrence, cell, shape)
        agree(found, alone, "float32")
        for name, again in layer(NativeRecurrence, cell, shape).items():
            np.testing.assert_array_equal(found[name], again)


def test_more_threads_than_the_pool_has_are_as_many_as_it_has():
    """Run in a new process, whose threads are counted."""
    if not Path("/proc/self/task").exists():
        pytest.skip("threads are counted in /proc")
    folder = Path(__file__).parent
    code = (
        f"import os, sys; sys.path[:0] = {[str(folder), str(folder.parents[1])]!r}\n"
        "from test_native import *\n"
        "shape = (2, 150, 3, 'float32')\n"
        "alone, before = layer(NativeRecurrence, GRU(), Shape(*shape)), "
        "len(os.listdir('/proc/self/task'))\n"
        "agree(layer(NativeRecurrence, GRU(), Shape(*shape, 100)), alone, 'float32')\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) == 63


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="other vectors than x86's"
)
@pytest.mark.parametrize(
    "flags",
    [
        ("-mno-avx512f", "-U__AVX512F__"),
        ("-mno-avx", "-U__AVX512F__", "-U__AVX__"),
    ],  # zig cc heeds the -U alone
    ids=["256 bits", "128 bits"],
)
def test_narrower_vectors_compute_the_same(flags, monkeypatch):
    narrow = Library(build(Recipe("kernel.c", flags=flags)))
    monkeypatch.setattr("harness_numpy.native.library", lambda: narrow)
    monkeypatch.setattr(
        "harness_numpy.native.cell_library",
        lambda cell: CellLibrary(cell, narrow, replace(cell_recipe(cell), flags=flags)),
    )
    few = [cell for cell in CELLS if cell.name in {"rnn", "lstm", "wide", "everything"}]
    for cell, hidden, dtype in itertools.product(few, (3, 17, 100), ("float32", "float64")):
        expected = layer(Stepwise, cell, Shape(3, 5, hidden, "float64"))
        agree(layer(NativeRecurrence, cell, Shape(3, 5, hidden, dtype, 2)), expected, dtype)
    test_the_gate_functions_are_exact_where_they_saturate_and_near_zero()
    reference = trainer(NumpyBackend(), model(LSTM(), layers=2), "vectorised", dtype="float64")
    found = trainer(NumpyBackend(), model(LSTM(), layers=2), "native", dtype="float64")
    for _ in range(3):
        expected_loss, loss = [
            float(way.train_step(way.put(batch_of())).loss) for way in (reference, found)
        ]
        assert loss == pytest.approx(expected_loss, rel=1e-10)


def test_the_gate_functions_are_exact_where_they_saturate_and_near_zero():
    x = np.array([-200, -30, -1e-7, 0, 1e-7, 0.3, 30, 200, np.nan], "float32")
    plain = layer_of_one(RNN(), x)
    np.testing.assert_allclose(plain, np.tanh(x.astype("float64")), rtol=4e-7, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gate_functions_are_right_to_three_units_in_the_last_place(dtype):
    size = np.geomspace(1e-8, 80, 20_000).astype(dtype)
    x = np.concatenate([size, -size])[None, :, None]
    plain, gated = (NativeRecurrence(cell, Shape(1, x.size, 1, dtype)) for cell in (RNN(), LSTM()))
    plain.zx[...] = x
    gated.zx[...] = np.concatenate([0 * x, x, 0 * x, 0 * x], axis=-1)  # i f g o, so that c' = f c
    gated.states[1][0] = 1
    for unrolled, width in ((plain, 1), (gated, 4)):
        unrolled.forward(
            {"weight_hh": np.zeros((width, 1), dtype), "bias_hh": np.zeros(width, dtype)}
        )
    exact = x[0].astype(np.longdouble)
    for found, expected in (
        (plain.states[0][1], np.tanh(exact)),
        (gated.states[1][1], 1 / (1 + np.exp(-exact))),
    ):
        assert (np.abs(found - expected) <= 3 * np.spacing(np.abs(expected).astype(dtype))).all()


class Function(Cell):
    """h' = a function of zx."""

    gates, products = ("h",), ()

    def __init__(self, name):
        self.name = name

    def step(self, ops, zx, state, own):
        return (getattr(ops, self.name)(zx),)


FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "softplus": lambda x: np.logaddexp(x, 0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_functions_are_right_to_four_units_in_the_last_place(name, dtype):
    size = np.geomspace(1e-30, 80, 20_000).astype(dtype)
    x = size if name in {"log", "sqrt"} else np.concatenate([size, -size])
    x = np.concatenate([x, np.array([0, np.inf, np.nan], dtype), 1 + size[:100]])
    unrolled = NativeRecurrence(Function(name), Shape(1, x.size, 1, dtype))
    unrolled.zx[0, :, 0] = x
    unrolled.forward({})
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = FUNCTIONS[name](x.astype(np.longdouble)).astype(dtype)
    result = unrolled.states[0][1, :, 0]
    same = (result == exact) | (np.isnan(result) & np.isnan(exact))
    with np.errstate(invalid="ignore"):
        near = np.abs(result - exact) <= 4 * np.spacing(np.abs(exact))
    assert (same | near).all(), x[~(same | near)]


def layer_of_one(cell, zx):
    unrolled = NativeRecurrence(cell, Shape(1, 1, len(zx), "float32"))
    unrolled.zx[0, 0] = zx
    zeros = np.zeros((len(zx), len(zx)), "float32")
    unrolled.forward({"weight_hh": zeros, "bias_hh": zeros[0]})
    return unrolled.states[0][1, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 1, 1), (5, 3, 700), (64, 100, 256), (241, 130, 25), (300, 64, 257)]
)
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_large_products(m, n, k, transposed, dtype):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(k, m) if "a" in transposed else (m, k)).astype(dtype)
    b = rng.normal(size=(n, k) if "b" in transposed else (k, n)).astype(dtype)
    bias, out = rng.normal(size=n).astype(dtype), rng.normal(size=(m, n)).astype(dtype)
    expected = (a.T if "a" in transposed else a) @ (b.T if "b" in transposed else b) + bias + out
    flags = {"transpose_a": "a" in transposed, "transpose_b": "b" in transposed, "accumulate": 1}
    places = {"a": address(a), "b": address(b), "bias": address(bias), "c": address(out)}
    library().multiply(
        Product(is_double=dtype == "float64", threads=2, m=m, n=n, k=k, **flags, **places)
    )
    agree({"out": out}, {"out": expected}, dtype)


def test_long_sums_by_token_keep_their_digits():
    rows = np.full((200_000, 1), 0.1, "float32")
    tokens = np.zeros(len(rows), np.int64)
    weight = np.empty((1, 2), "float32")
    bias = np.empty(1, "float32")
    library().sum_by_token(
        0, address(rows), address(tokens), len(rows), 1, 2, address(weight), address(bias)
    )
    np.testing.assert_allclose(
        [weight[0, 0], weight[0, 1], bias[0]], [20_000, 0, 20_000], rtol=2e-5
    )


def model(cell, layers=1):
    return Model(
        cell=cell,
        inputs=Inputs("token", 7),
        hidden=20,
        layers=layers,
        outputs=7,
        loss="cross_entropy",
    )


def batch_of(steps=11, size=5, *, masked=False, carry=False):
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 7, (steps + 1, size))
    mask = rng.random((steps, size)) < 0.7 if masked else np.ones((steps, size), bool)
    return Batch(inputs=ids[:-1], targets=ids[1:], mask=mask, carry=carry)


def trainer(backend, model, variant, **options):
    rng = np.random.default_rng(1)
    parameters = {
        name: rng.normal(size=shape) * 0.3 for name, shape in model.parameter_shapes().items()
    }
    optimizer = Optimizer("adam", learning_rate=0.01, clip_norm=0.5)
    return backend.trainer(model, optimizer, parameters, Execution(variant=variant, **options))


BACKENDS = tuple(
    backend
    for backend in (NumpyBackend(), TorchBackend(), JaxBackend())
    if not isinstance(backend.availability(), Missing)
)


@each_cell
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_training_takes_the_path_of_the_reference(backend, cell):
    built, batch = model(cell, layers=2), batch_of(masked=True, carry=True)
    ways = [
        trainer(NumpyBackend(), built, "vectorised", dtype="float64"),
        trainer(backend, built, "native", dtype="float64"),
    ]
    for _ in range(4):
        expected, found = [float(way.train_step(way.put(batch)).loss) for way in ways]
        assert found == pytest.approx(expected, rel=1e-10)
    for name, value in ways[0].parameters().items():
        np.testing.assert_allclose(ways[1].parameters()[name], value, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("threads", [1, 2])
def test_numpy_takes_vectors_squared_errors_and_chunks(threads):
    vectors = Model(cell=GRU(), inputs=Inputs("real", 3), hidden=9, layers=2, outputs=2, loss="mse")
    rng = np.random.default_rng(0)
    batch = Batch(
        inputs=rng.normal(size=(10, 4, 3)),
        targets=rng.normal(size=(10, 4, 2)),
        mask=rng.random((10, 4)) < 0.5,
    )
    reference = trainer(NumpyBackend(), vectors, "vectorised", dtype="float64")
    native = trainer(
        NumpyBackend(), vectors, "native", dtype="float64", threads=threads, checkpoint=3
    )
    expected, found = [way.gradients(way.put(batch)) for way in (reference, native)]
    for name, value in expected.parameters.items():
        np.testing.assert_allclose(found.parameters[name], value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.hidden, expected.hidden, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_vectors_may_lie_in_any_order(backend, order):
    vectors = Model(
        cell=LSTM(), inputs=Inputs("real", 3), hidden=9, layers=1, outputs=2, loss="squared_error"
    )
    rng = np.random.default_rng(0)
    inputs, targets = (np.asarray(rng.normal(size=(1, 8, width)), order=order) for width in (3, 2))
    batch = Batch(inputs=inputs, targets=targets, mask=np.ones((1, 8), bool))
    ways = (NumpyBackend(), "vectorised"), (backend, "native")
    expected, found = [
        way.gradients(way.put(batch))
        for way in (trainer(owner, vectors, variant, dtype="float64") for owner, variant in ways)
    ]
    for name, value in expected.parameters.items():
        np.testing.assert_allclose(found.parameters[name], value, rtol=1e-9, atol=1e-12)


def test_the_address_of_an_array_that_is_not_contiguous_is_refused():
    with pytest.raises(
        ValueError, match=r"C-contiguous arrays, not strides \(8, 24\) of shape \(3, 2\)"
    ):
        address(np.zeros((2, 3)).T)


def test_jax_hands_the_threads_of_the_execution_to_the_kernel(monkeypatch):
    from harness_jax.recurrence import native

    asked = []
    attributes = native._attributes
    monkeypatch.setattr(
        native,
        "_attributes",
        lambda threads, cell: asked.append(threads) or attributes(threads, cell),
    )
    way = trainer(JaxBackend(), model(LSTM()), "native", threads=3)
    way.train_step(way.put(batch_of()))
    assert set(asked) == {3}


def test_a_graph_of_torch_is_gone_through_once():
    torch = pytest.importorskip("torch")
    from harness_torch.recurrence.native import native

    zx, weight = torch.ones(2, 1, 3), torch.ones(3, 3, requires_grad=True)
    others = {"weight_hh": weight, "bias_hh": torch.zeros(3)}
    hidden, _ = native(RNN(), zx, others, (torch.zeros(1, 3),), None)
    hidden.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="run it forward again"):
        hidden.sum().backward()


@pytest.mark.parametrize("backend", BACKENDS[1:], ids=lambda backend: backend.name)
def test_a_gpu_and_other_number_formats_are_refused(backend):
    for options, reason in (
        ({"device": "cuda"}, "cpu only"),
        ({"dtype": "bfloat16"}, "float32 and float64"),
    ):
        with pytest.raises(UnsupportedError, match=reason):
            trainer(backend, model(RNN()), "native", **options)


def test_a_cell_of_too_many_gates_has_no_such_variant():
    for backend in BACKENDS:
        assert "native" not in backend.variants(TooWide())
        assert "native" in backend.variants(MinGRU())
        assert "native" in backend.versions()
    with pytest.raises(UnsupportedError, match="the kernel takes up to 32 gates"):
        source(TooWide())


def test_the_source_of_a_cell_is_short_and_holds_its_equations_once_for_both_types():
    text = source(LSTM())
    assert len(text.splitlines()) < 200
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("NAME(tanh)(g") == 0 < text.count("NAME(sigmoid)(hh_f)") == 1


def test_the_generated_source_lies_beside_its_library():
    path = build(cell_recipe(LSTM()))
    assert path.with_suffix(".c").read_text() == source(LSTM())


def test_importing_a_plugin_builds_and_loads_nothing(tmp_path):
    code = "import sys, harness_numpy, harness_torch, harness_jax; sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        check=True,
    )
    assert not list(tmp_path.rglob("*.so"))


def test_a_forked_child_has_its_own_threads():
    layer(NativeRecurrence, LSTM(), Shape(2, 4, 3, "float32", 2))
    code = (
        "import os, numpy as np, sys\n"
        "from harness_numpy.native import NativeRecurrence as N; "
        "from harness_numpy.recurrence.layer import Shape\n"
        "from harness.cells import RNN\n"
        "def run():\n"
        "    N(RNN(), Shape(2, 4, 3, 'float32', 2))"
        ".forward({'weight_hh': np.ones((3, 3), 'f'), 'bias_hh': np.ones(3, 'f')})\n"
        "run(); child = os.fork(); run()\n"
        "if child == 0: os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
