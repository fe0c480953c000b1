"""Checks of checkpointed BPTT: the same function and gradients as without, whatever the chunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.contract import Trainer
from harness.contract.backend import Checkpoint
from harness.measure.proof.parity import STEP
from harness.testing.backend.grid import trained_gradients
from harness.testing.bench import DEEP, LONG, SGD, Bench, Case
from harness.testing.compare import NotApplicable, agree

# Chunks that do not divide T, and one longer than the batch; ``auto`` keeps everything at lengths
# as short as these.
CHUNKS: tuple[tuple[Case, Checkpoint], ...] = ((DEEP, 3), (LONG, 10), (DEEP, 100))
DROPPED = replace(DEEP, dropout=0.5)
DIFFERENCE = 1e-6
DIFFERENCE_TOLERANCE = 1e-6


def checkpointed_bptt_equals_plain_bptt(bench: Bench) -> None:
    """Outputs, loss, every gradient, hidden gradients and the final state of two windows, the second with ``carry``."""
    _needs_checkpoints(bench)
    for case, checkpoint in CHUNKS:
        chunked, plain = (
            bench.new_trainer(case, STEP, checkpoint=checkpoint),
            bench.new_trainer(case, STEP),
        )
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
    found, expected = chunked.gradients(ours), plain.gradients(theirs)
    agree("loss", found.loss, expected.loss, bench.tolerance, where)
    agree("hidden gradient", found.hidden, expected.hidden, bench.tolerance, where)
    before = plain.state()
    trained, trained_plain = trained_gradients(chunked, ours), trained_gradients(plain, theirs)
    for name, gradient in expected.parameters.items():
        agree(f"gradient of {name}", found.parameters[name], gradient, bench.tolerance, where)
        agree(
            f"gradient of {name} in train_step",
            trained[name],
            trained_plain[name],
            bench.tolerance,
            where,
        )
    _states_agree(bench, trainers, f"{where}, after train_step")
    for trainer in trainers:
        trainer.load(case.parameters(bench.cell))
        trainer.load_state(before)
    agree("outputs", chunked.outputs(ours), plain.outputs(theirs), bench.tolerance, where)
    _states_agree(bench, trainers, f"{where}, after outputs")


def dropout_is_repeated_when_a_chunk_is_run_again(bench: Bench) -> None:
    """The gradient of a training step with dropout is that of the loss it reports, with the masks that it drew.

    Two trainers of one dropout seed draw the same masks: the difference of their losses along a
    direction is the gradient's.
    """
    _needs_checkpoints(bench)
    if bench.dtype != "float64":
        raise NotApplicable("finite differences need float64, which this variant does not support")
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
        agree(
            f"gradient of {name} along a direction",
            along,
            expected,
            DIFFERENCE_TOLERANCE,
            "dropout, checkpoint 3",
        )


def _states_agree(bench: Bench, trainers: tuple[Trainer, Trainer], where: str) -> None:
    found, expected = (trainer.state() for trainer in trainers)
    assert found is not None, f"state: expected the carried state, got None ({where})"
    assert expected is not None, (
        f"state: expected the carried state without checkpoints, got None ({where})"
    )
    for name, ours, theirs in zip(bench.cell.states, found, expected, strict=True):
        agree(f"state {name}", ours, theirs, bench.tolerance, where)


def _needs_checkpoints(bench: Bench) -> None:
    if not bench.backend.checkpoints:
        raise NotApplicable("this backend has no checkpointed BPTT")
