"""Opens the database of a store by its path or URL."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from harness.contract.errors import StoreError
from harness_results.store.database.base import KINDS, Database


def open_database(location: str | Path, *, create: bool) -> Database:
    """Return the database at a path or a SQLAlchemy URL.

    Raises:
        StoreError: it cannot be used; nothing was altered.
    """
    from harness_results.store.database.postgres import SCHEMES, open_postgres
    from harness_results.store.database.sqlite import open_sqlite

    text = str(location)
    if "://" not in text:
        return open_sqlite(Path(location), create=create)
    hidden = f"{text.partition('://')[0]}://..."  # the rest may hold a password
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise _unusable(hidden, "it is not a URL") from error
    except ValueError as error:
        raise _unusable(hidden, str(error)) from error
    if url.drivername.partition("+")[0] in SCHEMES:
        return open_postgres(url)
    if url.get_backend_name() != "sqlite":
        raise _unusable(hidden, KINDS)
    if url.database in {None, "", ":memory:"}:
        raise StoreError(
            f"store {text} names no file: records must outlive the run. Name one with --store."
        )
    if url.query:
        raise _unusable(text, f"a SQLite store takes no options ({', '.join(url.query)})")
    return open_sqlite(Path(str(url.database)), create=create)


def is_there(location: str | Path) -> bool:
    """Return whether a store may exist at a path or URL; only a server knows what it holds."""
    text = str(location)
    if "://" in text and not text.startswith("sqlite:///"):
        return True
    return Path(text.removeprefix("sqlite:///")).exists()


def _unusable(url: str, why: str) -> StoreError:
    return StoreError(f"store URL {url} cannot be used: {why}. Give a file's path to --store.")
