"""Checks of masks, and of the state that is carried from one window of a stream to the next."""

from __future__ import annotations

from dataclasses import replace

from harness.contract import State, Trainer
from harness.testing.bench import DEEP, SMALL, Bench
from harness.testing.compare import agree, gradients_agree
from harness.testing.equations import run_equations

STREAM = DEEP


def masked_positions_change_nothing(bench: Bench) -> None:
    """Other targets at masked positions give the same loss and gradients."""
    for case in (DEEP,) if bench.has_few_shapes else (SMALL, DEEP):
        trainer, batch = bench.trainer(case), case.make_batch()
        targets = batch.targets.copy()
        targets[~batch.mask] = 1 - targets[~batch.mask] if case.loss != "cross_entropy" else 0
        actual = trainer.gradients(trainer.put(replace(batch, targets=targets)))
        expected = trainer.gradients(trainer.put(batch))
        where = "other targets at masked positions"
        gradients_agree(actual, expected, bench.tolerance, where)


def a_carried_state_continues_the_stream(bench: Bench) -> None:
    """A second window with ``carry`` starts from the final state of the first window."""
    trainer, reference = bench.trainer(STREAM), bench.reference_trainer(STREAM)
    first, second = STREAM.make_batch(4), STREAM.make_batch(5, carry=True)
    _agree_with_equations(bench, trainer, None, "first window")
    reference.outputs(reference.put(first))
    actual, expected = (each.gradients(each.put(second)) for each in (trainer, reference))
    gradients_agree(actual, expected, bench.tolerance, "carried state")
    _agree_with_equations(bench, trainer, _final_state(bench), "second window")


def a_batch_without_carry_starts_from_zeros(bench: Bench) -> None:
    """``carry=False`` ignores the carried state."""
    trainer, batch = bench.trainer(STREAM), STREAM.make_batch(4)
    fresh = trainer.outputs(trainer.put(batch))
    again = trainer.outputs(trainer.put(batch))
    agree("outputs", again, fresh, bench.tolerance, "a second batch without carry")


def training_leaves_the_final_state_carried(bench: Bench) -> None:
    """``train_step`` carries its final state, with or without ``carry``; ``gradients`` does not."""
    trainer = bench.trainer(STREAM)
    trainer.train_step(trainer.put(STREAM.make_batch(4)))
    expected = _final_state(bench)
    states_agree(bench, trainer, expected, "after train_step")
    trainer.gradients(trainer.put(STREAM.make_batch(6)))
    states_agree(bench, trainer, expected, "after gradients, which must not carry")


def state_survives_a_round_trip(bench: Bench) -> None:
    """``load_state`` of an earlier ``state`` continues from there; None means zeros."""
    trainer = bench.trainer(STREAM)
    second = trainer.put(STREAM.make_batch(5, carry=True))
    from_zeros = trainer.outputs(second)
    trainer.outputs(trainer.put(STREAM.make_batch(4)))
    state = trainer.state()
    expected = trainer.outputs(second)
    trainer.load_state(state)
    agree("outputs", trainer.outputs(second), expected, bench.tolerance, "after load_state")
    trainer.load_state(None)
    agree("outputs", trainer.outputs(second), from_zeros, bench.tolerance, "after load_state(None)")


def _agree_with_equations(bench: Bench, trainer: Trainer, state: State | None, where: str) -> None:
    batch = STREAM.make_batch(4) if state is None else STREAM.make_batch(5, carry=True)
    expected = run_equations(STREAM.model(bench.cell), STREAM.parameters(bench.cell), batch, state)
    agree("outputs", trainer.outputs(trainer.put(batch)), expected.outputs, bench.tolerance, where)
    states_agree(bench, trainer, expected.state, where)


def _final_state(bench: Bench) -> State:
    model, parameters = STREAM.model(bench.cell), STREAM.parameters(bench.cell)
    return run_equations(model, parameters, STREAM.make_batch(4)).state


def states_agree(bench: Bench, trainer: Trainer, expected: State, where: str) -> None:
    """Require that a trainer carries the expected state, each (layers, B, H)."""
    state = trainer.state()
    assert state is not None, f"state: expected the carried state, got None ({where})"
    for name, actual_part, expected_part in zip(bench.cell.states, state, expected, strict=True):
        agree(f"state {name}", actual_part, expected_part, bench.tolerance, where)
