"""Checks that trainer and caller share no array, and that dropout acts only in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.contract import Parameters, State, Trainer
from harness.contract.model import Array
from harness.testing.bench import DEEP, DROPPED, SMALL, Bench
from harness.testing.compare import NotApplicable, agree, gradients_agree


def arrays_given_back_are_copies(bench: Bench) -> None:
    """Changing a returned array does not change the trainer; training changes no returned array."""
    trainer = bench.trainer(SMALL)
    batch = trainer.put(SMALL.make_batch())
    trainer.outputs(batch)
    for name, get in _getters(trainer, batch).items():
        array = get()
        copy = array.copy()
        trainer.train_step(batch)
        trainer.synchronize()
        assert np.array_equal(array, copy), (
            f"{name}: an array given back earlier changed while training went on"
        )
        trainer.load(SMALL.parameters(bench.cell))
        trainer.outputs(batch)
        before = get().copy()
        get()[...] += 1.0
        assert np.array_equal(get(), before), (
            f"{name}: changing the array given back changed the trainer"
        )


def arrays_taken_in_are_copied(bench: Bench) -> None:
    """The caller may change its arrays afterwards, and the trainer never changes them."""
    parameters = SMALL.parameters(bench.cell)
    trainer, host = bench.trainer(SMALL), SMALL.make_batch()
    trainer.load(parameters)
    batch = trainer.put(host)
    expected = trainer.gradients(batch).loss
    trainer.train_step(batch)
    trainer.synchronize()
    _unchanged(
        parameters, SMALL.parameters(bench.cell), "by training, though they belong to the caller"
    )
    trainer.load(parameters)
    _spoil([*parameters.values()])
    _same_loss(trainer, batch, expected, "parameters given to load() share memory with the trainer")
    _spoil([host.inputs, host.targets, host.mask])
    _same_loss(
        trainer, batch, expected, "the batch given to put() shares memory with the device batch"
    )
    _state_is_copied(bench, trainer)


def constructor_copies_its_parameters(bench: Bench) -> None:
    """The caller may change the parameters given to ``Backend.trainer``, even of the same dtype."""
    own = {name: value.astype(bench.dtype) for name, value in SMALL.parameters(bench.cell).items()}
    trainer = bench.new_trainer(SMALL, parameters=own)
    before = trainer.parameters()
    _spoil([*own.values()])
    _unchanged(
        trainer.parameters(), before, "with the arrays given to trainer(): they share memory"
    )


def dropout_acts_in_training_only(bench: Bench) -> None:
    """``outputs`` and ``gradients`` ignore dropout; ``train_step`` applies it with its seed."""
    dropped, plain = bench.trainer(DROPPED), bench.trainer(DEEP)
    batch, plain_batch = dropped.put(DEEP.make_batch()), plain.put(DEEP.make_batch())
    expected_outputs = plain.outputs(plain_batch)
    agree("outputs", dropped.outputs(batch), expected_outputs, bench.tolerance, "dropout")
    expected = plain.gradients(plain_batch)
    gradients_agree(dropped.gradients(batch), expected, bench.tolerance, "dropout")
    losses = [_training_loss(bench, seed) for seed in (1, 1, 2)]
    agree("loss", losses[1], losses[0], bench.tolerance, "the same dropout seed twice")
    assert losses[2] != losses[0], (
        "loss: equal for two dropout seeds: the seed, or dropout in training, is ignored"
    )
    assert losses[0] != expected.loss, "loss: train_step does not apply dropout between layers"


def _training_loss(bench: Bench, seed: int) -> float:
    trainer = bench.new_trainer(DROPPED, dropout_seed=seed)
    return float(trainer.train_step(trainer.put(DROPPED.make_batch())).loss)


def _getters(trainer: Trainer, batch: Any) -> Mapping[str, Callable[[], Array]]:
    return {
        "weight_ih_l0": lambda: trainer.parameters()["weight_ih_l0"],
        "bias_out": lambda: trainer.parameters()["bias_out"],
        "outputs": lambda: trainer.outputs(batch),
        "gradient of weight_ih_l0": lambda: trainer.gradients(batch).parameters["weight_ih_l0"],
        "hidden gradient": lambda: trainer.gradients(batch).hidden,
        "state h": lambda: _state_of(trainer)[0],
    }


def _state_of(trainer: Trainer) -> State:
    state = trainer.state()
    if state is None:
        raise NotApplicable("no state is carried; another check says so")
    return state


def _state_is_copied(bench: Bench, trainer: Trainer) -> None:
    shapes = SMALL.model(bench.cell).state_shapes(SMALL.batch)
    state = tuple(np.full(shape, 0.5, bench.dtype) for shape in shapes)
    trainer.load_state(state)
    _spoil(list(state))
    for name, array in zip(bench.cell.states, _state_of(trainer), strict=True):
        assert np.all(array == 0.5), (  # noqa: PLR2004
            f"state {name}: shares memory with the arrays given to load_state()"
        )


def _unchanged(actual: Parameters, expected: Parameters, why: str) -> None:
    for name, value in expected.items():
        assert np.array_equal(actual[name], value), f"{name}: changed {why}"


def _spoil(arrays: list[Any]) -> None:
    for array in arrays:
        array[...] = array.dtype == bool  # True in masks, because an empty mask has no loss


def _same_loss(trainer: Trainer, batch: Any, expected: float, why: str) -> None:
    change = abs(trainer.gradients(batch).loss - expected)
    assert change <= 1e-6 * abs(expected), f"loss: changed by {change:.2e}: {why}"
