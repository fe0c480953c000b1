"""Initial weights: each scheme's definition, one stream per tensor, and the gates' biases."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from harness.cells import GRU, LSTM, RNN, MinGRU, MinLSTM, ReluRNN
from harness.contract import Inputs, Model, PluginError, UnsupportedError, UsageError
from harness.measure.proof.initialise import initial_parameters

H, V, K = 16, 10, 7
SCHEMES = ["torch", "glorot", "identity", "recurrent=uniform:0.1,readout=zeros"]


def model_of(cell=None, layers=2):
    return Model(cell or LSTM(), Inputs("token", V), H, layers, K, "cross_entropy")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("cell", [RNN(), ReluRNN(), LSTM(), GRU()], ids=lambda cell: cell.name)
def test_shapes_and_order_are_the_models_and_values_are_float64(cell, scheme):
    parameters = initial_parameters(model_of(cell), 0, scheme=scheme)
    shapes = {name: array.shape for name, array in parameters.items()}
    assert list(shapes.items()) == list(model_of(cell).parameter_shapes().items())
    assert {array.dtype for array in parameters.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_further_layer_leaves_the_other_tensors_alone(scheme):
    few, many = (initial_parameters(model_of(layers=layers), 3, scheme=scheme) for layers in (1, 3))
    for name in few:
        np.testing.assert_array_equal(few[name], many[name])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_seed_decides(scheme):
    first, again, other = (
        initial_parameters(model_of(), seed, scheme=scheme) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first["weight_ih_l0"], again["weight_ih_l0"])
    assert (first["weight_ih_l0"] != other["weight_ih_l0"]).all()


def test_torch_is_uniform_up_to_one_over_root_hidden():
    parameters = initial_parameters(model_of(layers=1), 0)
    bound = 1 / np.sqrt(H)
    for name, array in parameters.items():
        assert np.abs(array).max() <= bound, name
    everything = np.concatenate([array.ravel() for array in parameters.values()])
    assert everything.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert np.abs(everything).max() > 0.98 * bound


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_embedding_is_normal_and_a_tied_one_is_the_readout(scheme):
    fields = (LSTM(), Inputs("token", 500), H, 1, 500, "cross_entropy")
    plain, wide, tied = (
        initial_parameters(Model(*fields, **settings), 0, scheme=scheme)
        for settings in ({}, {"embedding": H}, {"embedding": H, "tied_readout": True})
    )
    assert wide["embedding"].std() == pytest.approx(1, rel=0.05)
    assert wide["embedding"].mean() == pytest.approx(0, abs=0.05)
    assert tied["embedding"].std() == pytest.approx(plain["weight_out"].std(), rel=0.05)
    np.testing.assert_array_equal(wide["weight_hh_l0"], plain["weight_hh_l0"])


def test_glorot_is_orthogonal_inside_and_uniform_outside_per_gate():
    parameters = initial_parameters(model_of(), 0, scheme="glorot")
    for block in np.split(parameters["weight_hh_l1"], 4):
        np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-12)
    bounds = {"weight_ih_l0": V + H, "weight_ih_l1": 2 * H, "weight_out": H + K}
    for name, fans in bounds.items():
        assert 0.9 * np.sqrt(6 / fans) < np.abs(parameters[name]).max() <= np.sqrt(6 / fans)
    assert not any(array.any() for name, array in parameters.items() if name.startswith("bias"))


def test_identity_is_the_irnn():
    parameters = initial_parameters(model_of(ReluRNN()), 0, scheme="identity")
    np.testing.assert_array_equal(parameters["weight_hh_l0"], np.eye(H))
    assert parameters["weight_ih_l0"].std() == pytest.approx(0.001, rel=0.2)
    assert not any(array.any() for name, array in parameters.items() if name.startswith("bias"))


@pytest.mark.parametrize(
    ("cell", "gate", "bias"),
    [(LSTM(), 1, 1.5), (GRU(), 1, 1.5), (MinLSTM(), 0, 1.5), (MinGRU(), 0, -1.5)],
    ids=["lstm", "gru", "minlstm", "mingru"],
)
def test_forget_bias_sets_the_memory_gate_and_nothing_else(cell, gate, bias):
    plain, biased = (
        initial_parameters(model_of(cell), 0, forget_bias=bias) for bias in (None, 1.5)
    )
    rows = slice(gate * H, (gate + 1) * H)
    for name in plain:
        expected = plain[name].copy()
        if name.startswith("bias_ih"):
            expected[rows] = bias
        elif name.startswith("bias_hh"):
            expected[rows] = 0
        np.testing.assert_array_equal(biased[name], expected, err_msg=name)


def test_chrono_draws_memory_between_one_step_and_the_longest():
    longest = 200
    parameters = initial_parameters(model_of(), 0, chrono=longest)
    for layer in range(2):
        i, f, _, _ = np.split(parameters[f"bias_ih_l{layer}"], 4)
        assert (f >= 0).all()
        assert (f <= np.log(longest - 1)).all()
        assert f.std() > 0.1
        np.testing.assert_array_equal(i, -f)
        assert not parameters[f"bias_hh_l{layer}"][: 2 * H].any()
    assert (parameters["bias_ih_l0"][: 2 * H] != parameters["bias_ih_l1"][: 2 * H]).all()


def test_chrono_of_a_gate_that_keeps_when_it_is_shut_is_negative():
    biases = initial_parameters(model_of(MinGRU()), 0, chrono=200)["bias_ih_l0"][:H]
    assert (biases <= 0).all()
    assert biases.std() > 0.1


def test_chrono_of_the_shortest_dependency_is_zero():
    assert not initial_parameters(model_of(GRU()), 0, chrono=2)["bias_ih_l0"][H : 2 * H].any()


@pytest.mark.parametrize("setting", [{"forget_bias": 1.0}, {"chrono": 10}])
def test_a_cell_without_a_memory_gate_is_refused(setting):
    with pytest.raises(UnsupportedError, match="needs a cell with a memory gate"):
        initial_parameters(model_of(RNN()), 0, **setting)


def test_two_settings_of_one_bias_are_refused():
    with pytest.raises(UsageError, match="give one of them"):
        initial_parameters(model_of(), 0, forget_bias=1.0, chrono=10)


@pytest.mark.parametrize(
    "answer", [None, [1.0], {"a": np.zeros(3)}, {"a": [np.nan] * H}, {"b": np.zeros(H)}, {"a": "x"}]
)
def test_values_that_do_not_fit_the_vectors_of_a_cell_name_the_cell(answer):
    class Odd(RNN):
        name = "odd"
        vectors = ("a",)

        def initial_vectors(self, hidden, rng):
            return answer

    with pytest.raises(PluginError, match=r"cell 'odd': initial_vectors\(\) .* of a; got"):
        initial_parameters(model_of(Odd()), 0)


TORCH = {
    "glorot": lambda init, tensor: init.xavier_uniform_(tensor),
    "orthogonal": lambda init, tensor: init.orthogonal_(tensor),
    "uniform:0.25": lambda init, tensor: init.uniform_(tensor, -0.25, 0.25),
    "normal:0.5": lambda init, tensor: init.normal_(tensor, std=0.5),
    "identity": lambda init, tensor: init.eye_(tensor),
    "zeros": lambda init, tensor: init.zeros_(tensor),
}
TENSORS = {"recurrent": "weight_hh_l0", "input": "weight_ih_l0", "readout": "weight_out"}


@pytest.mark.parametrize("draw", TORCH)
@pytest.mark.parametrize("part", TENSORS)
def test_each_draw_has_the_distribution_of_torch_nn_init_gate_by_gate(part, draw):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = Model(LSTM(), Inputs("real", 90), 60, 1, 30, "squared_error")
    parameters = initial_parameters(model, 0, scheme=f"{part}={draw}")
    plain = initial_parameters(model, 0)
    for name in plain:
        if name != TENSORS[part]:
            np.testing.assert_array_equal(parameters[name], plain[name])
    gates = 1 if part == "readout" else 4
    for block in np.split(parameters[TENSORS[part]], gates):
        theirs = TORCH[draw](torch.nn.init, torch.empty(block.shape, dtype=torch.float64)).numpy()
        assert ks_2samp(block.ravel(), theirs.ravel()).pvalue > 0.001
        if draw == "orthogonal":  # the smaller of the two products is the identity
            ours, expected = (min((w @ w.T, w.T @ w), key=np.size) for w in (block, theirs))
            np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_biases_are_drawn_alone_and_forget_bias_is_set_after_them():
    parameters = initial_parameters(model_of(), 0, scheme="bias=normal:0.01", forget_bias=2.0)
    assert parameters["bias_out"].std() == pytest.approx(0.01, rel=0.7)
    assert np.abs(parameters["bias_hh_l1"]).max() < 0.1
    assert (parameters["bias_ih_l0"][H : 2 * H] == 2).all()
    np.testing.assert_array_equal(
        parameters["weight_hh_l0"], initial_parameters(model_of(), 0)["weight_hh_l0"]
    )
