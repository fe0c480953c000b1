"""How trials are run on this machine; nothing of it changes what they measure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.contract import Trial, UnknownNameError
from harness.measure.runner import Settings
from harness.sweep.interpreters import Interpreter


@dataclass(frozen=True)
class LocalSettings:
    """How trials are run; nothing of it changes what they measure.

    Attributes:
        timeout_seconds: of one trial, imports included; None: no limit.
        interrupt_seconds: what a running trial is given after the first request to stop.
        kill_seconds: between SIGTERM and SIGKILL.
        log_bytes: how much of a worker's output is kept while it runs; a failed trial's record holds the tail.
        checkpoints: directory for ``TRIAL_ID.safetensors``; None: nothing is saved.
        sample_length: characters of text to sample at each temperature.
        block: names of plugins that are not loaded.
        affinity: the processors on which workers may run; empty: all of this process's.
        calibrations: environment_id -> name -> content of the limits that are known already.
        pythons: name -> the interpreters that trials name.
        retries: how often a launch that ended badly is tried again at once.
    """

    timeout_seconds: float | None = None
    interrupt_seconds: float = 10.0
    kill_seconds: float = 2.0
    log_bytes: int = 10 * 2**20
    checkpoints: Path | None = None
    sample_length: int = 0
    block: tuple[str, ...] = ()
    affinity: tuple[int, ...] = ()
    calibrations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pythons: Mapping[str, Interpreter] = field(default_factory=dict)
    retries: int = 0

    def of_worker(self, trial: Trial) -> Settings:
        """Return what the worker of ``trial`` is told."""
        other = self.pythons.get(trial.python or "")
        known = self.calibrations if other is None or "calibrations" in other.settings else {}  # an older one measures
        checkpoint = None if self.checkpoints is None else str(self.checkpoints / f"{trial.trial_id}.safetensors")
        return Settings(
            checkpoint=checkpoint,
            sample_length=self.sample_length,
            block=self.block,
            affinity=self.affinity,
            calibrations={name: dict(content) for name, content in known.items()},
        )

    def measuring(self) -> dict[str, tuple[Any, ...]]:
        """Return the settings that change a record all the same, none where they are usual; resuming looks at them."""
        return {"affinity": self.affinity, "sample_length": (self.sample_length,)}

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
