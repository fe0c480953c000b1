"""The NumPy trainer besides its gradients: state, masks, copies, dtype, plain errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import (
    Available,
    Batch,
    Execution,
    Inputs,
    Model,
    Optimizer,
    PluginError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from harness.recurrence import Gradient, Recurrence
from harness_numpy import NumpyBackend, harness_backends
from harness_numpy.recurrence.encoding import input_product, input_weight_gradient
from harness_numpy.recurrence.ops import NumpyOps
from harness_numpy.recurrence.readout import loss_and_gradient

B, H, K, V = 3, 4, 5, 6
each_cell = pytest.mark.parametrize(
    "cell", [RNN(), ReluRNN(), LSTM(), GRU()], ids=lambda cell: cell.name
)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def model_of(cell=None, layers=2, dropout=0.0):
    return Model(cell or LSTM(), Inputs("token", V), H, layers, K, "cross_entropy", dropout)


def batch_of(steps=8, seed=0, size=B, carry=False):
    rng = np.random.default_rng(seed)
    inputs, targets = rng.integers(0, V, (steps, size)), rng.integers(0, K, (steps, size))
    return Batch(
        inputs.astype(np.int32), targets.astype(np.int32), np.ones((steps, size), bool), carry
    )


def trainer_of(model=None, dtype="float64", optimizer=None, dropout_seed=0, variant="vectorised"):
    model = model or model_of()
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()
    }
    execution = Execution(variant, dtype=dtype, dropout_seed=dropout_seed)
    return NumpyBackend().trainer(
        model, optimizer or Optimizer(learning_rate=0.05), weights, execution
    )


def flat(parameters):
    return np.concatenate([array.ravel() for array in parameters.values()])


@each_cell
def test_two_windows_with_carried_state_equal_one_long_sequence(cell):
    trainer, long = trainer_of(model_of(cell)), batch_of(8)
    expected = trainer.outputs(trainer.put(long))
    halves = [
        Batch(long.inputs[part], long.targets[part], long.mask[part], carry=index > 0)
        for index, part in enumerate([slice(0, 3), slice(3, 8)])
    ]
    found = [trainer.outputs(trainer.put(half)) for half in halves]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-14)


def test_training_leaves_its_final_state_and_gradients_leave_none():
    trainer = trainer_of()
    batch = trainer.put(batch_of())
    trainer.gradients(batch)
    assert trainer.state() is None
    trainer.train_step(batch)
    state = trainer.state()
    assert [part.shape for part in state] == [(2, B, H)] * 2
    trainer.gradients(trainer.put(batch_of(seed=1, carry=True)))
    np.testing.assert_array_equal(trainer.state(), state)


def test_a_batch_without_carry_starts_from_zeros():
    trainer = trainer_of()
    batch = trainer.put(batch_of())
    first = trainer.outputs(batch)
    np.testing.assert_array_equal(trainer.outputs(batch), first)
    trainer.load_state(None)
    np.testing.assert_array_equal(trainer.outputs(trainer.put(batch_of(carry=True))), first)


def test_a_carried_state_of_another_batch_size_is_refused():
    trainer = trainer_of()
    trainer.outputs(trainer.put(batch_of()))
    with pytest.raises(UsageError, match="2 sequences but the carried state has 3"):
        trainer.outputs(trainer.put(batch_of(size=2, carry=True)))
    with pytest.raises(UsageError, match="a state of lstm"):
        trainer.load_state((np.zeros((2, B, H)),))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_masked_steps_do_not_change_loss_or_gradients(seed):
    rng = np.random.default_rng(seed)
    batch = batch_of(5, seed)
    mask = rng.random(batch.mask.shape) < 0.5
    mask[0, 0] = True
    other = np.where(mask, batch.targets, rng.integers(0, K, mask.shape)).astype(np.int32)
    trainer = trainer_of(model_of(layers=1))
    found = [
        trainer.gradients(trainer.put(Batch(batch.inputs, targets, mask)))
        for targets in (batch.targets, other)
    ]
    assert found[0].loss == found[1].loss
    np.testing.assert_array_equal(flat(found[0].parameters), flat(found[1].parameters))
    last = np.flatnonzero(mask.any(axis=1))[-1]
    assert not found[0].hidden[:, last + 1 :].any()


def test_the_loss_is_the_mean_over_scored_positions():
    trainer, batch = trainer_of(), batch_of()
    batch = replace(batch, mask=np.random.default_rng(3).random(batch.mask.shape) < 0.4)
    logits = trainer.outputs(trainer.put(batch))[batch.mask]
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -logs[np.arange(len(logs)), batch.targets[batch.mask]].mean()
    assert trainer.gradients(trainer.put(batch)).loss == pytest.approx(expected, rel=1e-13)


@each_dtype
def test_everything_given_back_has_the_trainers_dtype(dtype):
    trainer = trainer_of(dtype=dtype)
    batch = trainer.put(batch_of())
    gradients, result = trainer.gradients(batch), trainer.train_step(batch)
    arrays = [
        *gradients.parameters.values(),
        gradients.hidden,
        trainer.outputs(batch),
        *trainer.state(),
    ]
    assert {array.dtype for array in [*arrays, *trainer.parameters().values(), result.loss]} == {
        np.dtype(dtype)
    }


@each_cell
@pytest.mark.parametrize("variant", ["loop", "reference"])
def test_float32_stays_float32_inside_the_time_loop(cell, variant, monkeypatch):
    seen = set()

    def watched(original):
        def call(*arguments):
            result = original(*arguments)
            rows = vars(result).values() if isinstance(result, Gradient) else result
            for row in rows:
                parts = row if isinstance(row, tuple) else (row,)
                seen.update(part.dtype for part in parts if not isinstance(part, float))
            return result

        return call

    for name in ("step", "gradient"):
        monkeypatch.setattr(Recurrence, name, watched(getattr(Recurrence, name)))
    trainer = trainer_of(model_of(cell), variant=variant, dtype="float32")
    trainer.train_step(trainer.put(batch_of()))
    assert seen == {np.dtype(np.float32)}


def test_nothing_given_back_changes_with_later_work():
    trainer = trainer_of()
    batch = trainer.put(batch_of())
    gradients, outputs = trainer.gradients(batch), trainer.outputs(batch)
    arrays = [
        *gradients.parameters.values(),
        gradients.hidden,
        outputs,
        *trainer.state(),
        *trainer.parameters().values(),
    ]
    copies = [array.copy() for array in arrays]
    for seed in range(3):
        trainer.train_step(trainer.put(batch_of(seed=seed)))
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_changing_what_was_given_changes_nothing_inside():
    trainer, batch = trainer_of(), batch_of()
    put = trainer.put(batch)
    expected = trainer.gradients(put).loss
    weights, state = trainer.parameters(), None
    trainer.load(weights)
    trainer.outputs(put)
    state = trainer.state()
    for array in [*weights.values(), *state]:
        array[...] = 9.0
    batch.inputs[...], batch.targets[...] = 0, 0
    assert trainer.gradients(put).loss == expected
    assert not (trainer.state()[0] == 9.0).any()


def test_a_loaded_state_is_a_copy():
    trainer, state = trainer_of(), tuple(np.ones((2, 2, B, H)))
    trainer.load_state(state)
    for part in state:
        part[...] = 9.0
    assert (np.array(trainer.state()) == 1.0).all()


def test_equal_starts_give_equal_runs_and_load_starts_afresh():
    first, second = trainer_of(), trainer_of()
    start = first.parameters()
    batch = first.put(batch_of())
    for _ in range(3):
        second.train_step(batch)
    second.load(start)
    for _ in range(4):
        losses = [trainer.train_step(batch).loss for trainer in (first, second)]
        assert losses[0] == losses[1]
    np.testing.assert_array_equal(flat(first.parameters()), flat(second.parameters()))


def test_shapes_may_alternate():
    trainer, fresh = trainer_of(), trainer_of()
    for steps in (8, 3, 5, 2, 7, 1, 8):
        expected = fresh.gradients(fresh.put(batch_of(steps))).loss
        assert trainer.gradients(trainer.put(batch_of(steps))).loss == expected
        trainer.outputs(trainer.put(batch_of(steps + 1, size=2)))


def test_dropout_acts_in_training_only_and_follows_its_seed():
    model = model_of(dropout=0.5)
    losses = []
    for seed in (1, 1, 2):
        trainer = trainer_of(model, dropout_seed=seed)
        batch = trainer.put(batch_of())
        outputs = trainer.outputs(batch)
        losses.append(float(trainer.train_step(batch).loss))
        trainer.load(trainer_of(model).parameters())
        np.testing.assert_array_equal(trainer.outputs(batch), outputs)
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] != trainer_of().gradients(batch).loss


def test_training_lowers_the_loss():
    trainer = trainer_of(dtype="float32")
    batch = trainer.put(batch_of())
    losses = [float(trainer.train_step(batch).loss) for _ in range(60)]
    assert losses[-1] < losses[0] / 2


def test_divergence_is_a_number_and_not_a_warning():
    trainer = trainer_of(model_of(ReluRNN()), "float32", Optimizer("sgd", learning_rate=1e6))
    batch = trainer.put(batch_of())
    losses = [float(trainer.train_step(batch).loss) for _ in range(30)]
    assert not np.isfinite(losses[-1])


@each_dtype
def test_sigmoid_is_stable_and_silent(dtype):
    x = np.array([-1e30, -100, -1, 0, 1, 100, 1e30], dtype)
    found = NumpyOps().sigmoid(x)
    assert found.dtype == dtype
    expected = [0, 0, 1 / (1 + np.e), 0.5, 1 / (1 + 1 / np.e), 1, 1]
    np.testing.assert_allclose(found, expected, atol=2 * np.finfo(dtype).eps)


def test_cross_entropy_of_huge_logits_is_finite():
    logits = np.array([[1e30, 0.0], [0.0, -1e30]], np.float32)
    assert loss_and_gradient("cross_entropy", logits, np.array([0, 0]), 2) == 0.0
    np.testing.assert_array_equal(logits, 0.0)


@settings(max_examples=30, deadline=None)
@given(tokens=st.lists(st.integers(0, 9), min_size=1, max_size=40), seed=st.integers(0, 1000))
def test_gathered_tokens_equal_one_hot_products(tokens, seed):
    rng = np.random.default_rng(seed)
    ids, one_hot = np.array(tokens), np.eye(10)[tokens]
    weight = rng.normal(size=(6, 10))
    bias = rng.normal(size=6)
    d_zx = rng.normal(size=(len(ids), 6))
    gathered, gradient = np.empty((len(ids), 6)), np.empty((6, 10))
    input_product(ids, weight, bias, gathered)
    input_weight_gradient(ids, d_zx, gradient)
    np.testing.assert_allclose(gathered, one_hot @ weight.T + bias, atol=1e-14)
    np.testing.assert_allclose(gradient, d_zx.T @ one_hot, atol=1e-13)


@pytest.mark.parametrize("bad", [-1, V])
def test_a_token_out_of_range_is_refused(bad):
    batch = batch_of()
    batch.inputs[2, 1] = bad
    with pytest.raises(PluginError, match=r"token ids must lie in 0\.\.5"):
        trainer_of().put(batch)


def test_parameters_that_do_not_fit_are_refused():
    trainer = trainer_of()
    with pytest.raises(UsageError, match=r"weight_out must have shape \(5, 4\), not \(4, 5\)"):
        trainer.load(trainer.parameters() | {"weight_out": np.zeros((4, 5))})
    with pytest.raises(UsageError, match="extra missing or unexpected"):
        trainer.load(trainer.parameters() | {"extra": np.zeros(1)})


def test_the_backend_says_what_it_is():
    (backend,) = harness_backends()
    assert (backend.name, backend.variants(LSTM())[0], backend.devices()) == (
        "numpy",
        "vectorised",
        ("cpu",),
    )
    assert isinstance(backend.availability(), Available)
    assert backend.versions()["numpy"] == np.__version__
    assert backend.variants(LSTM())[1] == "loop"
    assert backend.checkpoints


def test_another_device_or_variant_is_refused():
    model = model_of()
    for execution, error in (
        (Execution("fused"), UnknownNameError),
        (Execution("vectorised", "gpu"), UnsupportedError),
    ):
        with pytest.raises(error):
            NumpyBackend().trainer(model, Optimizer(), {}, execution)
