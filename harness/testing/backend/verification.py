"""Checks of what a backend claims: names, devices, dtypes, and that its work is done in time."""

from __future__ import annotations

import itertools
import re
import statistics
from dataclasses import replace
from time import perf_counter
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from harness.contract import (
    Available,
    Backend,
    Batch,
    Cell,
    Dtype,
    Execution,
    HarnessError,
    Missing,
    Optimizer,
    Parameters,
    Trainer,
    Trial,
)
from harness.contract.backend import DeviceBatch
from harness.contract.wording import error_text
from harness.measure.timing.audit import Auditor, Claim
from harness.measure.timing.clock import MonotonicClock, time_steps
from harness.plugins.declarations import check_declaration
from harness.testing.bench import SGD, SMALL, Bench, Case
from harness.testing.compare import NotApplicable, agree, error_of

# Some hundred roundings of 6e-8 each. Products of reduced precision exceed it by far.
FLOAT32_TOLERANCE = 5e-5
# A cell that magnifies rounding may differ by this factor times the effect of rounding the weights.
ROUNDINGS = 10.0
EXACT = 1e-9
WORK = Case(32, batch=16, hidden=32)  # some megaflops: a few milliseconds of work
# (hidden, batch) at which the default variant must exist.
SIZES = ((1, 1), (100, 1), (128, 32), (512, 64))
BLOCKS, BLOCK_STEPS = 5, 8  # timed before the audit
ENOUGH_SECONDS = 0.005
FETCH_SECONDS = 0.002  # a fetch this short proves nothing
FETCH_SHARE = 0.25  # of the step: a fetch after synchronize() is a copy, not work


def it_declares_itself_sanely(backend: Backend, cells: tuple[Cell, ...]) -> None:
    """Name, availability, versions, devices and variants are as in the contract."""
    check_declaration("backend", backend)
    answer = backend.availability()
    assert isinstance(answer, (Available, Missing)), (
        f"availability: expected Available or Missing, got {answer!r}"
    )
    if isinstance(answer, Missing):
        assert answer.reason, "availability: Missing must say the reason"
        assert answer.fix, "availability: Missing must say the fix"
        return
    versions = backend.versions()
    assert versions, "versions: expected at least one library"
    assert all(re.match(r"\d", version) for version in versions.values()), (
        f"versions: odd version in {versions}"
    )
    _distinct_names("device", backend.devices(), r"[A-Za-z0-9._:-]{1,64}")
    assert isinstance(backend.checkpoints, bool), (
        f"checkpoints: expected a bool, got {backend.checkpoints!r}"
    )
    assert isinstance(backend.data_parallel, bool), (
        f"data_parallel: expected a bool, got {backend.data_parallel!r}"
    )
    for device in backend.devices():
        dtypes = backend.dtypes(device)
        assert set(dtypes) <= set(get_args(Dtype)), f"dtypes: unknown names in {dtypes}"
        _distinct_names(f"dtype on {device}", dtypes, r"\w+")
    _variants_are_sane(backend, cells)


def _variants_are_sane(backend: Backend, cells: tuple[Cell, ...]) -> None:
    missing = backend.missing_variants()
    for name, why in missing.items():
        assert isinstance(why, Missing), f"missing variant {name}: expected Missing, got {why!r}"
        assert why.reason, f"missing variant {name}: Missing must say the reason"
        assert why.fix, f"missing variant {name}: Missing must say the fix"
    every = {cell.name: backend.variants(cell) for cell in cells}
    assert any(every.values()), f"variants: none for any of the cells {', '.join(every)}"
    listed = backend.all_variants()
    for cell in cells:
        names = every[cell.name]
        if names == ():
            continue
        extra = sorted(set(names) - set(names if listed is None else listed))
        assert not extra, f"all_variants: expected {extra} too, which {cell.name} has"
        _distinct_names(f"variant of {cell.name}", names, r"[A-Za-z0-9._-]{1,64}")
        both = sorted(set(names) & set(missing))
        assert not both, f"variants of {cell.name}: {both} are offered and missing at the same time"
        for hidden, batch in SIZES:
            trial = _trial(backend, cell, names[0], hidden, batch)
            for method in ("default_variant", "fastest_variant"):
                chosen = getattr(backend, method)(cell, trial)
                assert chosen in names, f"{method} of {cell.name}: {chosen!r} is not one of {names}"


