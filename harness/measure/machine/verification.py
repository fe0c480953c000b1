"""Whether the engine does what was asked: threads, processors, devices and dtype. A mismatch fails the trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.contract import Backend, HarnessError, PluginError, Rank, Trainer, Trial
from harness.measure.machine.environment import effective_threads
from harness.plugins.validation import checked_placement_fields, checked_rank_fields

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def usable_processors() -> tuple[int, ...] | None:
    """Return the processors on which this process may run; None where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


def checked_threads(
    backend: Backend, trial: Trial, affinity: tuple[int, ...], label: str
) -> Mapping[str, Any]:
    """Return the effective thread count and processors.

    Args:
        backend: the engine, which may know its count.
        trial: what was asked for.
        affinity: the processors asked for; empty: any.
        label: the backend's, for the message.

    Raises:
        PluginError: the engine uses another number of threads.
        HarnessError: this process runs on other processors.
    """
    threads, processors = effective_threads(backend), usable_processors()
    if threads not in (None, trial.threads):
        asked = f"{trial.threads} threads were asked for, the engine uses {threads}"
        raise PluginError(
            f"{asked}; give --threads {threads}, or find what sets the count; {label}"
        )
    if affinity and processors != affinity:
        asked = f"processors {list(affinity)} were asked for, this process runs on {list(processors or ())}"
        raise HarnessError(f"{asked}; find what changes it, or leave --affinity out")
    return {"effective_threads": threads, "affinity": processors}


def checked_placement(trainer: Trainer, trial: Trial, label: str) -> Mapping[str, Any]:
    """Return where the engine's last result lies and how exact its products are; {} where it cannot tell.

    Raises:
        PluginError: it is another device or dtype than the trial's (a silent fall to the CPU, a
            wider float), or another number of devices, or their number is not told where several
            were asked for.
    """
    placement = checked_placement_fields(trainer, label)
    used = 1 if placement is None else placement.devices
    if used != trial.devices:
        raise PluginError(
            f"{trial.devices} devices were asked for, the batch was split over {used}; {label}"
        )
    if placement is None:
        return {}
    if placement.device != trial.device and placement.device.partition(":")[0] != trial.device:
        raise PluginError(
            f"device {trial.device} was asked for, the results lie on {placement.device}; {label}"
        )
    if placement.dtype != trial.dtype:
        raise PluginError(
            f"dtype {trial.dtype} was asked for, the results are {placement.dtype}; {label}"
        )
    return asdict(placement)


def checked_ranks(trainer: Trainer, trial: Trial, label: str) -> tuple[Rank, ...]:
    """Return the ranks of a data-parallel trainer; () where one process does all the work.

    Raises:
        PluginError: they are not as many as the devices, or one uses another number of threads than
            the trial's.
    """
    ranks = checked_rank_fields(trainer, label)
    if ranks and len(ranks) != trial.devices:
        raise PluginError(
            f"{trial.devices} devices were asked for, {len(ranks)} ranks train; {label}"
        )
    for number, rank in enumerate(ranks):
        if rank.threads not in (None, trial.threads):
            asked = f"{trial.threads} threads were asked for, rank {number} uses {rank.threads}"
            raise PluginError(f"{asked}; find what sets the count; {label}")
    return ranks
