"""Writes the snapshots of a launch, and finds the snapshot from which it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract import StoreError, Trainer, Trial
from harness.contract.wording import error_text, shortened
from harness.measure.events import Evaluated
from harness.measure.record_builder import RecordBuilder
from harness.measure.setup import Setup
from harness.measure.snapshots.file import LENGTHENED, StoredSnapshot, load, one_block, save
from harness.measure.timing.clock import Clock
from harness.plugins.validation import checked_snapshot

NO_SNAPSHOT = "the engine gives no snapshot (Trainer.snapshot)"


@dataclass
class Snapshots:
    """Writes the snapshots of a launch, and finds the snapshot from which it goes on.

    Attributes:
        setup: of the trial.
        builder: has all that was recorded so far.
        clock: says when the next one is due.
        flags: of the trial; a failure is added.
        path: the file to write; None: none is written.
        seconds: between two snapshots while it trains.
        earlier_files: snapshots of trials that differ only in how long they train.
        fingerprint: of the code, versions and settings.
        why_anew: why it goes on from none of them; None: there is none, or it does.
    """

    setup: Setup
    builder: RecordBuilder
    clock: Clock
    flags: list[str]
    path: Path | None = None
    seconds: float = 0.0
    earlier_files: Sequence[Path] = ()
    fingerprint: str = ""
    why_anew: str | None = None
    _written: float = field(init=False)

    def __post_init__(self) -> None:
        self._written = self.clock.now()

    def earlier(self, evaluated_batches: int) -> StoredSnapshot | None:
        """Return the snapshot with the most steps from which this trial can go on.

        Args:
            evaluated_batches: how many batches each evaluation before the end reads.
        """
        readable = []
        for path in self.earlier_files:
            try:
                readable.append(load(path))
            except StoreError as error:
                self.why_anew = str(error)
        trial, refusal = self.setup.trial, None
        for stored in sorted(readable, key=lambda stored: stored.step, reverse=True):
            ended = stored.stopped and stored.trial == trial
            if ended or stored.step >= trial.steps:
                continue
            reason = why_not(stored, trial, self.fingerprint, evaluated_batches)
            if reason is None:
                return stored
            if refusal is None:  # that of the most steps
                refusal = f"not continued from {stored.trial.trial_id}: {reason}"
        self.why_anew = refusal or self.why_anew
        return None

    def due(self) -> bool:
        """Return whether so much time has passed since the last one that another is due."""
        return self.path is not None and self.clock.now() - self._written >= self.seconds

    def write(
        self, trainer: Trainer, step: int, evaluated_batches: int, *, stopped: bool = False
    ) -> None:
        """Write a snapshot. If that fails there is a flag, and no more are written."""
        if self.path is None:
            return
        builder = self.builder
        try:
            stored = StoredSnapshot(
                trial=self.setup.trial,
                step=step,
                fingerprint=self.fingerprint,
                evaluated_batches=evaluated_batches,
                stopped=stopped,
                trainer=checked_snapshot(trainer, self.setup.label) or {},
                progress=one_block(builder.losses, builder.norms, builder.clipped),
                events=[*builder.evaluations, *builder.texts, *builder.sets],
            )
            save(self.path, stored)
        except Exception as error:  # noqa: BLE001 (without a snapshot only time is lost)
            self.path = None
            self.flags.append(f"no snapshot was written: {shortened(error_text(error))}")
        self._written = self.clock.now()


def why_not(
    stored: StoredSnapshot, trial: Trial, fingerprint: str, evaluated_batches: int
) -> str | None:
    """Return why training ``trial`` on from ``stored`` would not equal training it at once.

    None: it would equal it.
    """
    if stored.fingerprint != fingerprint:
        return "it was trained with other code, versions or settings"
    if not stored.trainer:
        return NO_SNAPSHOT
    if stored.stopped:
        return f"it stopped at step {stored.step:,}: validation improved no more"
    return _other_setting(stored.trial, trial) or _other_evaluations(
        stored, trial, evaluated_batches
    )


def _other_setting(earlier: Trial, trial: Trial) -> str | None:
    before, now = earlier.content(), trial.content()
    for name in sorted((before.keys() | now.keys()) - {*LENGTHENED}):
        if before.get(name) != now.get(name):
            values = f"{name} is {before.get(name)} there and {now.get(name)} here"
            return f"{values}: give --{name.replace('_', '-')} {before.get(name)} to keep it"
    return None


def _other_evaluations(stored: StoredSnapshot, trial: Trial, evaluated_batches: int) -> str | None:
    fix = f"give --evaluate-every {stored.trial.evaluate_every} to keep its steps"
    steps = {item.evaluation.step for item in stored.events if isinstance(item, Evaluated)}
    if missing := set(stored.evaluation_steps(trial)) - steps:
        return f"it was not evaluated at step {min(missing):,}, as this trial is: {fix}"
    if stored.evaluated_batches != evaluated_batches:
        numbers = f"{stored.evaluated_batches} batches, those of this trial {evaluated_batches}"
        return f"its evaluations read {numbers}: {fix}"
    return None
