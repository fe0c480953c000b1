"""What every backend refuses in the same words: variants, number formats, states."""

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from harness.cells import LSTM, GatedDelta
from harness.contract import (
    Execution,
    Inputs,
    Missing,
    Model,
    Optimizer,
    UnavailableError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
    check_dtype,
    check_state,
    check_variant,
)
from harness_keras import KerasJaxBackend, KerasTorchBackend
from harness_numpy import NumpyBackend

L, B, H = 2, 3, 4
MODEL = Model(LSTM(), Inputs("token", 5), H, L, 5, "cross_entropy")
WEIGHTS = {name: np.full(shape, 0.1) for name, shape in MODEL.parameter_shapes().items()}
ENGINES = [
    pytest.param(
        name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")
    )
    for name in ("numpy", "torch", "jax")
]


class Tortoise(NumpyBackend):
    """A backend with a variant that is missing here."""

    name = "tortoise"

    def variants(self, cell):
        return ("slow",)

    def missing_variants(self):
        return {"fast": Missing("a leg is gone", "grow a leg")}


def test_a_variant_on_offer_passes():
    check_variant(Tortoise(), LSTM(), "slow")


def test_a_known_variant_that_cannot_be_had_is_unavailable_with_reason_and_fix():
    with pytest.raises(
        UnavailableError, match=r"^tortoise:fast cannot run here: a leg is gone\. Fix: grow a leg$"
    ):
        check_variant(Tortoise(), LSTM(), "fast")


def test_a_variant_that_nobody_knows_is_unknown():
    with pytest.raises(
        UnknownNameError, match=r"unknown variant of backend 'tortoise': 'slwo'\. Did you mean slow"
    ):
        check_variant(Tortoise(), LSTM(), "slwo")


def test_a_number_format_that_is_not_there_is_named_with_those_that_are():
    check_dtype(Tortoise(), Execution("slow", dtype="float64"))
    with pytest.raises(
        UsageError, match="tortoise has no dtype 'tf32' on cpu; it has: float32, float64"
    ):
        check_dtype(Tortoise(), Execution("slow", dtype="tf32"))


@pytest.mark.parametrize("dtype", ["bfloat16", "tf32"])
def test_numpy_trains_in_no_other_number_format_than_it_was_asked_for(dtype):
    with pytest.raises(UsageError, match=f"numpy has no dtype '{dtype}'"):
        NumpyBackend().trainer(MODEL, Optimizer(), WEIGHTS, Execution("vectorised", dtype=dtype))


@pytest.mark.parametrize(
    "backend", [KerasTorchBackend(), KerasJaxBackend()], ids=lambda backend: backend.name
)
def test_keras_refuses_each_number_format_in_its_own_words(backend):
    with pytest.raises(
        UsageError, match=f"{backend.name} has no dtype 'bfloat16' on cpu; it has: float32"
    ):
        backend.trainer(MODEL, Optimizer(), WEIGHTS, Execution("layers", dtype="bfloat16"))
    with pytest.raises(UnsupportedError, match="round float64 to float32"):
        backend.trainer(MODEL, Optimizer(), WEIGHTS, Execution("layers", dtype="float64"))


ODD_STATES = [
    (),
    (np.zeros(()),) * 2,
    (np.zeros(H),) * 2,
    (np.zeros((L, B, H)),),
    (np.zeros((L, B, H)),) * 3,
    (np.zeros((L, B, H)), np.zeros((L, B + 1, H))),
    (np.zeros((L, B, H + 1)),) * 2,
    (np.zeros((L + 1, B, H)),) * 2,
]


def test_a_state_of_any_number_of_sequences_passes():
    for size in (1, B):
        check_state(MODEL, (np.zeros((L, size, H)),) * 2)


@pytest.mark.parametrize("state", ODD_STATES, ids=lambda state: str([part.shape for part in state]))
def test_a_state_that_does_not_fit_is_refused(state):
    with pytest.raises(UsageError, match=r"of lstm is h \(2, B, 4\), c \(2, B, 4\), not \["):
        check_state(MODEL, state)


def test_a_matrix_has_one_axis_more():
    model = replace(MODEL, cell=GatedDelta())
    check_state(model, (np.zeros((L, B, H)), np.zeros((L, B, H, H))))
    with pytest.raises(UsageError, match=r"is h \(2, B, 4\), S \(2, B, 4, 4\), not \["):
        check_state(model, (np.zeros((L, B, H)),) * 2)


@pytest.mark.parametrize("name", ENGINES)
def test_no_trainer_takes_an_empty_state(name):
    [backend] = import_module(f"harness_{name}").harness_backends()
    trainer = backend.trainer(
        MODEL, Optimizer(), WEIGHTS, Execution(backend.variants(MODEL.cell)[0])
    )
    with pytest.raises(UsageError, match="a state of lstm"):
        trainer.load_state(())
    assert trainer.state() is None
