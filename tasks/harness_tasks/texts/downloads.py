"""Named corpora: downloaded once into a cache folder and checked against a SHA-256.

The network is used only if a corpus is requested that is not in the folder. A file that was put
there by hand is accepted if its hash is correct, without pooch and without a network.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.contract import CorpusError, UnavailableError
from harness.contract.errors import with_fix

CACHE_VARIABLE = "HARNESS_CACHE"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Download:
    """One corpus on the internet.

    Attributes:
        name: of the corpus, for the option ``corpus``.
        file: its name in the cache folder.
        url: of the file.
        sha256: of the downloaded file, in hexadecimal digits.
        member: the text inside a zip file; None if the file is the text.
    """

    name: str
    file: str
    url: str
    sha256: str
    member: str | None = None


DOWNLOADS = {
    download.name: download
    for download in (
        Download(
            "tinyshakespeare",
            "tinyshakespeare.txt",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
        Download(
            "warandpeace",
            "warandpeace.txt",
            "https://cs.stanford.edu/people/karpathy/char-rnn/warpeace_input.txt",
            "51da54e418dc36bbdba2ffcd1c63d6cf82057817ea4ec47525afd39ce3068a04",
        ),
        Download(
            "text8",
            "text8.zip",
            "https://mattmahoney.net/dc/text8.zip",
            "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            member="text8",
        ),
    )
}


def cache_folder() -> Path:
    """Return the folder for downloads: ``HARNESS_CACHE``, or the cache folder of the platform.

    Raises:
        CorpusError: there is no home directory and ``HARNESS_CACHE`` is not set.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError as error:
        raise CorpusError(
            f"no home directory for downloads: set {CACHE_VARIABLE} to a folder"
        ) from error
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "rnn-harness"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "rnn-harness" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "rnn-harness"


def check_available(download: Download) -> None:
    """Check that the corpus is in the cache or can be downloaded; open no connection.

    Raises:
        UnavailableError: it is not in the cache and pooch is missing.
    """
    path = cache_folder() / download.file
    if not path.is_file() and find_spec("pooch") is None:
        fix = f"pip install 'rnn-harness[corpora]', or {_by_hand(download, path)}"
        raise UnavailableError(
            f"corpus {download.name!r} is not in {path.parent} and pooch is not installed: {fix}"
        )


def fetch(download: Download) -> Path:
    """Return the path of the checked file; download it if it is not in the cache.

    Raises:
        UnavailableError: it is not in the cache and pooch is missing.
        CorpusError: there is no connection, the folder cannot be written, or the hash is wrong.
    """
    check_available(download)
    path = cache_folder() / download.file
    if path.is_file():
        _check_hash(download, path, f"delete {path} to fetch it again")
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            return _fetch_into(download, Path(folder) / download.file, path)
    except OSError as error:
        raise CorpusError(
            f"corpus {download.name!r} could not be fetched from {download.url} into {path}: "
            f"{error}. Check the connection and the folder (set {CACHE_VARIABLE} to another), "
            f"or {_by_hand(download, path)}"
        ) from error


def _fetch_into(download: Download, partial: Path, path: Path) -> Path:
    import pooch

    pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS)(download.url, str(partial), None)
    _check_hash(download, partial, _by_hand(download, path))
    return partial.replace(path)


def _check_hash(download: Download, path: Path, fix: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != download.sha256:
        problem = (
            f"corpus {download.name!r}: {download.file} ({path.stat().st_size:,} bytes) "
            f"has SHA-256 {digest}, expected {download.sha256}; it is incomplete or another file"
        )
        raise CorpusError(with_fix(problem, fix))


def _by_hand(download: Download, path: Path) -> str:
    return f"download {download.url} by hand and put it at {path}"


def unzip(download: Download, path: Path) -> bytes:
    """Return the text inside a zip file whose hash was checked."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(download.member or download.name)
