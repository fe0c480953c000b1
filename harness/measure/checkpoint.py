"""Trained weights on disk, as safetensors with the trial in the metadata. No pickle is read."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from harness.contract import ArrayDtype, Model, Parameters, StoreError, Trial, Vocabulary
from harness.contract.wording import shortened
from harness.plugins.validation import parameter_problems
from harness.version import __version__


class Checkpoint(NamedTuple):
    """The content of a checkpoint file. Parameters have torch.nn's names."""

    parameters: Parameters
    trial: Trial
    vocabulary: Vocabulary | None


def checkpoint_file(folder: Path, trial: Trial) -> Path:
    """Return the file of a trial's checkpoint."""
    return folder / f"{trial.trial_id}.safetensors"


def file_at_step(checkpoint: Path, step: int) -> Path:
    """Return the file of the weights after ``step`` updates, next to that of the trained ones."""
    return checkpoint.with_name(f"{checkpoint.stem}.step{step}{checkpoint.suffix}")


def save(path: Path, parameters: Parameters, trial: Trial, vocabulary: Vocabulary | None) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    symbols = None if vocabulary is None else {"symbols": vocabulary.symbols}
    metadata = {
        "trial": json.dumps(trial.content()),
        "vocabulary": json.dumps(symbols),
        "harness_version": __version__,
    }
    arrays = {name: array.copy() for name, array in parameters.items()}
    write_whole(path, to_bytes(arrays, metadata))


def write_whole(path: Path, content: bytes, kind: str = "checkpoint") -> None:
    """Write the bytes of a file of this kind, whole or not at all, even if the power fails.

    Raises:
        StoreError: they cannot be written.
    """
    try:
        _replace(path, content)
    except OSError as error:
        why = error.strerror or error
        raise StoreError(f"cannot write the {kind} {path}: {why}") from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        StoreError: the file is missing, damaged or not a checkpoint. It is never altered.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            parameters: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        trial = Trial.model_validate_json(metadata["trial"])
        vocabulary = _vocabulary(json.loads(metadata["vocabulary"]))
    except FileNotFoundError as error:
        problem = f"there is no checkpoint {path}"
        raise StoreError(f"{problem}; run its trial again to make it") from error
    except (OSError, SafetensorError) as error:
        problem = f"the checkpoint {path} is damaged ({error})"
        raise StoreError(f"{problem}; run the trial again to replace it") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        why = shortened(" ".join(str(error).split()), 200)
        problem = f"{path} holds tensors, but is not a checkpoint of the harness"
        raise StoreError(f"{problem}: {why}") from error
    return Checkpoint(parameters, trial, vocabulary)


def check_fit(path: Path, parameters: Parameters, model: Model, dtype: ArrayDtype) -> None:
    """Check a checkpoint's tensors before a model of its size is allocated.

    Raises:
        StoreError: names, shapes or dtype are not the model's, or a value is not finite.
    """
    problems = parameter_problems(parameters, model, dtype) or [
        f"{name} holds a value that is not finite"
        for name, array in sorted(parameters.items())
        if not np.isfinite(array).all()
    ]
    if problems:
        raise StoreError(
            f"the checkpoint {path} is damaged: {problems[0]}; run the trial again to replace it"
        )


def _vocabulary(content: Any) -> Vocabulary | None:
    """Return the vocabulary that ``save`` wrote.

    Raises:
        KeyError, TypeError, ValueError: the content is invalid.
    """
    if content is None:
        return None
    symbols = content["symbols"]
    if symbols is not None:
        if isinstance(symbols, list) and all(isinstance(word, str) and word for word in symbols):
            symbols = tuple(symbols)
        distinct = isinstance(symbols, str | tuple) and len(set(symbols)) == len(symbols) > 0
        if not distinct:
            raise ValueError("its vocabulary is not a text of distinct characters, or of words")
    return Vocabulary(symbols)


def _replace(path: Path, content: bytes) -> None:
    """Write a temporary file in the same folder, flush it to the disk, then rename it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