def _trial(backend: Backend, cell: Cell, variant: str, hidden: int, batch: int) -> Trial:
    sizes = {"length": 64, "hidden": hidden, "batch": batch, "device": backend.devices()[0]}
    return Trial(backend=backend.name, variant=variant, task="conformance", cell=cell.name, **sizes)


def unknown_devices_and_variants_are_refused(bench: Bench) -> None:
    """A device or variant that does not exist raises a ``HarnessError``: no silent fallback."""
    model, parameters = SMALL.model(bench.cell), SMALL.parameters(bench.cell)
    good = Execution(bench.variant, bench.device, bench.dtype)
    for what, execution in (
        ("device", replace(good, device="no-such-device")),
        ("variant", replace(good, variant="no-such-variant")),
    ):
        try:
            bench.backend.trainer(model, Optimizer(), parameters, execution)
        except HarnessError as error:
            assert "no-such" in str(error), (
                f"{what}: the message does not name what was asked for: {error}"
            )
        except Exception as error:
            problem = f"{what}: expected a HarnessError, got {error_text(error)}"
            raise AssertionError(problem) from error
        else:
            problem = f"{what}: 'no-such-{what}' was accepted; it must raise a HarnessError"
            raise AssertionError(problem)


def float64_is_computed_in_float64(bench: Bench) -> None:
    """Outputs are float64 and agree with the float64 reference to the last digits."""
    case = bench.rounding_case
    if bench.why_unsupported(case, "float64"):
        raise NotApplicable("this variant does not support float64")
    trainer, reference = bench.trainer(case, dtype="float64"), bench.reference_trainer(case)
    batch = case.make_batch()
    outputs = trainer.outputs(trainer.put(batch))
    assert outputs.dtype == "float64", f"outputs: expected dtype float64, got {outputs.dtype}"
    agree("outputs", outputs, reference.outputs(reference.put(batch)), EXACT, "float64")


def float32_is_computed_in_float32(bench: Bench) -> None:
    """Float32 and float64 differ, but by rounding only, for exact float32 weights and inputs.

    A cell may magnify rounding: then more is allowed, by the effect of half an epsilon on each
    weight.
    """
    case = replace(bench.rounding_case, inputs="real")
    if bench.why_unsupported(case, "float32"):
        raise NotApplicable("this variant does not support float32")
    start = case.parameters(bench.cell)
    rounded: Parameters = {name: _rounded(value) for name, value in start.items()}
    batch = case.make_batch()
    batch = Batch(_rounded(batch.inputs), batch.targets, batch.mask)
    trainer = bench.new_trainer(case, dtype="float32", parameters=rounded)
    reference = bench.reference_trainer(case)
    reference.load(rounded)
    outputs, exact = trainer.outputs(trainer.put(batch)), reference.outputs(reference.put(batch))
    for name, array in {"outputs": outputs, **trainer.parameters()}.items():
        assert array.dtype == "float32", f"{name}: expected dtype float32, got {array.dtype}"
    rng, half = np.random.default_rng(3), 0.5 * float(np.finfo(np.float32).eps)
    reference.load(
        {
            name: part * (1 + half * rng.choice([-1, 1], part.shape))
            for name, part in rounded.items()
        }
    )
    effect = error_of(reference.outputs(reference.put(batch)), exact)
    agree("outputs", outputs, exact, max(FLOAT32_TOLERANCE, ROUNDINGS * effect), "float32")
    same = np.array_equal(outputs, exact.astype(np.float32))
    assert not same, (
        "outputs: equal to the float64 result rounded to float32: float32 was computed in float64"
    )


