"""A snapshot on disk, as safetensors with the rest in the metadata. No pickle is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from harness.contract import Snapshot, StoreError, Trial
from harness.measure.checkpoint import write_whole
from harness.measure.events import (
    Evaluated,
    Event,
    Progress,
    Sampled,
    SetsEvaluated,
    from_json,
    to_json,
)

LENGTHENED = ("steps", "evaluate_every")  # may differ between a trial and one that goes on from it
FOLLOW_STEPS = (*LENGTHENED, "schedule_steps")  # and what follows the steps by default
_TRAINER = "trainer."  # begins the names of the trainer's arrays


@dataclass(frozen=True, eq=False)
class StoredSnapshot:
    """Training after some steps, and what was recorded until then.

    Attributes:
        trial: that was trained.
        step: updates done.
        fingerprint: of the code, versions and settings that trained it.
        evaluated_batches: how many batches an evaluation before the end reads; None: all.
        stopped: whether training ended here before its last step.
        trainer: what ``Trainer.snapshot`` gave; empty: nothing.
        progress: losses, norms and clipping of all steps, as one block without a duration.
        events: the evaluations, on all data, and the texts until then.
    """

    trial: Trial
    step: int
    fingerprint: str
    evaluated_batches: int | None
    stopped: bool
    trainer: Snapshot
    progress: Progress
    events: Sequence[Evaluated | Sampled | SetsEvaluated]

    def evaluation_steps(self, trial: Trial) -> range:
        """Return the steps before ``step`` at which ``trial`` is evaluated."""
        return range(0, self.step, trial.evaluate_every or self.step)

    def replayed(self, trial: Trial) -> Iterator[Event]:
        """Yield what happened before ``step``, for a trial that goes on from here."""
        steps = self.evaluation_steps(trial)
        for event in self.events:
            step = event.evaluation.step if isinstance(event, Evaluated) else event.step
            if isinstance(event, Sampled) or step in steps:
                yield event
        yield replace(self.progress, steps=trial.steps)


def one_block(
    losses: Sequence[float | None], norms: Sequence[float | None], clipped: Sequence[bool]
) -> Progress:
    """Return the progress of all steps as one block without a duration."""
    steps = len(losses)
    return Progress(steps, steps, tuple(losses), tuple(norms), tuple(clipped), 0.0, 0)


def family(trial: Trial) -> str:
    """Return a name that trials share if they differ only in how long they train."""
    content = trial.model_copy(update={"python": None}).content()
    kept = {name: value for name, value in content.items() if name not in FOLLOW_STEPS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def snapshot_file(folder: Path, trial: Trial) -> Path:
    """Return the file of a trial's snapshot."""
    return folder / f"{trial.trial_id}.{family(trial)}.snapshot"


def snapshots_of_family(folder: Path, trial: Trial) -> list[Path]:
    """Return the snapshots of this trial and of those that differ only in how long they train."""
    return sorted(folder.glob(f"*.{family(trial)}.snapshot"))


def save(path: Path, stored: StoredSnapshot) -> None:
    """Write a snapshot, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    metadata = {
        "trial": json.dumps(stored.trial.content()),
        "step": str(stored.step),
        "fingerprint": stored.fingerprint,
        "evaluated_batches": json.dumps(stored.evaluated_batches),
        "stopped": json.dumps(stored.stopped),
        "events": json.dumps([to_json(event) for event in stored.events]),
    }
    progress = stored.progress
    arrays: dict[str, Any] = {
        "losses": np.array(progress.losses, np.float64),
        "norms": np.array(progress.norms, np.float64),
        "clipped": np.array(progress.clipped, np.bool_),
    }
    for name, array in stored.trainer.items():
        arrays[_TRAINER + name] = np.ascontiguousarray(array).reshape(np.shape(array))
    write_whole(path, to_bytes(arrays, metadata), "snapshot")


def load(path: Path) -> StoredSnapshot:
    """Read a snapshot.

    Raises:
        StoreError: the file is missing, damaged or not a snapshot. It is never altered.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        losses, norms, clipped = (arrays.pop(name) for name in ("losses", "norms", "clipped"))
        progress = one_block(losses.tolist(), norms.tolist(), clipped.tolist())
        events = [from_json(event) for event in json.loads(metadata["events"])]
        return StoredSnapshot(
            trial=Trial.model_validate_json(metadata["trial"]),
            step=int(metadata["step"]),
            fingerprint=metadata["fingerprint"],
            evaluated_batches=json.loads(metadata["evaluated_batches"]),
            stopped=json.loads(metadata["stopped"]),
            trainer={name.removeprefix(_TRAINER): array for name, array in arrays.items()},
            progress=progress,
            events=[
                event for event in events if isinstance(event, Evaluated | Sampled | SetsEvaluated)
            ],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the snapshot {path.name} cannot be read: {error}") from error
