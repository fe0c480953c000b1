"""The options of a run, as the settings of its launches and the executor that runs them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.contract import Trial, UsageError
from harness.execute.affinity import read_affinity
from harness.execute.executor import Executor
from harness.execute.interpreters import Interpreter
from harness.execute.local import run_trials
from harness.execute.ray.cluster import AUTO, check_ray
from harness.execute.ray.executor import RayExecutor
from harness.execute.ray.needs import Wishes
from harness.execute.settings import LocalSettings
from harness.execute.slots import as_asked, read_slots, usable
from harness.measure import ISOLATIONS
from harness.plan.options import HERE, RunOptions


def settings_of(
    options: RunOptions,
    trials: Sequence[Trial],
    interpreters: Mapping[str, Interpreter],
    *,
    dry_run: bool = False,
) -> LocalSettings:
    """Return the settings of every launch of these trials.

    Args:
        options: of the run.
        trials: what is to run.
        interpreters: name -> interpreter that trials name.
        dry_run: does not ask whether this machine has the processors.

    Raises:
        UsageError: the harness of an interpreter lacks an option, or this machine does.
    """
    for interpreter in interpreters.values():
        if options.affinity:
            interpreter.need("affinity", "--affinity")
        if options.jobs > 1:
            interpreter.need("affinity", "--jobs")
        if options.isolation != ISOLATIONS[0]:
            interpreter.need("isolation", "--isolation")
        if options.sample_every is not None:
            interpreter.need("sample_every", "--sample-every")
        if options.probe_every is not None:
            interpreter.need("probe_every", "--probe-every")
        if options.follow_lengths:
            interpreter.need("follow_lengths", "--follow-lengths")
    if options.follow_lengths and not any(trial.evaluate_at for trial in trials):
        fix = "leave it out, or add --evaluate-at 2T,4T"
        raise UsageError(f"--follow-lengths would have no effect without other lengths: {fix}")
    threads = [trial.processors for trial in trials]
    affinity = read_affinity(options.affinity, threads) if options.affinity else ()
    processors = usable(affinity) if options.jobs > 1 else affinity
    slots = as_asked if dry_run else read_slots
    return LocalSettings(
        timeout_seconds=options.timeout_seconds,
        memory_limit_bytes=options.memory_limit_bytes,
        sample_length=options.sample_length,
        sample_every=options.sample_every,
        probe_every=options.probe_every,
        follow_lengths=options.follow_lengths,
        affinity=affinity,
        isolation=options.isolation,
        slots=slots(options.jobs, options.gpus, trials, processors),
        pythons=interpreters,
        retries=options.retries,
        cluster=None if options.executor == HERE else options.executor,
        snapshot_seconds=options.snapshot_seconds if options.executor == HERE else 0.0,
    )


def executor_of(options: RunOptions) -> Executor:
    """Return the executor that the options ask for.

    Raises:
        UsageError: an option of the cluster cannot be read, or Ray is not installed.
    """
    if options.executor == HERE:
        return run_trials
    address = options.address or AUTO
    check_ray(address)
    amounts = _pairs("--resources", options.resources)
    resources = {name: _amount(name, text) for name, text in amounts.items()}
    return RayExecutor(address, Wishes(resources, _pairs("--labels", options.labels)))


def _pairs(flag: str, settings: Sequence[str]) -> dict[str, str]:
    """Return name -> value of comma lists such as ``a=1,b=2``."""
    pairs: dict[str, str] = {}
    for setting in (piece.strip() for text in settings for piece in text.split(",")):
        name, equals, value = setting.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{flag} {setting!r}: write NAME=VALUE, and several with commas")
        if name in pairs:
            raise UsageError(f"{flag} names {name!r} twice: leave one of them out")
        pairs[name] = value
    return pairs


def _amount(name: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if name in {"CPU", "GPU"}:
        fix = "--threads and --device ask for processors and GPUs"
    elif 0 < amount < math.inf:
        return amount
    else:
        fix = "a number above 0"
    raise UsageError(f"--resources {name}={text}: {fix}; for a word, use --labels")
