"""The parity gate lets honest rounding pass and stops every real error, naming the tensor."""

import json
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import (
    Backend,
    Batch,
    DivergedError,
    Execution,
    Gradients,
    Inputs,
    Model,
    PluginError,
)
from harness.measure.proof.initialise import initial_parameters
from harness.measure.proof.parity import LONG, PIECE, _distance, applied_gradients, measure_parity
from harness_numpy import NumpyBackend

B, H, V = 6, 16, 8


class Spoilt(Backend):
    """NumPy with its gradients changed on the way out."""

    name = "spoilt"

    def __init__(self, gradients=None):
        self.gradients = gradients

    def availability(self):
        return NumpyBackend().availability()

    def versions(self):
        return {}

    def variants(self, cell):
        return ("vectorised",)

    def trainer(self, *arguments):
        trainer = NumpyBackend().trainer(*arguments)
        if self.gradients is not None:
            honest = trainer.gradients
            trainer.gradients = lambda batch: self.gradients(honest(batch))
        return trainer


class LateBackend(NumpyBackend):
    """The gradient of the forget gate has the wrong sign in one step of 64, from the 64th on."""

    def trainer(self, *arguments):
        trainer = super().trainer(*arguments)
        honest = trainer.gradients

        def gradients(batch):
            exact = honest(batch)
            exact.parameters["weight_hh_l0"][H : 2 * H] *= 1 - 2 * (batch.steps // 64) / 64
            return exact

        trainer.gradients = gradients
        return trainer


def case(cell=None, steps=20, kind="token", layers=1, scheme="torch"):
    rng = np.random.default_rng(5)
    loss = "cross_entropy" if kind == "token" else "squared_error"
    model = Model(cell or LSTM(), Inputs(kind, V if kind == "token" else 2), H, layers, V, loss)
    if kind == "token":
        inputs, targets = (rng.integers(0, V, (steps, B)).astype(np.int32) for _ in range(2))
    else:
        inputs, targets = rng.random((steps, B, 2)), rng.random((steps, B, V))
    mask = np.full((steps, B), kind == "token")
    mask[-1] = True
    return model, initial_parameters(model, 0, scheme=scheme), Batch(inputs, targets, mask)


def judge(backend, arguments, dtype="float32"):
    return measure_parity(backend, NumpyBackend(), *arguments, Execution("vectorised", dtype=dtype))


def changed(name, change):
    """A change of one tensor of the gradients."""

    def apply(gradients):
        if name in ("loss", "hidden"):
            return replace(gradients, **{name: change(getattr(gradients, name))})
        return replace(
            gradients, parameters=gradients.parameters | {name: change(gradients.parameters[name])}
        )

    return apply


@pytest.mark.parametrize("steps", [1, 30, 300])
@pytest.mark.parametrize("kind", ["token", "real"])
@pytest.mark.parametrize("cell", [RNN(), ReluRNN(), LSTM(), GRU()], ids=lambda cell: cell.name)
def test_honest_float32_passes_with_margin(cell, kind, steps):
    parity = judge(NumpyBackend(), case(cell, steps, kind, layers=2))
    assert parity.passed
    assert parity.error < parity.tolerance / 3
    assert 0 < parity.error < parity.tolerance < 1e-4


def test_honest_float32_passes_where_errors_pile_up():
    assert judge(NumpyBackend(), case(ReluRNN(), 300, scheme="identity")).passed


class Nudged(NumpyBackend):
    """NumPy from weights that differ by what rounding to float32 may do to them."""

    def trainer(self, model, optimizer, parameters, execution):
        rng = np.random.default_rng(1)
        moved = {
            name: array * (1 + 2.0**-24 * rng.choice([-1, 1], array.shape))
            for name, array in parameters.items()
        }
        trainer = super().trainer(model, optimizer, moved, replace(execution, dtype="float64"))
        exact = trainer.gradients

        def gradients(batch):
            found = exact(batch)
            single = {name: array.astype(np.float32) for name, array in found.parameters.items()}
            return Gradients(found.loss, single, found.hidden.astype(np.float32))

        trainer.gradients = gradients
        return trainer


def test_what_rounding_does_to_the_reference_is_tolerated_where_it_exceeds_the_floor():
    parity = judge(Nudged(), case(ReluRNN(), 300, scheme="identity"))
    floor = 64 * np.finfo(np.float32).eps
    assert parity.passed
    assert max(parity.errors.values()) > floor


def test_the_reference_starts_from_the_rounded_weights_and_inputs():
    seen = []

    class Recording(NumpyBackend):
        def trainer(self, model, optimizer, parameters, execution):
            trainer = super().trainer(model, optimizer, parameters, execution)
            put = trainer.put
            trainer.put = lambda batch: (
                seen.append((parameters["weight_hh_l0"], batch.inputs)),
                put(batch),
            )[1]
            return trainer

    model, parameters, batch = case(kind="real")
    measure_parity(NumpyBackend(), Recording(), model, parameters, batch, Execution("vectorised"))
    for found, given in zip(
        seen[0], (parameters["weight_hh_l0"], batch.inputs[:, :4]), strict=True
    ):
        np.testing.assert_array_equal(found, given.astype(np.float32).astype(np.float64))
        assert (found != given).any()


def test_the_worst_tensor_is_judged_by_its_own_tolerance():
    arguments = case(ReluRNN(), 300, scheme="identity")
    tolerances = judge(NumpyBackend(), arguments).tolerances
    assert tolerances["hidden"] > 2 * tolerances["bias_out"]

    def both(gradients):
        within = changed("hidden", lambda array: array * np.float32(1 + tolerances["hidden"] * 0.9))
        beyond = changed(
            "bias_out", lambda array: array * np.float32(1 + tolerances["bias_out"] * 1.5)
        )
        return within(beyond(gradients))

    parity = judge(Spoilt(both), arguments)
    assert (parity.tensor, parity.passed) == ("bias_out", False)
    assert parity.errors["hidden"] > parity.errors["bias_out"]


def test_float64_passes_at_its_own_tolerance():
    arguments = case()
    reordered = Spoilt(changed("weight_hh_l0", lambda array: array * (1 + 1e-15)))
    parity = judge(reordered, arguments, "float64")
    assert parity.passed
    assert parity.tolerance < 1e-13
    assert not judge(
        Spoilt(changed("weight_hh_l0", lambda array: array * (1 + 1e-11))), arguments, "float64"
    ).passed


@pytest.mark.parametrize(
    "name", ["weight_ih_l0", "weight_hh_l1", "bias_ih_l0", "bias_hh_l1", "weight_out", "bias_out"]
)
@pytest.mark.parametrize("cell", [RNN(), ReluRNN(), LSTM(), GRU()], ids=lambda cell: cell.name)
def test_a_missing_gradient_fails_and_is_named(cell, name):
    parity = judge(Spoilt(changed(name, np.zeros_like)), case(cell, layers=2))
    assert not parity.passed
    assert parity.tensor == name
    assert name in str(parity)
    assert "disagrees" in str(parity)


@pytest.mark.parametrize("name", ["loss", "hidden", "weight_hh_l0", "bias_out"])
def test_a_relative_error_of_a_thousandth_fails(name):
    parity = judge(Spoilt(changed(name, lambda value: value * np.float32(1.001))), case())
    assert not parity.passed
    assert parity.tensor == name
    assert parity.error == pytest.approx(1e-3, rel=0.01)


def test_one_wrong_element_fails():
    def one(array):
        array[3, 2] += 1e-3 * np.abs(array).max()
        return array

    assert judge(Spoilt(changed("weight_ih_l0", one)), case()).tensor == "weight_ih_l0"


def test_an_error_that_shows_only_at_long_lengths_fails_there_and_not_before():
    assert judge(LateBackend(), case(steps=63)).passed
    parity = judge(LateBackend(), case(steps=64))
    assert not parity.passed
    assert parity.error > 10 * parity.tolerance


@pytest.mark.parametrize(("epsilons_per_step", "passed"), [(0.4, True), (3, False)])
def test_a_sum_over_many_steps_may_round_once_per_step(epsilons_per_step, passed):
    factor = np.float32(1 + 1000 * epsilons_per_step * np.finfo(np.float32).eps)
    assert (
        judge(Spoilt(changed("bias_out", lambda array: array * factor)), case(steps=1000)).passed
        is passed
    )


def test_honest_float32_passes_where_thousands_of_steps_look_alike():
    model, parameters, batch = case(RNN(), steps=2000)
    batch.inputs[10:] = batch.targets[10:] = 0
    assert judge(NumpyBackend(), (model, parameters, batch)).passed


class OtherStep(NumpyBackend):
    """NumPy with a wrong training step: ``change`` is applied to its weights or result."""

    def __init__(self, change):
        self.change = change

    def trainer(self, *arguments):
        trainer = super().trainer(*arguments)
        honest = trainer.train_step

        def train_step(batch):
            before = trainer.parameters()
            return self.change(trainer, before, honest(batch))

        trainer.train_step = train_step
        return trainer


def no_update(trainer, before, result):
    trainer.load(before)
    return result


def one_tensor_left_out(trainer, before, result):
    trainer.load(trainer.parameters() | {"weight_hh_l0": before["weight_hh_l0"]})
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("change", "tensors"),
    [
        (no_update, r"\w+"),
        (one_tensor_left_out, "weight_hh_l0"),
        (lambda trainer, before, result: replace(result, loss=result.loss * 1.001), "loss"),
        (
            lambda trainer, before, result: replace(
                result, gradient_norm=result.gradient_norm * 1.001
            ),
            "gradient_norm",
        ),
    ],
    ids=["no update", "one tensor left out", "loss", "gradient norm"],
)
def test_a_training_step_that_is_not_what_gradients_shows_fails(change, tensors, dtype):
    parity = judge(OtherStep(change), case(), dtype)
    assert not parity.passed
    assert re.fullmatch(rf"{tensors} \(train_step\)", parity.tensor)


