"""Checks of training: update rules, clipping, schedules, repetition, and what may change weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.contract import Batch, Optimizer, Parameters
from harness.testing.bench import DEEP, SGD, SMALL, Bench, Case
from harness.testing.compare import agree
from harness.testing.equations import Updates

STEPS = 4
RULES = {
    "sgd with momentum": Optimizer("sgd", learning_rate=0.1, momentum=0.9),
    "rmsprop": Optimizer("rmsprop", learning_rate=0.01, decay=0.9),
    "adagrad": Optimizer("adagrad", learning_rate=0.1, epsilon=1e-10),
    "adam": Optimizer("adam", learning_rate=0.01),
}
CLIPPING = {
    "sgd, clip_norm that acts": Optimizer("sgd", learning_rate=0.1, clip_norm=0.01),
    "adam, clip_value": Optimizer("adam", learning_rate=0.01, clip_value=0.005),
    "sgd, exponential schedule, clip_norm that does not act": Optimizer(
        "sgd",
        learning_rate=0.1,
        schedule="exponential",
        schedule_steps=2,
        schedule_factor=0.5,
        clip_norm=100.0,
    ),
}
SCHEDULES = {
    "sgd, exponential schedule, clip_norm that does not act": CLIPPING[
        "sgd, exponential schedule, clip_norm that does not act"
    ],
    "rmsprop, cosine schedule": Optimizer(
        "rmsprop", learning_rate=0.01, schedule="cosine", schedule_steps=3
    ),
}


def one_step_follows_the_gradient(bench: Bench) -> None:
    """One step of plain SGD moves every parameter by the learning rate times the reference's gradient."""
    trainer, expected = bench.trainer(DEEP), bench.reference_gradients(DEEP)
    result = trainer.train_step(trainer.put(DEEP.make_batch()))
    agree("loss of train_step", float(result.loss), expected.loss, bench.tolerance, DEEP)
    trained = trainer.parameters()
    for name, start in DEEP.parameters(bench.cell).items():
        moved = start - SGD.learning_rate * expected.parameters[name]
        agree(f"{name} after train_step", trained[name], moved, bench.tolerance, DEEP)


def optimizer_steps_equal_the_update_rules(bench: Bench) -> None:
    """After each of a few steps of every optimizer, every parameter is where the rule puts it."""
    for title, rule in RULES.items():
        follows_the_rule(bench, title, rule)


def clipping_acts_before_the_update_and_is_reported(bench: Bench) -> None:
    """The norm is reported before clipping; ``clipped`` tells whether clipping changed a gradient."""
    for title, rule in CLIPPING.items():
        follows_the_rule(bench, title, rule)


def norms_that_float32_cannot_square_are_right(bench: Bench) -> None:
    """Gradients of 1e24 and of 1e-25 are finite in float32 and their squares are not: norm, clipping and update.

    The gradient's size is the readout's.
    """
    case = replace(SMALL, inputs="real", loss="squared_error")
    for size, targets in ((1e12, 1.0), (1e-25, 0.0)):
        parameters = case.parameters(bench.cell)
        parameters |= {name: parameters[name] * size for name in ("weight_out", "bias_out")}
        batch = case.make_batch()
        batch = replace(batch, targets=np.asarray(batch.targets * targets, np.float64))
        _clips_in_float32(bench, case, parameters, batch)


def gradients_that_explode_over_400_steps_are_clipped(bench: Bench) -> None:
    """A ReLU network whose recurrent weights are 1.1 times the identity: float32 cannot square its gradient."""
    case = Case(400, batch=4, hidden=8, inputs="real", loss="squared_error")
    parameters = case.parameters(bench.cell)
    parameters["weight_hh_l0"] = 1.1 * np.eye(case.hidden)
    parameters["bias_ih_l0"] = np.abs(parameters["bias_ih_l0"])
    _clips_in_float32(bench, case, parameters, case.make_batch())


