"""Checks of snapshots: training goes on from one as if it had not been interrupted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.contract import Snapshot, Trainer
from harness.testing.backend.updates import COSINE, RULES
from harness.testing.bench import DROPPED, SMALL, Bench, Case
from harness.testing.compare import NotApplicable, agree

STEPS = 2


def training_goes_on_from_a_snapshot(bench: Bench) -> None:
    """After ``restore`` the same steps give the same losses and parameters, for every optimizer."""
    for title, rule in {**RULES, "cosine schedule": COSINE}.items():
        trainer = bench.trainer(SMALL, rule)
        _train(trainer, SMALL, 0)
        snapshot = _snapshot(trainer)
        expected = _train(trainer, SMALL, STEPS)
        trainer.restore(snapshot)
        _agree(bench, _train(trainer, SMALL, STEPS), expected, title)


def a_new_trainer_goes_on_with_dropout_and_carried_state(bench: Bench) -> None:
    """A new trainer goes on from a snapshot, with the next dropout masks and the carried state."""
    case = replace(DROPPED, batch=4)
    trainer = bench.new_trainer(case, RULES["adam"])
    _train(trainer, case, 0)
    snapshot = _snapshot(trainer)
    expected = _train(trainer, case, STEPS)
    other = bench.new_trainer(case, RULES["adam"])
    other.restore(snapshot)
    _agree(bench, _train(other, case, STEPS), expected, "a new trainer")


def _snapshot(trainer: Trainer) -> Snapshot:
    snapshot = trainer.snapshot()
    if snapshot is None:
        raise NotApplicable("this trainer gives no snapshot")
    for name, array in snapshot.items():
        assert isinstance(array, np.ndarray) and array.dtype != object, (
            f"snapshot: {name!r} must be an array of numbers, got {type(array).__name__}"
        )
    return snapshot


def _train(trainer: Trainer, case: Case, first: int) -> dict[str, np.ndarray]:
    batches = [case.make_batch(first + step, carry=True) for step in range(STEPS)]
    losses = [float(trainer.train_step(trainer.put(batch)).loss) for batch in batches]
    return {"losses": np.array(losses), **trainer.parameters()}


def _agree(
    bench: Bench, actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], where: str
) -> None:
    """Compare to the last bit; on a GPU, whose sums may have another order, to rounding."""
    for name, values in expected.items():
        if bench.device == "cpu":
            same = np.array_equal(actual[name], values)
            assert same, f"{name}: not the same to the last bit after restore ({where})"
        agree(f"{name} after restore", actual[name], values, bench.tolerance, where)
