"""Opens a store's database by a path or a URL."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from harness.contract.errors import StoreError
from harness_results.store.database.base import KINDS, Database


def open_database(location: str | Path, *, create: bool) -> Database:
    """Return the database at a path or a SQLAlchemy URL.

    Raises:
        StoreError: it cannot be used; nothing has been altered.
    """
    from harness_results.store.database.postgres import SCHEMES, open_postgres
    from harness_results.store.database.sqlite import open_sqlite

    text = str(location)
    if "://" not in text:
        return open_sqlite(Path(location), create=create)
    scheme = text.partition("://")[0]
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        said = "it is no URL" if isinstance(error, ArgumentError) else error
        raise StoreError(
            f"store URL {scheme}://... cannot be used: {said}. Give a file's path to --store."
        ) from error
    if url.drivername.partition("+")[0] in SCHEMES:
        return open_postgres(url)
    if url.get_backend_name() != "sqlite":
        raise StoreError(
            f"store URL {scheme}://... cannot be used: {KINDS}. Give a file's path to --store."
        )
    if url.database in {None, "", ":memory:"}:
        raise StoreError(
            f"store {text} names no file: records must outlive the run. Name one with --store."
        )
    if url.query:
        taken = f"a SQLite store takes no options ({', '.join(url.query)})"
        raise StoreError(
            f"store URL {text} cannot be used: {taken}. Give a file's path to --store."
        )
    return open_sqlite(Path(str(url.database)), create=create)


def is_there(location: str | Path) -> bool:
    """Say whether there may be a store at a path or URL: a file, or a server, which alone knows."""
    text = str(location)
    if "://" not in text:
        return Path(text).exists()
    return Path(text.removeprefix("sqlite:///")).exists() if text.startswith("sqlite:///") else True
