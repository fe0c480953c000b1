"""The user's private folder for compiled code, which is loaded into the process."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.contract import Missing, UnavailableError
from harness.contract.errors import with_fix

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
NO_FOLDER = Missing(
    "there is no folder for compiled code that this user alone can write to",
    "set XDG_CACHE_HOME to a folder of your own",
)


def private_folder(name: str) -> Path:
    """Return the folder for one kind of compiled code; make it if it does not exist.

    Raises:
        UnavailableError: none can be made, and no other may be used.
    """
    for folder in _folders(name):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder):
                return folder
    tried = [str(folder) for folder in _folders(name)]
    which = f" (tried: {', '.join(tried)})" if tried else ""
    raise UnavailableError(with_fix(f"{NO_FOLDER.reason}{which}", NO_FOLDER.fix))


def known_folder(name: str) -> Path | None:
    """Return the folder if it exists; make nothing."""
    for folder in _folders(name):
        with suppress(OSError):
            if _is_private(folder):
                return folder
    return None


def _folders(name: str) -> Iterator[Path]:
    """Yield ``rnn-harness/NAME`` in the user's cache, and the user's own temporary folder."""
    with suppress(RuntimeError):  # no home
        yield (
            Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rnn-harness" / name
        )
    with suppress(OSError):  # no folder for temporary files
        yield Path(tempfile.gettempdir()) / f"rnn-harness-{name}-{_user()}"


def _user() -> str:
    return os.environ.get("USERNAME", "user") if sys.platform == "win32" else str(os.getuid())


def _is_private(folder: Path) -> bool:
    """Say whether this user owns the folder and alone may write to it, except on Windows."""
    status = folder.lstat()  # a link would be whatever it leads to
    if not stat.S_ISDIR(status.st_mode) or not os.access(folder, os.W_OK | os.X_OK):
        return False
    return sys.platform == "win32" or (
        status.st_uid == os.getuid() and not status.st_mode & OTHERS_WRITE
    )