def in_sequence(squares):
    """Sum float32 numbers one after the other."""
    return np.cumsum(squares, axis=-1)[..., -1]


def in_blocks(squares):
    """Sum blocks of about sqrt(n) numbers, then their sums."""
    width = int(len(squares) ** 0.5)
    blocks = np.pad(squares, (0, -len(squares) % width)).reshape(-1, width)
    return in_sequence(in_sequence(blocks))


@pytest.mark.parametrize(("sum_of", "passed"), [(in_blocks, True), (in_sequence, False)])
def test_a_norm_of_millions_of_numbers_may_round_as_a_sum_in_blocks_does(sum_of, passed):
    def summed(trainer, before, result):
        applied = applied_gradients(before, trainer.parameters()).values()
        vector = np.concatenate([gradient.ravel() for gradient in applied]).astype(np.float32)
        return replace(result, gradient_norm=float(np.sqrt(sum_of(np.square(vector)))))

    rng, words = np.random.default_rng(0), 10_000
    model = Model(RNN(), Inputs("token", words), 100, 1, words, "cross_entropy")
    inputs, targets = (rng.integers(0, words, (3, B)).astype(np.int32) for _ in range(2))
    batch = Batch(inputs, targets, np.ones((3, B), bool))
    parity = judge(OtherStep(summed), (model, initial_parameters(model, 0, scheme="torch"), batch))
    assert parity.passed is passed
    assert passed or parity.tensor == "gradient_norm (train_step)"


