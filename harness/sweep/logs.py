"""Keeps what workers print: one file per launch in a folder next to the store."""

from __future__ import annotations

import contextlib
import gzip
from dataclasses import replace
from itertools import count
from pathlib import Path

from harness.contract import Record, UsageError
from harness.execute.launch import LOG_TEXT

LONG_BYTES = 1 << 16  # longer logs are compressed


def keep_log(record: Record, folder: Path | None, run_id: int) -> Record:
    """Write the log that came with a record, and return the record with the file's name instead.

    If the log cannot be written, the record notes it, and nothing else is lost.

    Args:
        record: as an executor gave it.
        folder: made if it does not exist; None: logs are not kept.
        run_id: of the store's run; with trial and launch it names the file.
    """
    details = dict(record.details)
    text = details.pop(LOG_TEXT, None)
    if text and folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stem = f"{record.trial.trial_id}-{run_id}"
            details["log"] = _write(folder, stem, text.encode("utf-8"))
        except OSError as error:
            note = f"its log could not be kept in {folder}: {error.strerror or error}"
            details["notes"] = [*(details.get("notes") or ()), note]
    return replace(record, details=details)


def read_log(record: Record, folder: Path | None) -> str:
    """Return what a launch printed: all that was kept, or the tail in its record.

    Raises:
        UsageError: the file is gone or damaged.
    """
    name = record.details.get("log")
    if not name or folder is None:
        return str(record.details.get("log_tail") or "")
    path = folder / Path(str(name)).name
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:  # gzip's BadGzipFile is an OSError
        problem = f"cannot read the log {path}: {error}"
        raise UsageError(f"{problem}; it stays with the store that it was made for") from error
    return content.decode("utf-8", "replace")


def _write(folder: Path, stem: str, content: bytes) -> str:
    """Write a new file and return its name; other processes may write logs of the same run."""
    long = len(content) >= LONG_BYTES
    suffix = ".log.gz" if long else ".log"
    for number in count(1):
        path = folder / f"{stem}-{number}{suffix}"
        with contextlib.suppress(FileExistsError), path.open("xb") as file:
            try:
                file.write(gzip.compress(content) if long else content)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
            return path.name
    raise AssertionError("numbers do not end")
