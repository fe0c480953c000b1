"""GRUs of other libraries, used directly with copied weights, equal the cells that state them."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from harness.cells import InputBiasGRU, ResetBeforeGRU
from harness.contract import Batch, Inputs, Model
from harness.testing.equations import run_equations

T, B, D, H = 9, 3, 2, 4
EXACT = {"rtol": 0, "atol": 1e-12}
SINGLE = {"rtol": 0, "atol": 5e-6}  # float32, after nine steps with weights of order 1
KERAS = """
import sys
import numpy as np
import keras

given = np.load(sys.argv[1])
layer = keras.layers.GRU(given["recurrent"].shape[0], reset_after=False, return_sequences=True)
layer.build(given["x"].shape)
layer.set_weights([given["kernel"], given["recurrent"], given["bias"]])
np.save(sys.argv[2], keras.ops.convert_to_numpy(layer(given["x"])))
"""


def drawn(cell):
    """Return the weights of one layer, inputs (T, B, D) and the cell's h (T, B, H)."""
    model = Model(cell, Inputs("real", D), H, 1, H, "squared_error")
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape) for name, shape in model.parameter_shapes().items()}
    weights |= {"weight_out": np.eye(H), "bias_out": np.zeros(H)}
    x = rng.normal(size=(T, B, D))
    batch = Batch(x, np.zeros((T, B, H)), np.ones((T, B), bool))
    layer = {name.removesuffix("_l0"): value for name, value in weights.items()}
    return layer, x, run_equations(model, weights, batch).outputs


def test_haikus_gru_is_gru_reset_before_with_its_update_gate_negated():
    hk, jax = pytest.importorskip("haiku"), pytest.importorskip("jax")
    weights, x, expected = drawn(ResetBeforeGRU())
    signs = np.repeat([-1.0, 1.0, 1.0], H)  # haiku's gates are z r a, and z weights the new value

    def ordered(array):
        r, z, n = np.split(array, 3)
        return (np.concatenate([z, r, n]).T * signs).T

    recurrent = np.concatenate([weights["weight_hh"], weights["weight_hn"]])
    parameters = {
        "w_i": ordered(weights["weight_ih"]).T,
        "w_h": ordered(recurrent).T,
        "b": ordered(weights["bias_ih"]),
    }
    with jax.enable_x64():
        unroll = hk.transform(
            lambda x: hk.dynamic_unroll(hk.GRU(H, name="gru"), x, np.zeros((B, H)))[0]
        )
        actual = np.asarray(unroll.apply({"gru": parameters}, None, x))
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_keras_gru_with_its_reset_first_is_gru_reset_before(engine, tmp_path):
    if find_spec("keras") is None or find_spec(engine) is None:
        pytest.skip(f"needs keras and {engine}")
    weights, x, expected = drawn(ResetBeforeGRU())

    def ordered(array):
        r, z, n = np.split(array, 3)
        return np.concatenate([z, r, n]).T

    recurrent = np.concatenate([weights["weight_hh"], weights["weight_hn"]])
    arrays = {
        "x": x.swapaxes(0, 1),
        "kernel": ordered(weights["weight_ih"]),
        "recurrent": ordered(recurrent),
        "bias": ordered(weights["bias_ih"]),
    }
    given, got = tmp_path / "given.npz", tmp_path / "got.npy"
    np.savez(given, **{name: array.astype(np.float32) for name, array in arrays.items()})
    command = [sys.executable, "-c", KERAS, given, got]  # Keras keeps its first engine
    environment = os.environ | {"KERAS_BACKEND": engine}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    np.testing.assert_allclose(np.load(got).swapaxes(0, 1), expected, **SINGLE)


def test_flax_nnx_gru_cell_is_gru_input_bias():
    nnx, jax = pytest.importorskip("flax.nnx"), pytest.importorskip("jax")
    weights, x, expected = drawn(InputBiasGRU())
    with jax.enable_x64():
        cell = nnx.GRUCell(D, H, param_dtype=np.float64, rngs=nnx.Rngs(0))
        graph, state = nnx.split(cell)
        inputs = {"kernel": weights["weight_ih"].T, "bias": weights["bias_ih"]}
        layers = {"dense_i": inputs, "dense_h": {"kernel": weights["weight_hh"].T}}
        shapes = jax.tree.map(np.shape, nnx.to_pure_dict(state))
        assert shapes == jax.tree.map(np.shape, layers)  # it has no other weights
        nnx.replace_by_pure_dict(state, layers)
        cell = nnx.merge(graph, state)
        h, outputs = np.zeros((B, H)), []
        for x_t in x:
            h, output = cell(h, x_t)
            outputs.append(np.asarray(output))
    assert outputs[0].dtype == np.float64
    np.testing.assert_allclose(np.stack(outputs), expected, **EXACT)
