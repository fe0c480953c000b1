"""Slots of launches that run at once: disjoint processors, and one GPU each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.contract import Trial, UsageError

HOST = "cpu"  # the only device that is not a GPU
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@dataclass(frozen=True)
class Slots:
    """What may be in use at once.

    Attributes:
        processors: one entry per slot, each the processors that its launch may use; (): one slot
            with any processors.
        gpus: the GPUs by their driver's numbers; each serves one launch at a time.
    """

    processors: tuple[tuple[int, ...], ...] = ()
    gpus: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """How many launches may run at once."""
        return max(1, len(self.processors))

    def processors_of(self, number: int, trial: Trial) -> tuple[int, ...]:
        """Return the processors of a launch of ``trial`` in slot ``number``; (): any."""
        if not self.processors:
            return ()
        return tuple(sorted(self.processors[number][: trial.processors]))


ALONE = Slots()


def needs_gpu(trial: Trial) -> bool:
    """Return whether a trial runs on an accelerator."""
    return trial.device != HOST


def read_slots(
    jobs: int, gpus: str | None, trials: Sequence[Trial], processors: Sequence[int]
) -> Slots:
    """Return the slots that ``--jobs`` and ``--gpus`` ask for.

    Args:
        jobs: launches at once.
        gpus: a comma list of GPUs; None: GPUs are not assigned.
        trials: the trials to run.
        processors: the usable processors; each belongs to one slot.

    Raises:
        UsageError: the launches do not fit, or an option would have no effect.
    """
    numbers = _gpus(gpus, jobs, trials)
    if jobs == 1:
        return Slots(gpus=numbers)
    threads = max((trial.processors for trial in trials), default=1)
    return Slots(_split(processors, jobs, threads), numbers)


def as_asked(
    jobs: int, gpus: str | None, trials: Sequence[Trial], _processors: Sequence[int]
) -> Slots:
    """Return the slots that ``--jobs`` and ``--gpus`` ask for, without processors: for a dry run.

    Raises:
        UsageError: an option would have no effect, or contradicts another or the plan.
    """
    return Slots(((),) * jobs if jobs > 1 else (), _gpus(gpus, jobs, trials))


def _gpus(gpus: str | None, jobs: int, trials: Sequence[Trial]) -> tuple[str, ...]:
    if gpus is not None:
        return _read_gpus(gpus, jobs, trials)
    on_gpus = [trial for trial in trials if needs_gpu(trial)]
    if on_gpus and jobs > 1:
        raise UsageError(
            f"--jobs {jobs} with trials on {on_gpus[0].device}: "
            "give each a GPU of its own, --gpus 0,1"
        )
    return ()


def _read_gpus(text: str, jobs: int, trials: Sequence[Trial]) -> tuple[str, ...]:
    gpus = tuple(piece.strip() for piece in text.split(","))
    if not all(gpu.isdigit() for gpu in gpus) or len(set(gpus)) < len(gpus):
        raise UsageError(f"--gpus {text!r}: write the numbers of different GPUs, as in 0,1")
    wanting = [trial for trial in trials if needs_gpu(trial)]
    if not wanting:
        raise UsageError(
            "--gpus would have no effect: no trial of the plan runs on a GPU; leave it out"
        )
    if indexed := [trial.device for trial in wanting if ":" in trial.device]:
        raise UsageError(
            f"--gpus chooses the GPU: give --device {indexed[0].split(':')[0]}, not {indexed[0]}"
        )
    if several := [trial.devices for trial in wanting if trial.devices > 1]:
        raise UsageError(
            f"--gpus gives each launch one GPU, --devices {several[0]} asks for more: "
            "leave --gpus out"
        )
    if len(gpus) > jobs:
        raise UsageError(
            f"--gpus names {len(gpus)} GPUs, --jobs {jobs} uses {jobs}: add --jobs {len(gpus)}"
        )
    if len(wanting) == len(trials) and jobs > len(gpus):
        few = f"every trial needs a GPU, --gpus names {len(gpus)}"
        raise UsageError(f"--jobs {jobs}: {few}: take --jobs {len(gpus)}")
    return gpus


def _split(processors: Sequence[int], jobs: int, threads: int) -> tuple[tuple[int, ...], ...]:
    """Return ``jobs`` disjoint sets of ``threads`` processors."""
    needed = jobs * threads
    if needed > len(processors):
        plural = "threads" if threads > 1 else "thread"
        asked = f"--jobs {jobs} x {threads} {plural} need {needed} processors"
        listed = ",".join(map(str, processors))
        most = len(processors) // threads
        fix = f"take --jobs {most}" if most else "lower --threads"
        raise UsageError(
            f"{asked}, there are {len(processors)} ({listed}): {fix}, or widen --affinity"
        )
    ordered = one_per_core_first(processors, _siblings(processors))
    return tuple(tuple(ordered[start : start + threads]) for start in range(0, needed, threads))


def one_per_core_first(processors: Sequence[int], siblings: Mapping[int, str]) -> list[int]:
    """Order processors so that two of one core are far apart: they slow each other down.

    Args:
        processors: the processors to order.
        siblings: processor -> a name of its core.
    """
    seen: dict[str, int] = {}
    rank = {}
    for processor in processors:
        core = siblings.get(processor, str(processor))
        rank[processor] = seen.get(core, 0)
        seen[core] = rank[processor] + 1
    return sorted(processors, key=lambda processor: (rank[processor], processor))


def _siblings(processors: Sequence[int]) -> dict[int, str]:
    siblings = {}
    for processor in processors:
        with contextlib.suppress(OSError):
            siblings[processor] = Path(_SIBLINGS.format(processor)).read_text().strip()
    return siblings


def usable(affinity: Sequence[int]) -> tuple[int, ...]:
    """Return the processors to assign: those of ``--affinity``, or all that this process may use.

    Raises:
        UsageError: this system cannot bind a process to processors.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise UsageError("--jobs: this system cannot bind a process to processors; leave it out")
    return tuple(affinity or sorted(os.sched_getaffinity(0)))
