"""Checks of checkpointed BPTT: function and gradients are the same for every chunk length."""

from __future__ import annotations

import numpy as np

from harness.contract import Trainer
from harness.contract.backend import Checkpoint
from harness.measure.proof.parity import STEP
from harness.testing.backend.gradients import DIFFERENCE, DIFFERENCE_TOLERANCE, needs_float64
from harness.testing.backend.grid import trained_gradients
from harness.testing.backend.windows import states_agree
from harness.testing.bench import DEEP, DROPPED, LONG, SGD, Bench, Case
from harness.testing.compare import NotApplicable, agree, gradients_agree

# Chunks that do not divide T, and one longer than T. ``auto`` does not checkpoint such short T. An
# engine that compiles blocks of 16 steps has those of 48 already.
CHUNKS: tuple[tuple[Case, Checkpoint], ...] = ((DEEP, 3), (LONG, 48), (DEEP, 100))


def checkpointed_bptt_equals_plain_bptt(bench: Bench) -> None:
    """All results of two windows, the second with ``carry``, equal those of plain BPTT."""
    _needs_checkpoints(bench)
    for case, checkpoint in CHUNKS[:1] if bench.has_few_shapes else CHUNKS:
        chunked = bench.new_trainer(case, STEP, checkpoint=checkpoint)
        plain = bench.trainer(case, STEP)
        for carry in (False, True):
            where = f"checkpoint {checkpoint}, {case}" + (", carried state" if carry else "")
            _agree(bench, case, (chunked, plain), carry=carry, where=where)


def _agree(
    bench: Bench, case: Case, trainers: tuple[Trainer, Trainer], *, carry: bool, where: str
) -> None:
    chunked, plain = trainers
    for trainer in trainers:
        trainer.load(case.parameters(bench.cell))
    batch = case.make_batch(7 if carry else 2, carry=carry)
    ours, theirs = chunked.put(batch), plain.put(batch)
    gradients_agree(chunked.gradients(ours), plain.gradients(theirs), bench.tolerance, where)
    before = plain.state()
    trained = trained_gradients(chunked, ours)
    for name, gradient in trained_gradients(plain, theirs).items():
        tensor = f"gradient of {name} in train_step"
        agree(tensor, trained[name], gradient, bench.tolerance, where)
    _states_agree(bench, trainers, f"{where}, after train_step")
    for trainer in trainers:
        trainer.load(case.parameters(bench.cell))
        trainer.load_state(before)
    agree("outputs", chunked.outputs(ours), plain.outputs(theirs), bench.tolerance, where)
    _states_agree(bench, trainers, f"{where}, after outputs")


def dropout_is_repeated_when_a_chunk_is_run_again(bench: Bench) -> None:
    """The gradient of a training step with dropout is that of its loss, with the same masks.

    Two trainers with one dropout seed draw the same masks, so the difference of their losses along
    a direction gives the gradient.
    """
    _needs_checkpoints(bench)
    needs_float64(bench)
    start = DROPPED.parameters(bench.cell)
    stepped = bench.new_trainer(DROPPED, STEP, dropout_seed=1, checkpoint=3)
    gradients = trained_gradients(stepped, stepped.put(DROPPED.make_batch()))
    for name in ("weight_ih_l0", "bias_ih_l1"):
        direction = np.random.default_rng(3).choice([-1.0, 1.0], size=start[name].shape)
        losses = []
        for sign in (1, -1):
            moved = start | {name: start[name] + sign * DIFFERENCE * direction}
            trainer = bench.new_trainer(
                DROPPED, SGD, parameters=moved, dropout_seed=1, checkpoint=3
            )
            losses.append(float(trainer.train_step(trainer.put(DROPPED.make_batch())).loss))
        expected = (losses[0] - losses[1]) / (2 * DIFFERENCE)
        along = float(np.sum(gradients[name] * direction))
        tensor = f"gradient of {name} along a direction"
        agree(tensor, along, expected, DIFFERENCE_TOLERANCE, "dropout, checkpoint 3")


def _states_agree(bench: Bench, trainers: tuple[Trainer, Trainer], where: str) -> None:
    chunked, plain = trainers
    expected = plain.state()
    assert expected is not None, (
        f"state: expected the carried state without checkpoints, got None ({where})"
    )
    states_agree(bench, chunked, expected, where)


def _needs_checkpoints(bench: Bench) -> None:
    if not bench.backend.checkpoints:
        raise NotApplicable("this backend has no checkpointed BPTT")