def _clips_in_float32(bench: Bench, case: Case, parameters: Parameters, batch: Batch) -> None:
    """Do one step of gradient descent that clips to a norm of 1, and compare with the reference."""
    reference = (
        bench.equations_trainer(case)
        if bench.deviation is None
        else bench.new_trainer(case, dtype=bench.dtype)
    )
    reference.load(parameters)
    gradients, tolerance = (
        reference.gradients(reference.put(batch)).parameters,
        bench.tolerance_of("float32"),
    )
    updates = Updates(Optimizer("sgd", learning_rate=1.0, clip_norm=1.0), parameters)
    norm, clipped = updates.step(gradients)
    trainer = bench.new_trainer(case, updates.optimizer, "float32", parameters=parameters)
    result, where = trainer.train_step(trainer.put(batch)), f"a norm of {norm:.1e}"
    agree(
        "gradient_norm / its reference", float(result.gradient_norm) / norm, 1.0, tolerance, where
    )
    assert bool(result.clipped) == clipped, (
        f"clipped: expected {clipped}, got {bool(result.clipped)} ({where})"
    )
    trained = trainer.parameters()
    for name, value in updates.parameters.items():
        agree(f"{name} after train_step", trained[name], value, tolerance, where)


def schedules_set_the_learning_rate_of_each_step(bench: Bench) -> None:
    """Update n uses ``Optimizer.learning_rate_at(n)``, counted from 0."""
    for title, rule in SCHEDULES.items():
        follows_the_rule(bench, title, rule)


def follows_the_rule(bench: Bench, title: str, rule: Optimizer) -> None:
    """Train a few steps and compare with the rule, fed with the reference's gradients at its own parameters."""
    trainer, reference = bench.trainer(SMALL, rule), bench.reference_trainer(SMALL)
    updates = Updates(rule, SMALL.parameters(bench.cell))
    for step in range(STEPS):
        batch, where = SMALL.make_batch(seed=step), f"{title}, after step {step + 1}"
        expected = reference.gradients(reference.put(batch))
        found = trainer.train_step(trainer.put(batch))
        norm, clipped = updates.step(expected.parameters)
        agree("loss", float(found.loss), expected.loss, bench.tolerance, where)
        agree("gradient_norm", float(found.gradient_norm), norm, bench.tolerance, where)
        assert bool(found.clipped) == clipped, (
            f"clipped: expected {clipped}, got {bool(found.clipped)} ({where})"
        )
        trained = trainer.parameters()
        for name, value in updates.parameters.items():
            agree(name, trained[name], value, bench.tolerance, where)
        reference.load(updates.parameters)


def load_starts_the_optimizer_afresh(bench: Bench) -> None:
    """After ``load`` the same steps give the same parameters: moments and step count are forgotten."""
    trainer, batch = bench.trainer(SMALL, SCHEDULES["rmsprop, cosine schedule"]), SMALL.make_batch()
    runs = []
    for _ in range(2):
        trainer.load(SMALL.parameters(bench.cell))
        for _ in range(3):
            trainer.train_step(trainer.put(batch))
        runs.append(trainer.parameters())
    for name, value in runs[0].items():
        agree(f"{name} after load", runs[1][name], value, bench.tolerance)


def only_train_step_and_load_change_parameters(bench: Bench) -> None:
    """``put``, ``outputs``, ``gradients`` and ``load_state`` leave every parameter as it was."""
    trainer = bench.trainer(SMALL)
    before = trainer.parameters()
    batch = trainer.put(SMALL.make_batch())
    trainer.outputs(batch)
    trainer.gradients(batch)
    trainer.load_state(trainer.state())
    for name, value in trainer.parameters().items():
        assert np.array_equal(value, before[name]), f"{name}: changed by outputs() or gradients()"


def the_same_trial_twice_gives_the_same_losses(bench: Bench) -> None:
    """Two trainers with equal weights, batches and seeds give equal losses."""
    losses = []
    for trainer in (bench.trainer(SMALL, RULES["adam"]), bench.new_trainer(SMALL, RULES["adam"])):
        results = [trainer.train_step(trainer.put(SMALL.make_batch(seed))) for seed in range(STEPS)]
        losses.append([float(result.loss) for result in results])
    # Parallel sums may be ordered anew in each run: rounding may differ, no more.
    agree("losses of the second run", np.array(losses[1]), np.array(losses[0]), bench.tolerance)
