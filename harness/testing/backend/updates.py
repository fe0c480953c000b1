"""Checks of training: update rules, clipping, schedules, repetition, and changes of weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.contract import Batch, Optimizer, Parameters
from harness.testing.bench import DEEP, SGD, SMALL, Bench, Case
from harness.testing.compare import TOLERANCE, agree
from harness.testing.equations import Updates

STEPS = 4
RULES = {
    "sgd with momentum": Optimizer("sgd", learning_rate=0.1, momentum=0.9),
    "rmsprop": Optimizer("rmsprop", learning_rate=0.01, decay=0.9),
    "adagrad": Optimizer("adagrad", learning_rate=0.1, epsilon=1e-10),
    "adam": Optimizer("adam", learning_rate=0.01),
    "adam with weight decay, epsilon in the root": Optimizer(
        "adam", 0.01, beta1=0.8, beta2=0.9, epsilon=1e-3, epsilon_in_root=True, weight_decay=0.1
    ),
    "rmsprop from a mean square of 1": Optimizer("rmsprop", 0.01, initial_square=1.0),
}
EXPONENTIAL = {
    "sgd, exponential schedule, clip_norm that does not act": Optimizer(
        "sgd",
        learning_rate=0.1,
        schedule="exponential",
        schedule_steps=2,
        schedule_factor=0.5,
        clip_norm=100.0,
    )
}
COSINE = Optimizer(
    "rmsprop", learning_rate=0.01, schedule="cosine", schedule_steps=3, warmup_steps=2
)
CLIPPING = {
    "sgd, clip_norm that acts": Optimizer("sgd", learning_rate=0.1, clip_norm=0.01),
    "adam, clip_value": Optimizer("adam", learning_rate=0.01, clip_value=0.005),
    **EXPONENTIAL,
}
SCHEDULES = {
    **EXPONENTIAL,
    "rmsprop, cosine schedule after a warm-up": COSINE,
    "adam after a warm-up": Optimizer("adam", learning_rate=0.01, warmup_steps=3),
}


def one_step_follows_the_gradient(bench: Bench) -> None:
    """A step of plain SGD moves every parameter by learning rate times the reference's gradient."""
    trainer, expected = bench.trainer(DEEP), bench.reference_gradients(DEEP)
    result = trainer.train_step(trainer.put(DEEP.make_batch()))
    agree("loss of train_step", float(result.loss), expected.loss, bench.tolerance, DEEP)
    trained = trainer.parameters()
    for name, start in DEEP.parameters(bench.cell).items():
        moved = start - SGD.learning_rate * expected.parameters[name]
        agree(f"{name} after train_step", trained[name], moved, bench.tolerance, DEEP)


def optimizer_steps_equal_the_update_rules(bench: Bench) -> None:
    """After each of a few steps of every optimizer, every parameter has the value of the rule.

    Rules with options that the backend does not declare are left out.
    """
    for title, rule in RULES.items():
        if set(rule.options()) <= set(bench.backend.rule_options):
            follows_the_rule(bench, title, rule)


def clipping_acts_before_the_update_and_is_reported(bench: Bench) -> None:
    """The reported norm is that before clipping; ``clipped`` says whether a gradient changed."""
    for title, rule in CLIPPING.items():
        follows_the_rule(bench, title, rule)


def norms_that_float32_cannot_square_are_right(bench: Bench) -> None:
    """Norm, clipping and update are right for gradients of 1e24 and 1e-25.

    They fit into float32, but their squares do not. The readout sets the size of the gradient.
    """
    case = replace(SMALL, inputs="real", loss="squared_error")
    for size, targets in ((1e12, 1.0), (1e-25, 0.0)):
        parameters = case.parameters(bench.cell)
        parameters |= {name: parameters[name] * size for name in ("weight_out", "bias_out")}
        batch = case.make_batch()
        batch = replace(batch, targets=np.asarray(batch.targets * targets, np.float64))
        _clips_in_float32(bench, case, parameters, batch)


def gradients_that_explode_over_400_steps_are_clipped(bench: Bench) -> None:
    """A ReLU network with recurrent weights of 1.1 times the identity is clipped correctly.

    Float32 cannot hold the square of its gradient.
    """
    case = Case(400, batch=4, hidden=8, inputs="real", loss="squared_error")
    parameters = case.parameters(bench.cell)
    parameters["weight_hh_l0"] = 1.1 * np.eye(case.hidden)
    parameters["bias_ih_l0"] = np.abs(parameters["bias_ih_l0"])
    _clips_in_float32(bench, case, parameters, case.make_batch())


def _clips_in_float32(bench: Bench, case: Case, parameters: Parameters, batch: Batch) -> None:
    """Do one step of gradient descent that clips to a norm of 1; compare with the reference."""
    reference, tolerance = bench.reference_trainer(case), TOLERANCE["float32"]
    reference.load(parameters)
    gradients = reference.gradients(reference.put(batch)).parameters
    updates = Updates(Optimizer("sgd", learning_rate=1.0, clip_norm=1.0), parameters)
    norm, clipped = updates.step(gradients)
    trainer = bench.new_trainer(case, updates.optimizer, "float32", parameters=parameters)
    result, where = trainer.train_step(trainer.put(batch)), f"a norm of {norm:.1e}"
    ratio = float(result.gradient_norm) / norm
    agree("gradient_norm / its reference", ratio, 1.0, tolerance, where)
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
    """Train a few steps; compare with the rule applied to the reference's gradients."""
    trainer, reference = bench.trainer(SMALL, rule), bench.reference_trainer(SMALL)
    updates = Updates(rule, SMALL.parameters(bench.cell))
    for step in range(STEPS):
        batch, where = SMALL.make_batch(seed=step), f"{title}, after step {step + 1}"
        expected = reference.gradients(reference.put(batch))
        actual = trainer.train_step(trainer.put(batch))
        norm, clipped = updates.step(expected.parameters)
        agree("loss", float(actual.loss), expected.loss, bench.tolerance, where)
        agree("gradient_norm", float(actual.gradient_norm), norm, bench.tolerance, where)
        assert bool(actual.clipped) == clipped, (
            f"clipped: expected {clipped}, got {bool(actual.clipped)} ({where})"
        )
        trained = trainer.parameters()
        for name, value in updates.parameters.items():
            agree(name, trained[name], value, bench.tolerance, where)
        reference.load(updates.parameters)


def load_starts_the_optimizer_afresh(bench: Bench) -> None:
    """After ``load`` the same steps give the same parameters: moments and step count are reset."""
    trainer, batch = bench.trainer(SMALL, COSINE), SMALL.make_batch()
    runs = []
    for _ in range(2):
        trainer.load(SMALL.parameters(bench.cell))
        for _ in range(3):
            trainer.train_step(trainer.put(batch))
        runs.append(trainer.parameters())
    for name, value in runs[0].items():
        agree(f"{name} after load", runs[1][name], value, bench.tolerance)


def only_train_step_and_load_change_parameters(bench: Bench) -> None:
    """``put``, ``outputs``, ``gradients`` and ``load_state`` change no parameter."""
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
    # Parallel sums may have another order in each run, so only rounding may differ.
    agree("losses of the second run", np.array(losses[1]), np.array(losses[0]), bench.tolerance)
