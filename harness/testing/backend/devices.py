"""Checks of data-parallel trainers: several devices train as one, and report their number."""

from __future__ import annotations

from harness.contract import Execution, Optimizer, Trainer, UnavailableError
from harness.testing.bench import Bench, Case
from harness.testing.compare import NotApplicable, agree, gradients_agree

DEVICES = 2
STEPS = 4
RULE = Optimizer("adam", learning_rate=0.01, clip_norm=0.1)
# Masks make the devices' shares of the mean loss unequal; the batch can be split evenly.
CASES = (Case(7, batch=4), Case(7, batch=6, layers=2, inputs="real", loss="squared_error"))


def several_devices_train_as_one(bench: Bench) -> None:
    """All results of a stream on several devices equal those on one device."""
    for case in CASES:
        single, several = (_trainer(bench, case, devices) for devices in (1, DEVICES))
        where = f"{DEVICES} devices, {case}"
        for step in range(STEPS):
            batch = case.make_batch(step, carry=step > 0)
            expected, actual = (
                trainer.train_step(trainer.put(batch)) for trainer in (single, several)
            )
            for name in ("loss", "gradient_norm"):
                value, right = float(getattr(actual, name)), float(getattr(expected, name))
                agree(name, value, right, bench.tolerance, where)
            assert bool(actual.clipped) == bool(expected.clipped), (
                f"clipped: expected {expected.clipped} ({where})"
            )
        _agree(bench, case, (single, several), where)


def it_says_over_how_many_devices_it_trained(bench: Bench) -> None:
    """``placement().devices`` and the number of ranks are those of the last training step."""
    case, used = CASES[0], {}
    for devices in (1, DEVICES):
        trainer = _trainer(bench, case, devices)
        trainer.train_step(trainer.put(case.make_batch()))
        trainer.synchronize()
        placement = trainer.placement()
        used[devices] = None if placement is None else placement.devices
        ranks = trainer.ranks()
        assert len(ranks) in {0, devices}, f"ranks: expected none or {devices}, got {len(ranks)}"
    assert used == {1: 1, DEVICES: DEVICES}, f"placement: devices asked for and reported: {used}"


def _agree(bench: Bench, case: Case, trainers: tuple[Trainer, Trainer], where: str) -> None:
    single, several = trainers
    for name, value in single.parameters().items():
        agree(name, several.parameters()[name], value, bench.tolerance, where)
    state, expected_state = several.state(), single.state()
    for batch in (case.make_batch(9, carry=True), case.make_batch(9).first(3)):
        expected, actual = (trainer.gradients(trainer.put(batch)) for trainer in trainers)
        gradients_agree(actual, expected, bench.tolerance, f"gradients(), {where}")
        expected_outputs, outputs = (trainer.outputs(trainer.put(batch)) for trainer in trainers)
        agree("outputs", outputs, expected_outputs, bench.tolerance, where)
    for part, expected_part in zip(state or (), expected_state or (), strict=True):
        agree("state", part, expected_part, bench.tolerance, where)


def _trainer(bench: Bench, case: Case, devices: int) -> Trainer:
    """Return a trainer on ``devices`` devices.

    Raises:
        NotApplicable: the backend supports one device only, or cannot run this.
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
    except UnavailableError as error:  # this process was not started for several devices
        raise NotApplicable(str(error)) from error
