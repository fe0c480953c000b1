"""The folder of an export. Replaces an earlier export there, but never anything else.

A mark in the folder names the store, the target and the entries of the export.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.contract.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows, where a folder cannot be locked in this way
    fcntl = None  # type: ignore[assignment]

MARK = "harness-export.json"
PART = ".part"  # the new content, until it is complete


@contextmanager
def replaced(home: Path, origin: str) -> Iterator[Path]:
    """Give an empty folder. When the block ends without an error, its content replaces ``home``'s.

    Args:
        home: made if it is missing.
        origin: the store and the target; an export of another origin is not replaced.

    Raises:
        UsageError: ``home`` holds something else, is being written to, or cannot be written.
    """
    try:
        _entries(home, origin)
        is_new = not home.exists()
        home.mkdir(exist_ok=True)
        with _alone(home):
            before = _entries(home, origin)
            _mark(home, origin, [*before, PART])
            part = home / PART
            _remove(part)
            part.mkdir()
            try:
                yield part
                _replace(home, origin, before)
            except BaseException:
                _forget(home, is_new=is_new, is_empty=not before)
                raise
            _remove(part)
    except OSError as error:
        raise UsageError(
            f"cannot write {home}: {error.strerror}; choose another --output"
        ) from error


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Refuse a folder that another export is writing to. The lock never outlives the process."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(home, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another export is writing to {home}: wait for it, or choose another --output"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _replace(home: Path, origin: str, before: Iterable[str]) -> None:
    new = sorted(path.name for path in (home / PART).iterdir())
    _mark(home, origin, sorted({*before, *new, PART}))
    for name in before:
        _remove(home / name)
    for name in new:
        (home / PART / name).replace(home / name)
    _mark(home, origin, new)


def _forget(home: Path, *, is_new: bool, is_empty: bool) -> None:
    """Remove the new content, and all that was made if the folder was missing or empty."""
    _remove(home / PART)
    if is_empty:
        _remove(home if is_new else home / MARK)


def _entries(home: Path, origin: str) -> list[str]:
    """Return the names of what an earlier export of this origin put into the folder."""
    if not home.exists():
        return []
    if not home.is_dir():
        raise UsageError(f"{home} is not a folder: choose another --output")
    names = {path.name for path in home.iterdir()} - {f"{MARK}{PART}"}
    if not names:
        return []
    try:
        mark = json.loads((home / MARK).read_text(encoding="utf-8"))
        marked, marked_origin = {str(name) for name in mark["entries"]}, mark["origin"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{home} holds something that is not an export: "
            "choose another --output, or an empty folder"
        ) from None
    if marked_origin != origin:
        raise UsageError(
            f"{home} holds another export ({marked_origin}): "
            "choose another --output, or remove that export"
        )
    others = sorted(names - marked - {MARK})
    if others:
        raise UsageError(
            f"{home} holds {others[0]!r}, which no export put there: "
            "move it away, or choose another --output"
        )
    return sorted(names - {MARK, PART})


def _mark(home: Path, origin: str, entries: Iterable[str]) -> None:
    part = home / f"{MARK}{PART}"
    text = json.dumps({"origin": origin, "entries": list(entries)})
    part.write_text(f"{text}\n", encoding="utf-8")
    part.replace(home / MARK)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
