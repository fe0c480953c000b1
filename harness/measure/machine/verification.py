"""Verifies threads, processors, devices and dtype. A mismatch with the trial fails it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.contract import Backend, HarnessError, PluginError, Rank, Trainer, Trial
from harness.measure.machine.environment import effective_threads
from harness.plugins.validation import checked_placement_fields, checked_rank_fields

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def usable_processors() -> tuple[int, ...] | None:
    """Return the processors on which this process may run; None: unknown."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


def checked_threads(
    backend: Backend, trial: Trial, affinity: tuple[int, ...], label: str
) -> Mapping[str, Any]:
    """Return the effective thread count and processors.

    Args:
        backend: the engine; it may report its count.
        trial: the request.
        affinity: the requested processors; empty: any.
        label: of the backend, for the message.

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
        asked = f"processors {list(affinity)} were asked for"
        runs = f"this process runs on {list(processors or ())}"
        raise HarnessError(f"{asked}, {runs}; find what changes it, or leave --affinity out")
    return {"effective_threads": threads, "affinity": processors}


def checked_placement(trainer: Trainer, trial: Trial, label: str) -> Mapping[str, Any]:
    """Return the device and dtype of the engine's last result, and its precision of products.

    Returns:
        {} if the engine does not report them.

    Raises:
        PluginError: the device, the dtype or the number of devices is not the trial's, or several
            devices were asked for and the engine does not report them.
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
    """Return the ranks of a data-parallel trainer; () if one process does all the work.

    Raises:
        PluginError: their number is not that of the devices, or one uses another number of threads
            than the trial.
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
