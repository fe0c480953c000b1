"""Checkpointed BPTT is the same function in less memory, with dropout, masks and carry."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from harness.cells import harness_cells
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness_numpy import NumpyBackend

# One product, several, one inside the step, none; vectors; one state and two; a matrix.
KINDS = {
    "rnn", "lstm", "gru", "lstm_peephole", "gru_reset_before", "sru", "mingru", "gated_delta",
}  # fmt: skip
CELLS = {cell.name: cell for cell in harness_cells() if cell.name in KINDS}
V, K, H, B, T = 5, 3, 3, 2, 7
TOLERANCE = 1e-13  # float64, sums over time cut into pieces
each_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def model_of(cell, layers=2, dropout=0.0, hidden=H):
    return Model(cell, Inputs("token", V), hidden, layers, K, "cross_entropy", dropout)


def trainer_of(model, checkpoint, dtype="float64", variant="vectorised"):
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()
    }
    execution = Execution(variant, dtype=dtype, dropout_seed=3, checkpoint=checkpoint)
    return NumpyBackend().trainer(model, Optimizer("sgd", learning_rate=0.1), weights, execution)


def batch_of(steps=T, size=B, scored=0.5, carry=False):
    rng = np.random.default_rng(1)
    inputs, targets = (rng.integers(0, high, (steps, size)).astype(np.int32) for high in (V, K))
    mask = rng.random((steps, size)) < scored
    mask[-1, 0] = True
    return Batch(inputs, targets, mask, carry)


def variants():
    return [
        pytest.param(c, v, id=f"{v}-{c.name}")
        for c in CELLS.values()
        for v in NumpyBackend().variants(c)
    ]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=TOLERANCE, err_msg=name
        )


@pytest.mark.parametrize(("cell", "variant"), variants())
@pytest.mark.parametrize("checkpoint", [1, 3, T, 100])
@pytest.mark.parametrize("scored", [0.1, 1.0])
def test_gradients_do_not_depend_on_the_chunks(cell, variant, checkpoint, scored):
    batch, found = batch_of(scored=scored, carry=True), []
    rng = np.random.default_rng(2)
    state = tuple(rng.normal(size=shape) for shape in model_of(cell).state_shapes(B))
    for chunk in ("off", checkpoint):
        trainer = trainer_of(model_of(cell), chunk, variant=variant)
        trainer.load_state(state)
        found.append(trainer.gradients(trainer.put(batch)))
    whole, cut = found
    assert cut.loss == pytest.approx(whole.loss, abs=TOLERANCE)
    assert_same(cut.parameters, whole.parameters)
    np.testing.assert_allclose(cut.hidden, whole.hidden, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("variant", NumpyBackend().variants(CELLS["lstm"]))
def test_training_with_dropout_draws_the_same_masks_in_chunks(variant):
    trainers = [
        trainer_of(model_of(CELLS["lstm"], 3, 0.5), "off"),
        trainer_of(model_of(CELLS["lstm"], 3, 0.5), 3, variant=variant),
    ]
    losses = []
    for trainer in trainers:
        batch = trainer.put(batch_of())
        losses.append([float(trainer.train_step(batch).loss) for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=TOLERANCE)
    assert_same(trainers[1].parameters(), trainers[0].parameters())


@each_cell
def test_outputs_and_the_final_state_do_not_depend_on_the_chunks(cell):
    results = []
    for chunk in ("off", 2):
        trainer = trainer_of(model_of(cell), chunk)
        batch = trainer.put(batch_of())
        results.append(
            [
                trainer.outputs(batch),
                *trainer.state(),
                *(trainer.train_step(batch), trainer.state())[1],
            ]
        )
    for whole, cut in zip(*results, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=0, atol=TOLERANCE)


def test_the_loss_keeps_its_dtype_in_chunks():
    trainer = trainer_of(model_of(CELLS["gru"]), 2, "float32")
    assert trainer.train_step(trainer.put(batch_of())).loss.dtype == np.float32


def peak_bytes(trainer, steps):
    batch = trainer.put(batch_of(steps, 4, scored=1.0))
    tracemalloc.start()
    trainer.train_step(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("variant", sorted({*NumpyBackend().variants(CELLS["lstm"])} - {"loop"}))
def test_memory_grows_with_the_root_of_the_length(variant):
    model = model_of(CELLS["lstm"], layers=1, hidden=32)
    cut = [
        peak_bytes(trainer_of(model, chunk, "float32", variant), steps)
        for chunk, steps in ((16, 256), (64, 4096))
    ]
    assert cut[1] < 8 * cut[0]  # 16 times as long: 4 times the chunk, 4 times the chunks
    assert 8 * cut[1] < peak_bytes(trainer_of(model, "off", "float32"), 4096)


def test_a_chunk_without_scored_steps_adds_nothing():
    batch = batch_of()
    mask = np.zeros_like(batch.mask)
    mask[-1] = True
    trainers = [trainer_of(model_of(CELLS["lstm"]), chunk) for chunk in ("off", 2)]
    whole, cut = (trainer.gradients(trainer.put(replace(batch, mask=mask))) for trainer in trainers)
    assert_same(cut.parameters, whole.parameters)
