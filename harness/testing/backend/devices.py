"""Checks of data-parallel trainers: several devices train what one does, and say how many they are."""

from __future__ import annotations

from dataclasses import replace

from harness.contract import Execution, Optimizer, Trainer, UnavailableError
from harness.testing.bench import Bench, Case
from harness.testing.compare import NotApplicable, agree

DEVICES = 2
STEPS = 4
RULE = Optimizer("adam", learning_rate=0.01, clip_norm=0.1)
# Masks make the shares of the mean loss unequal; the batch can be split evenly.
CASES = (Case(7, batch=4), Case(7, batch=6, layers=2, inputs="real", loss="squared_error"))


def several_devices_train_as_one(bench: Bench) -> None:
    """Losses, norms, clipping, weights, outputs, gradients and the carried state of a stream equal one device's."""
    for case in CASES:
        one, several = (_trainer(bench, case, devices) for devices in (1, DEVICES))
        where = f"{DEVICES} devices, {case}"
        for step in range(STEPS):
            batch = case.make_batch(step, carry=step > 0)
            expected, found = (trainer.train_step(trainer.put(batch)) for trainer in (one, several))
            agree("loss", float(found.loss), float(expected.loss), bench.tolerance, where)
            agree(
                "gradient_norm",
                float(found.gradient_norm),
                float(expected.gradient_norm),
                bench.tolerance,
                where,
            )
            assert bool(found.clipped) == bool(expected.clipped), (
                f"clipped: expected {expected.clipped} ({where})"
            )
        _agree(bench, case, (one, several), where)


def it_says_over_how_many_devices_it_trained(bench: Bench) -> None:
    """``placement().devices`` is that of the last training step; the ranks, where there are any, are as many."""
    (case, *_), used = CASES, {}
    for devices in (1, DEVICES):
        trainer = _trainer(bench, case, devices)
        trainer.train_step(trainer.put(case.make_batch()))
        trainer.synchronize()
        placement = trainer.placement()
        used[devices] = None if placement is None else placement.devices
        ranks = trainer.ranks()
        assert len(ranks) in {0, devices}, f"ranks: expected none or {devices}, got {len(ranks)}"
    assert used == {1: 1, DEVICES: DEVICES}, f"placement: devices asked for and told: {used}"


def _agree(bench: Bench, case: Case, trainers: tuple[Trainer, Trainer], where: str) -> None:
    one, several = trainers
    for name, value in one.parameters().items():
        agree(name, several.parameters()[name], value, bench.tolerance, where)
    state, expected_state = several.state(), one.state()
    for batch in (
        case.make_batch(9, carry=True),
        replace(case.make_batch(9), carry=False).first(3),
    ):
        expected, found = (trainer.gradients(trainer.put(batch)) for trainer in trainers)
        agree("loss of gradients", found.loss, expected.loss, bench.tolerance, where)
        agree("hidden gradient", found.hidden, expected.hidden, bench.tolerance, where)
        for name, gradient in expected.parameters.items():
            agree(f"gradient of {name}", found.parameters[name], gradient, bench.tolerance, where)
        outputs, expected_outputs = (
            trainer.outputs(trainer.put(batch)) for trainer in (several, one)
        )
        agree("outputs", outputs, expected_outputs, bench.tolerance, where)
    for ours, theirs in zip(state or (), expected_state or (), strict=True):
        agree("state", ours, theirs, bench.tolerance, where)


def _trainer(bench: Bench, case: Case, devices: int) -> Trainer:
    """Return a trainer on so many devices.

    Raises:
        NotApplicable: the backend has one device only, or cannot run this.
    """
    backend = bench.backend
    if not backend.data_parallel:
        raise NotApplicable("this backend trains on one device only")
    alike = [name for name in backend.devices() if name.partition(":")[0] == bench.device]
    if bench.device != "cpu" and len(alike) < devices:
        raise NotApplicable(f"several devices need {devices} of {bench.device} here")
    if reason := bench.why_unsupported(case, bench.dtype, RULE):
        raise NotApplicable(reason)
    execution = Execution(bench.variant, bench.device, bench.dtype, devices=devices)
    try:
        return backend.trainer(case.model(bench.cell), RULE, case.parameters(bench.cell), execution)
    except UnavailableError as error:  # this process was not started for several
        raise NotApplicable(str(error)) from error
