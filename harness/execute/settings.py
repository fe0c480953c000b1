"""How trials are run on this machine. The settings that change a record are marked as facts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness.contract import Trial, UnknownNameError
from harness.execute.interpreters import Interpreter
from harness.execute.slots import ALONE, Slots, needs_gpu
from harness.measure import ISOLATIONS, REFERENCE_BACKEND
from harness.measure.checkpoint import checkpoint_file
from harness.measure.runner import Settings
from harness.measure.snapshots.file import snapshot_file, snapshots_of_family
from harness.plugins import Plugins

BESIDE = "measured while others ran (--jobs {}): its speed does not compare with one measured alone"
WARM = "measured in a process that others used before (--isolation backend): only to explore"
FACTS = "facts"  # metadata of a field: stored name -> the fact's text, given the field's value


def _listed(values: tuple[Any, ...]) -> str:
    return ",".join(map(str, values))


def _unless_default(isolation: str) -> str:
    return "" if isolation == ISOLATIONS[0] else isolation


def _jobs(slots: Slots) -> str:
    return str(slots.jobs) if slots.jobs > 1 else ""


def _stored_as(**readers: Callable[[Any], str]) -> dict[str, Any]:
    """Return the metadata of a field that changes a record. An empty text is not stored."""
    return {FACTS: readers}


@dataclass(frozen=True)
class LocalSettings:
    """How trials are run.

    Attributes:
        timeout_seconds: of one trial, imports included; None: no limit.
        memory_limit_bytes: of a worker and its descendants; None: what the machine has, less a
            reserve.
        interrupt_seconds: how long a running trial may go on after the first request to stop.
        kill_seconds: between SIGTERM and SIGKILL.
        log_bytes: how much of a worker's output is kept; a failed trial's record holds the tail.
        keep_logs: whether records carry the kept output, as the detail ``log_text``.
        checkpoints: directory for ``TRIAL_ID.safetensors``; None: nothing is saved.
        sample_length: characters of text to sample at each temperature.
        sample_every: training steps between samples of text; None: one, after a tenth of training.
        probe_every: N, to write the weights before training and after N, 2N, 4N, ... steps; None:
            only the trained ones are written.
        block: names of plugins that are not loaded.
        affinity: the processors that workers may use; empty: all of this process's.
        isolation: one of ``ISOLATIONS``.
        slots: how many launches may run at once, and where.
        gpu: the GPU that the launch has for itself, by its driver's number; None: the backend
            chooses.
        calibrations: environment_id -> name -> content of limits that were measured before.
        pythons: name -> the interpreters that trials name.
        retries: how often a failed launch is tried again at once.
        cluster: the kind of cluster that runs the launches; None: this machine runs them.
        snapshot_seconds: between two snapshots of training; 0: none are kept.
        follow_lengths: judges at the lengths of ``evaluate_at`` at every evaluation.
        fingerprints: trial_id -> digest of what it is measured with, written into snapshots.
        begins_anew: whether launches begin anew, whatever snapshots there are.
    """

    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    interrupt_seconds: float = 10.0
    kill_seconds: float = 2.0
    log_bytes: int = 10 * 2**20
    keep_logs: bool = False
    checkpoints: Path | None = None
    sample_length: int = field(default=0, metadata=_stored_as(sample_length=str))
    sample_every: int | None = field(
        default=None, metadata=_stored_as(sample_every=lambda every: str(every or ""))
    )
    probe_every: int | None = field(
        default=None, metadata=_stored_as(probe_every=lambda every: str(every or ""))
    )
    follow_lengths: bool = field(
        default=False, metadata=_stored_as(follow_lengths=lambda follows: "yes" if follows else "")
    )
    block: tuple[str, ...] = ()
    affinity: tuple[int, ...] = field(default=(), metadata=_stored_as(affinity=_listed))
    isolation: str = field(default=ISOLATIONS[0], metadata=_stored_as(isolation=_unless_default))
    slots: Slots = field(
        default=ALONE, metadata=_stored_as(jobs=_jobs, cards=lambda slots: _listed(slots.gpus))
    )
    gpu: str | None = None
    calibrations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pythons: Mapping[str, Interpreter] = field(default_factory=dict)
    retries: int = 0
    cluster: str | None = field(
        default=None, metadata=_stored_as(cluster=lambda cluster: cluster or "")
    )
    snapshot_seconds: float = 0.0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    begins_anew: bool = False

    def of_worker(self, trial: Trial, plugins: Plugins | None = None) -> Settings:
        """Return the settings of the worker that measures ``trial``.

        With ``plugins``, it loads only those that the trial needs. Another interpreter has its own
        plugins, and loads all of them.
        """
        other = self.pythons.get(trial.python or "")
        takes_calibrations = other is None or "calibrations" in other.settings
        checkpoint = None
        if self.checkpoints is not None:
            checkpoint = str(checkpoint_file(self.checkpoints, trial))
        calibrations = dict(self.calibrations) if takes_calibrations else {}
        return Settings(
            checkpoint=checkpoint,
            sample_length=self.sample_length,
            sample_every=self.sample_every,
            probe_every=self.probe_every,
            follow_lengths=self.follow_lengths,
            block=self.block,
            only=() if plugins is None or trial.python is not None else needed_by(trial, plugins),
            affinity=self.affinity,
            isolation=self.isolation,
            # Copies, because the caller may add to them.
            calibrations={name: dict(content) for name, content in calibrations.items()},
            **self._snapshots(trial),
        )

    def _snapshots(self, trial: Trial) -> dict[str, Any]:
        """Return the settings of the worker that concern snapshots; {}: it keeps none."""
        other = self.pythons.get(trial.python or "")
        understood = other is None or "snapshot" in other.settings
        if self.checkpoints is None or not self.snapshot_seconds or not understood:
            return {}
        earlier = () if self.begins_anew else snapshots_of_family(self.checkpoints, trial)
        return {
            "snapshot": str(snapshot_file(self.checkpoints, trial)),
            "snapshot_seconds": self.snapshot_seconds,
            "earlier_snapshots": tuple(map(str, earlier)),
            "fingerprint": self.fingerprints.get(trial.trial_id, ""),
        }

    def facts(self) -> dict[str, str]:
        """Return the settings that change a record, by their stored names, unless at defaults."""
        facts = {}
        for setting in fields(self):
            for name, read in setting.metadata.get(FACTS, {}).items():
                if text := read(getattr(self, setting.name)):
                    facts[name] = text
        return facts

    def on_first_gpu(self, trial: Trial) -> LocalSettings:
        """Return the settings of a launch that runs alone: the first GPU is its own if needed."""
        gpus = self.slots.gpus if needs_gpu(trial) else ()
        return replace(self, gpu=gpus[0]) if gpus else self

    def marks(self) -> dict[str, Any]:
        """Return the details of a record that say how its launch was run; {} by default."""
        marks: dict[str, Any] = {}
        if self.gpu is not None:
            marks["card"] = self.gpu  # a stored name, kept
        if self.isolation != ISOLATIONS[0]:
            marks["isolation"] = self.isolation
        if self.slots.jobs > 1:
            marks["jobs"] = self.slots.jobs
        return marks

    def notes(self) -> list[str]:
        """Return what a reader of the record must know about how its launch was run."""
        notes = []
        if self.slots.jobs > 1:
            notes.append(BESIDE.format(self.slots.jobs))
        if self.isolation != ISOLATIONS[0]:
            notes.append(WARM)
        return notes

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
    """Return the plugins that a trial needs: those of its engine, task, cell and the reference."""
    return plugins.needed(
        ("backend", trial.backend),
        ("task", trial.task),
        ("cell", trial.cell),
        ("backend", REFERENCE_BACKEND),
    )
