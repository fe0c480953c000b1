"""The checkpoint of a stored trial."""

from __future__ import annotations

from pathlib import Path

from harness.contract import Record, UsageError
from harness.contract.records.probed import WEIGHTS_AT
from harness.measure.checkpoint import checkpoint_file, file_at_step
from harness.sweep.folders import checkpoint_folder
from harness_results.store.store import Store


def checkpoint_of(trial: str, store: str | Path) -> Path:
    """Return the checkpoint of a trial, named by its id, its first digits, ``last`` or the file.

    ``last`` is the trial of the last run.

    Raises:
        UsageError: there is no such trial, or it left no checkpoint.
    """
    if trial.endswith(".safetensors"):
        return Path(trial)
    with Store.open(store, create=False) as opened:
        record = opened.launches_of(trial)[-1]
    checkpoint = stored_checkpoint(record, store)
    if checkpoint is None:
        name = f"trial {record.trial.trial_id} ({record.status})"
        raise UsageError(f"{name} left no checkpoint: only trained trials do")
    return checkpoint


def stored_checkpoint(record: Record, store: str | Path) -> Path | None:
    """Return the file with the weights of a record, whether it exists or not; None: it left none.

    It is next to the store, or else where the run wrote it.
    """
    checkpoint = checkpoint_file(checkpoint_folder(store), record.trial)
    if checkpoint.exists():
        return checkpoint
    recorded = record.details.get("checkpoint")
    return Path(str(recorded)) if recorded else None


def weights_over_training(record: Record, checkpoint: Path) -> dict[int, Path]:
    """Return step of training -> the file of the weights then, as far as there are files.

    The trained network, the last, is always among them.
    """
    kept = record.details.get(WEIGHTS_AT)
    steps = [step for step in kept if isinstance(step, int)] if isinstance(kept, list) else []
    files = {step: file_at_step(checkpoint, step) for step in steps}
    weights = {step: path for step, path in files.items() if path.exists()}
    return {**weights, record.trained_steps(): checkpoint}
