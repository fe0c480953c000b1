"""How trials are run on this machine; nothing of it changes what they measure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.contract import Trial, UnknownNameError
from harness.execute.interpreters import Interpreter
from harness.execute.slots import ALONE, Slots, needs_gpu
from harness.measure import REFERENCE_BACKEND
from harness.measure.runner import Settings
from harness.plugins import Plugins

ISOLATIONS = ("launch", "backend")  # what has a process of its own; the first unless asked
BESIDE = "measured beside others (--jobs {}): no speed to compare with one measured alone"
WARM = "measured in a process that others used before (--isolation backend): to explore, not to compare"


@dataclass(frozen=True)
class LocalSettings:
    """How trials are run; nothing of it changes what they measure.

    Attributes:
        timeout_seconds: of one trial, imports included; None: no limit.
        memory_limit_bytes: what a worker and all below it may hold; None: what the machine has,
            less a reserve.
        interrupt_seconds: what a running trial is given after the first request to stop.
        kill_seconds: between SIGTERM and SIGKILL.
        log_bytes: how much of a worker's output is kept; a failed trial's record holds the tail.
        keep_logs: whether records bring the whole of what was kept, as the detail ``log_text``.
        checkpoints: directory for ``TRIAL_ID.safetensors``; None: nothing is saved.
        sample_length: characters of text to sample at each temperature.
        block: names of plugins that are not loaded.
        affinity: the processors on which workers may run; empty: all of this process's.
        isolation: one of ``ISOLATIONS``.
        slots: how many launches may run at once, and where.
        gpu: the accelerator that the launch has for itself, by its driver's number; None:
            whichever the backend takes.
        calibrations: environment_id -> name -> content of the limits that are known already.
        pythons: name -> the interpreters that trials name.
        retries: how often a launch that ended badly is tried again at once.
        cluster: the kind of cluster on whose nodes launches run; None: on this machine.
    """

    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    interrupt_seconds: float = 10.0
    kill_seconds: float = 2.0
    log_bytes: int = 10 * 2**20
    keep_logs: bool = False
    checkpoints: Path | None = None
    sample_length: int = 0
    block: tuple[str, ...] = ()
    affinity: tuple[int, ...] = ()
    isolation: str = ISOLATIONS[0]
    slots: Slots = ALONE
    gpu: str | None = None
    calibrations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pythons: Mapping[str, Interpreter] = field(default_factory=dict)
    retries: int = 0
    cluster: str | None = None

    def of_worker(self, trial: Trial, plugins: Plugins | None = None) -> Settings:
        """Return what the worker of ``trial`` is told; of ``plugins`` it loads those alone that the trial needs.

        Another interpreter has plugins of its own, and loads all of them.
        """
        other = self.pythons.get(trial.python or "")
        known = (
            self.calibrations if other is None or "calibrations" in other.settings else {}
        )  # an older one measures
        checkpoint = (
            None
            if self.checkpoints is None
            else str(self.checkpoints / f"{trial.trial_id}.safetensors")
        )
        return Settings(
            checkpoint=checkpoint,
            sample_length=self.sample_length,
            block=self.block,
            only=() if plugins is None or trial.python is not None else needed_by(trial, plugins),
            affinity=self.affinity,
            isolation=self.isolation,
            calibrations={
                name: dict(content) for name, content in dict(known).items()
            },  # the caller may add some
        )

    def measuring(self) -> dict[str, tuple[Any, ...]]:
        """Return the settings that change a record all the same, none where they are usual; resuming looks at them."""
        alone, isolation = self.slots.jobs == 1, self.isolation
        return {
            "affinity": self.affinity,
            "sample_length": (self.sample_length,),
            "jobs": () if alone else (self.slots.jobs,),
            "cards": self.slots.gpus,
            "isolation": () if isolation == ISOLATIONS[0] else (isolation,),
            "cluster": () if self.cluster is None else (self.cluster,),
        }

    def on_first_gpu(self, trial: Trial) -> LocalSettings:
        """Return the settings of a launch that runs alone: on the first GPU, where it needs one of those named."""
        gpus = self.slots.gpus if needs_gpu(trial) else ()
        return replace(self, gpu=gpus[0]) if gpus else self

    def marks(self) -> dict[str, Any]:
        """Return what a record must say of how its launch was run; {} where it had the machine for itself."""
        found: dict[str, Any] = {} if self.gpu is None else {"card": self.gpu}
        if self.isolation != ISOLATIONS[0]:
            found["isolation"] = self.isolation
        return found | ({"jobs": self.slots.jobs} if self.slots.jobs > 1 else {})

    def notes(self) -> list[str]:
        """Return what a reader of the record must know of how its launch was run."""
        notes = [BESIDE.format(self.slots.jobs)] if self.slots.jobs > 1 else []
        return [*notes, WARM] if self.isolation != ISOLATIONS[0] else notes

    def python(self, trial: Trial) -> str:
        """Return the path of the interpreter that ``trial`` names.

        Raises:
            UsageError: it is not among ``pythons``.
        """
        if trial.python is None:
            return sys.executable
        if trial.python not in self.pythons:
            raise UnknownNameError("interpreter", trial.python, self.pythons)
        return str(self.pythons[trial.python].path)


def needed_by(trial: Trial, plugins: Plugins) -> tuple[str, ...]:
    """Return the names of the plugins that a trial needs: those of its engine, task, cell and the reference."""
    wanted = (
        ("backend", trial.backend),
        ("task", trial.task),
        ("cell", trial.cell),
        ("backend", REFERENCE_BACKEND),
    )
    return plugins.needed(*wanted)
