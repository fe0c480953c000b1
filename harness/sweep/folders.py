"""Where a store keeps its files: records, checkpoints and logs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from harness.contract import UsageError

DEFAULT_STORE = "harness.sqlite"


def checkpoint_folder(store: str | Path) -> Path:
    """Return the folder for a store's checkpoints.

    It is next to the store's file; for a server, it is in the working directory and has the name of
    the host and the database.
    """
    return _folder(store, "checkpoints")


def log_folder(store: str | Path) -> Path:
    """Return the folder for what workers print, named as the folder for checkpoints."""
    return _folder(store, "logs")


def _folder(store: str | Path, content: str) -> Path:
    scheme, _, rest = str(store).rpartition(":///")
    if "://" not in str(store) or scheme.partition("+")[0] == "sqlite":
        path = Path(rest)
        return path.absolute().with_name(f"{path.name}.{content}")
    url = urlsplit(str(store))
    parts = [part for part in (url.hostname, url.path.strip("/")) if part]
    name = "-".join(parts) or url.scheme
    return Path(f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.{content}").absolute()


def make_checkpoint_folder(folder: Path) -> None:
    """Make the folder if it does not exist.

    Raises:
        UsageError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder} for checkpoints: {error.strerror}; choose --store"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"the folder {folder} for checkpoints cannot be written: "
            "make it writable, or choose --store"
        )
