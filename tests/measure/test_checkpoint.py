import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import harness
from harness.cells import LSTM
from harness.contract import Inputs, Model, StoreError, Trial, Vocabulary
from harness.measure.checkpoint import load, save

TRIAL = Trial(
    backend="numpy", variant="vectorised", task="char", cell="lstm", length=5, hidden=4, layers=2
)
MODEL = Model(LSTM(), Inputs("token", 3), hidden=4, layers=2, outputs=3, loss="cross_entropy")


@pytest.fixture
def parameters():
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in MODEL.parameter_shapes().items()
    }


@pytest.mark.parametrize(
    "vocabulary", [Vocabulary("ab\u2028"), Vocabulary(("a b", "ab")), Vocabulary(None), None]
)
def test_what_is_saved_is_loaded(tmp_path, parameters, vocabulary):
    save(tmp_path / "weights", parameters, TRIAL, vocabulary)
    found = load(tmp_path / "weights")
    assert (found.trial, found.vocabulary) == (TRIAL, vocabulary)
    assert found.parameters.keys() == parameters.keys()
    assert all(np.array_equal(found.parameters[name], parameters[name]) for name in parameters)


def test_views_and_transposed_arrays_are_saved_by_value(tmp_path):
    array = np.arange(6.0).reshape(2, 3).T
    save(tmp_path / "weights", {"w": array}, TRIAL, None)
    assert np.array_equal(load(tmp_path / "weights").parameters["w"], array)


def test_a_new_checkpoint_replaces_the_old_one_and_leaves_nothing_else(tmp_path, parameters):
    save(tmp_path / "weights", {"w": np.zeros(3)}, TRIAL, None)
    save(tmp_path / "weights", parameters, TRIAL, None)
    assert load(tmp_path / "weights").parameters.keys() == parameters.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path, parameters, monkeypatch):
    save(tmp_path / "weights", parameters, TRIAL, None)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        StoreError, match=r"cannot write the checkpoint .*weights: No space left on device"
    ):
        save(tmp_path / "weights", {"w": np.zeros(3)}, TRIAL, None)
    assert load(tmp_path / "weights").parameters.keys() == parameters.keys()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_checkpoint_says_how_to_get_one(tmp_path):
    with pytest.raises(StoreError, match=r"there is no checkpoint .*nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path, parameters, keep):
    path = tmp_path / "weights"
    save(path, parameters, TRIAL, None)
    path.write_bytes(content := path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="damaged"):
        load(path)
    assert path.read_bytes() == content


def test_tensors_of_somebody_else_are_refused(tmp_path):
    save_file({"w": np.zeros(3)}, tmp_path / "weights")
    with pytest.raises(StoreError, match="not a checkpoint of the harness"):
        load(tmp_path / "weights")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_checkpoint_loads_into_torch_nn_unchanged(tmp_path, kind):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    rows = {"LSTM": 16, "GRU": 12, "RNN": 4}[kind]
    shapes = {
        name: (rows, *shape[1:])
        for name, shape in MODEL.parameter_shapes().items()
        if not name.endswith("out")
    }
    arrays = {
        name: np.random.default_rng(0).normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    readout = {"weight_out": np.zeros((3, 4), np.float32), "bias_out": np.zeros(3, np.float32)}
    save(tmp_path / "weights", arrays | readout, TRIAL, None)
    module = getattr(torch.nn, kind)(3, 4, num_layers=2)
    result = module.load_state_dict(load_file(tmp_path / "weights"), strict=False)
    assert result.missing_keys == []
    assert result.unexpected_keys == ["bias_out", "weight_out"]
    assert all(
        np.array_equal(module.state_dict()[name].numpy(), array) for name, array in arrays.items()
    )


def written(path, *, metadata=(), **tensors):
    """Write a checkpoint of a small text model, with some of its metadata or tensors replaced."""
    rng = np.random.default_rng(0)
    own = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in MODEL.parameter_shapes().items()
    }
    facts = {
        "trial": json.dumps(TRIAL.content()),
        "vocabulary": '{"symbols": "abc"}',
        **dict(metadata),
    }
    save_file(
        {name: array for name, array in (own | tensors).items() if array is not None}, path, facts
    )
    return path


TOO_WIDE = json.dumps(TRIAL.content() | {"hidden": 65_536})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {"vocabulary": "7"}}, "not a checkpoint"),
        ({"metadata": {"vocabulary": '{"symbols": 7}'}}, "a text of distinct characters"),
        ({"metadata": {"vocabulary": '{"symbols": "aab"}'}}, "a text of distinct characters"),
        ({"metadata": {"vocabulary": "[" * 100_000}}, "not a checkpoint"),
        (
            {"metadata": {"vocabulary": '{"symbols": "abcd"}'}},
            r"weight_ih_l0 should be \(16, 4\)|is damaged",
        ),
        ({"metadata": {"trial": "[]"}}, "not a checkpoint"),
        (
            {"metadata": {"trial": TOO_WIDE}},
            r"is damaged: bias_hh_l0 should be \(262144,\) float32, and is \(16,\)",
        ),
        ({"bias_out": np.full(3, np.nan, np.float32)}, "bias_out holds a value that is not finite"),
        ({"bias_out": np.zeros(3)}, r"bias_out should be \(3,\) float32, and is \(3,\) float64"),
        ({"bias_out": np.zeros(3, np.int32)}, "bias_out should be"),
        ({"bias_out": None}, "bias_out should be .* and is absent"),
        ({"extra": np.zeros(3, np.float32)}, "extra should be absent"),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_trial_is_refused_before_memory_is_asked_for(
    tmp_path, changes, message
):
    path = written(tmp_path / "odd.safetensors", **changes)
    with pytest.raises(StoreError, match=message):
        harness.sample(path, length=3)


def test_a_checkpoint_that_fits_its_trial_writes_text(tmp_path):
    assert len(harness.sample(written(tmp_path / "good.safetensors"), length=3)) == 3