def results_lie_where_they_were_asked_for(bench: Bench) -> None:
    """After a training step, ``placement()`` names the requested device and dtype."""
    for dtype in bench.usable_dtypes:
        trainer = bench.new_trainer(SMALL, dtype=dtype)
        trainer.train_step(trainer.put(SMALL.make_batch()))
        placement = trainer.placement()
        if placement is None:
            raise NotApplicable(
                "placement() returns None: every trial is flagged, because its device cannot be "
                "verified"
            )
        device = bench.device
        assert device in (placement.device, placement.device.partition(":")[0]), (
            f"placement: {device} was asked for, the results lie on {placement.device}"
        )
        assert placement.dtype == dtype, (
            f"placement: {dtype} was asked for, the results are {placement.dtype}"
        )


def synchronize_waits_for_the_work(bench: Bench) -> None:
    """After ``synchronize()`` the loss and the parameters are ready: a fetch takes little time.

    The time of ``train_step`` and ``synchronize`` is compared with the time of the first fetch.
    Medians of repeated steps decide, and the check fails only after three failures in a row, so
    that a busy machine does not cause it.
    """
    trainer, batch = _enough_work(bench)
    for _ in range(3):
        samples = [_step_and_fetch(trainer, batch) for _ in range(5)]
        step, fetch = (statistics.median(column) for column in zip(*samples, strict=True))
        if fetch <= max(FETCH_SHARE * step, FETCH_SECONDS):
            return
    raise AssertionError(
        "loss and parameters: not ready after synchronize(): fetching them took "
        f"{fetch * 1e3:.1f} ms, train_step() and synchronize() {step * 1e3:.1f} ms"
    )


def a_block_of_steps_takes_as_long_as_it_says(bench: Bench) -> None:
    """After a block of many steps all work is done: the audit of every trial's speed."""
    trainer, clock, host = bench.trainer(SMALL), MonotonicClock(), SMALL.make_batch()
    label = f"backend {bench.backend.name!r}"
    time_steps(trainer, [trainer.put(host)], clock, label)  # compiles
    trainer.outputs(trainer.put(host))
    trainer.gradients(trainer.put(host))
    inside, begin = 0.0, clock.now()
    for _ in range(BLOCKS):
        batches = [trainer.put(host) for _ in range(BLOCK_STEPS)]
        inside += time_steps(trainer, batches, clock, label)[1]
        del batches
    claim = Claim(BLOCKS * BLOCK_STEPS, inside, BLOCKS, clock.now() - begin - inside)
    finding = Auditor(trainer, SGD, clock, label, host, host).finding(claim, itertools.repeat(host))
    assert finding is None, f"speed: {finding}"


def _enough_work(bench: Bench) -> tuple[Trainer, DeviceBatch]:
    for factor in (1, 4, 16, 64):
        case = replace(WORK, batch=WORK.batch * factor)
        dtype = bench.dtype if bench.why_unsupported(case, "float32") else "float32"
        trainer = bench.new_trainer(case, dtype=dtype)
        batch = trainer.put(case.make_batch())
        _step_and_fetch(trainer, batch)  # compiles
        fastest = min(sum(_step_and_fetch(trainer, batch)) for _ in range(3))
        if fastest > ENOUGH_SECONDS:
            break
    return trainer, batch


def _step_and_fetch(trainer: Trainer, batch: DeviceBatch) -> tuple[float, float]:
    begin = perf_counter()
    result = trainer.train_step(batch)
    trainer.synchronize()
    done = perf_counter()
    float(result.loss)
    trainer.parameters()
    return done - begin, perf_counter() - done


def _rounded(array: NDArray[Any]) -> NDArray[np.float64]:
    return array.astype(np.float32).astype(np.float64)


def _distinct_names(kind: str, names: tuple[str, ...], pattern: str) -> None:
    assert isinstance(names, tuple), f"{kind}: expected a tuple, got {type(names).__name__}"
    assert names, f"{kind}: expected at least one"
    assert len(set(names)) == len(names), f"{kind}: named twice in {names}"
    bad = [name for name in names if not re.fullmatch(pattern, name)]
    assert not bad, f"{kind}: names {bad} are not allowed"