def test_dropout_is_off_in_the_training_step_that_is_compared():
    model, *rest = case(layers=2)
    assert judge(NumpyBackend(), (replace(model, dropout=0.5), *rest)).passed


def test_a_value_that_is_not_finite_fails():
    parity = judge(Spoilt(changed("bias_out", lambda array: array * np.float32("nan"))), case())
    assert not parity.passed
    assert (parity.tensor, parity.error) == ("bias_out", np.inf)


def test_a_reference_that_is_not_finite_is_said_so():
    model, parameters, batch = case(ReluRNN(), steps=300)
    parameters["weight_hh_l0"] = np.eye(H) * 1e10
    with pytest.raises(DivergedError, match="reference is not finite"):
        judge(NumpyBackend(), (model, parameters, batch))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda array: array.T, r"\(8, 64\) float32"),
        (lambda array: array.astype(np.float64), r"\(64, 8\) float64"),
        (lambda array: None, "NoneType"),
        (lambda array: array.tolist(), "list"),
    ],
    ids=["shape", "dtype", "none", "list"],
)
def test_a_gradient_of_the_wrong_kind_breaks_the_contract(change, found):
    with pytest.raises(
        PluginError,
        match=rf"invalid gradients: expected weight_ih_l0 \(64, 8\) float32, got {found}",
    ):
        judge(Spoilt(changed("weight_ih_l0", change)), case())


def test_missing_and_unexpected_gradients_break_the_contract():
    def renamed(gradients):
        return Gradients(0.0, {"W": np.zeros(1)}, gradients.hidden)

    with pytest.raises(PluginError, match="unexpected W"):
        judge(Spoilt(renamed), case())
    with pytest.raises(
        PluginError, match="spoilt: invalid gradients: expected Gradients, got NoneType"
    ):
        judge(Spoilt(lambda gradients: None), case())


def test_the_verdict_is_the_same_each_time_and_json_able():
    first, again = (judge(NumpyBackend(), case()).to_json() for _ in range(2))
    assert json.dumps(first) == json.dumps(again)
    both = {"loss", "gradient_norm", *case()[0].parameter_shapes()}
    assert set(first["errors"]) == both | {"hidden"} | {f"{name} (train_step)" for name in both}


@pytest.mark.full
def test_long_sequences_are_compared_without_keeping_copies():
    """Two hidden gradients in float64, and pieces: not the states of all steps, nor copies."""
    model, parameters, batch = case(RNN(), steps=24_000)
    execution = Execution("vectorised", checkpoint="auto")
    hidden_bytes = 24_000 * 4 * H * 8
    tracemalloc.start()
    parity = measure_parity(NumpyBackend(), NumpyBackend(), model, parameters, batch, execution)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert parity.passed
    assert peak < 4 * hidden_bytes + 4 * 8 * PIECE


@pytest.mark.parametrize(
    ("checkpoint", "steps", "kept"),
    [("off", LONG, "off"), ("off", LONG + 1, "auto"), (5, 7, "auto"), ("auto", 7, "auto")],
)
def test_the_reference_keeps_all_states_of_short_plain_trials_only(checkpoint, steps, kept):
    class Asked(NumpyBackend):
        seen = set()  # noqa: RUF012

        def trainer(self, model, optimizer, parameters, execution):
            self.seen.add(execution.checkpoint)
            return super().trainer(model, optimizer, parameters, execution)

    reference = Asked()
    measure_parity(
        NumpyBackend(),
        reference,
        *case(RNN(), steps),
        Execution("vectorised", checkpoint=checkpoint),
    )
    assert reference.seen == {kept}


def test_distances_are_the_same_in_pieces():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3 * PIECE // 2)).astype(np.float32)
    assert _distance(a, b) == np.max(np.abs(a.astype(float) - b))
    b[-1] = np.nan
    assert _distance(a, b) == np.inf
