"""A store in one SQLite file.

A rollback journal (``TRUNCATE``) with ``synchronous=FULL``: what was acknowledged survives
``kill -9``. Not WAL, because WAL fails on network file systems.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from harness.contract.errors import StoreError
from harness_results.store.database.base import CHOOSE, Database, cause_of, locked
from harness_results.store.database.schema import tables

MAGIC = b"SQLite format 3\x00"
BUSY_SECONDS = 30.0
LOCKED, DAMAGED = ("SQLITE_BUSY", "SQLITE_LOCKED"), ("SQLITE_NOTADB", "SQLITE_CORRUPT")
# Up to this size every page is checked when the store is opened to write: half a second.
WHOLE_BYTES = 2**28


class SqliteFile(Database):
    """A store in the file ``path``."""

    def __init__(self, path: Path, mode: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self.busy_seconds = busy_seconds
        uri = f"{path.absolute().as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(uri, uri=True, timeout=self.busy_seconds, isolation_level=None)

        super().__init__(create_engine("sqlite://", creator=connect, poolclass=NullPool), str(path))
        event.listen(self.engine, "connect", _set_pragmas)
        event.listen(self.engine, "begin", _begin)

    @property
    def canonical_name(self) -> str:
        """The absolute path without symbolic links."""
        return str(self.path.resolve())

    def lock_schema(self, connection: Connection) -> None:
        """Do nothing: a transaction that writes locks the whole file."""

    def problems(self, connection: Connection) -> list[str]:
        """Return what a thorough check by the database itself finds wrong."""
        lines = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        foreign = [f"{kind} {name} is not of this program" for kind, name in _foreign(connection)]
        return [line for line in lines if line != "ok"] + foreign

    def read_damaged_text(self, connection: Connection) -> None:
        """Make this connection return damaged text with escapes instead of raising an error."""
        raw: Any = connection.connection.dbapi_connection
        raw.text_factory = lambda text: text.decode("utf-8", "backslashreplace")

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the file, in bytes."""
        return self.path.stat().st_size

    def is_transient(self, error: DBAPIError) -> bool:
        """Return whether another process was in the way."""
        return _code(error).startswith(LOCKED) or super().is_transient(error)

    def explain(self, error: Exception) -> StoreError:
        """Return the error that the user sees, with the fix."""
        code, said = _code(error), cause_of(error)
        folder = self.path.absolute().parent
        if code.startswith(DAMAGED) or said.startswith("Could not decode"):
            return damaged(self.path, said)
        if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            free = shutil.disk_usage(folder).free
            return StoreError(
                f"store {self.path} cannot be written ({said}): {free} bytes are free; "
                f"what was stored before is kept. Free some space, or {CHOOSE}."
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return StoreError(
                f"store {self.path} cannot be written ({said}): "
                f"make it and {folder} writable, or {CHOOSE}."
            )
        if code.startswith(LOCKED):
            return locked(self.name, self.busy_seconds)
        return super().explain(error)


def open_sqlite(path: Path, *, create: bool) -> SqliteFile:
    """Return the store's file; make it if it is missing and ``create`` is true.

    Raises:
        StoreError: the file cannot be a store; it was not altered.
    """
    try:
        exists = _check_path(path, create=create)
    except OSError as error:
        raise StoreError(
            f"store {path} cannot be read: {error.strerror}. Fix this, or {CHOOSE}."
        ) from error
    database = SqliteFile(path, "rw" if exists else "rwc")
    if exists and create:
        _check_pages(database)
    if exists:
        _check_objects(database)
    return database


def damaged(path: Path, why: str) -> StoreError:
    """Return the error for a file that is damaged or not a store."""
    what = f"is damaged, or not a store of this program ({why}); it was left as it is"
    return StoreError(f"store {path} {what}. Move it away, or {CHOOSE}.")


def _check_path(path: Path, *, create: bool) -> bool:
    """Return whether the file exists; refuse what cannot be a store by its path or first bytes."""
    parent = path.absolute().parent
    if path.is_dir():
        raise StoreError(
            f"store {path} is a directory: "
            f"name a file, such as {path / 'harness.db'}, with --store."
        )
    if not parent.is_dir():
        raise StoreError(
            f"store {path}: there is no directory {parent}. Make it (mkdir -p), or {CHOOSE}."
        )
    if not path.exists():
        if not create:
            raise StoreError(
                f"there is no store {path}. "
                f"Make one with 'harness run --store {path}', or {CHOOSE}."
            )
        return False
    if not path.is_file():
        raise StoreError(f"store {path} is not a regular file: {CHOOSE}.")
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start not in (b"", MAGIC):
        raise damaged(path, "it is not an SQLite file")
    return True


def _check_objects(database: SqliteFile) -> None:
    """Refuse a file with a trigger or a view: a trigger could delete what is stored."""
    for kind, name in database.run(_foreign):
        if kind in {"trigger", "view"}:
            raise damaged(
                database.path, f"it has the {kind} {name}, which this program never makes"
            )


def _foreign(connection: Connection) -> list[tuple[str, str]]:
    """Return the kind and name of everything in the database that this program did not make."""
    own: set[str | None] = set()
    for table in tables.sorted_tables:
        own |= {table.name, *(index.name for index in table.indexes)}
    objects = connection.exec_driver_sql("SELECT type, name FROM sqlite_master ORDER BY name").all()
    return [
        (kind, name) for kind, name in objects if name not in own and not name.startswith("sqlite_")
    ]


def _check_pages(database: SqliteFile) -> None:
    """Refuse a file with a damaged page; of a large file only the length is checked."""
    size = database.path.stat().st_size
    if size > WHOLE_BYTES:
        _check_length(database.path, size)
        return
    result = database.run(
        lambda connection: connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    )
    if result != "ok":
        raise damaged(database.path, str(result))


def _check_length(path: Path, size: int) -> None:
    with path.open("rb") as file:
        header = file.read(100)
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    if pages and pages * (65536 if page == 1 else page) > size:
        raise damaged(path, "its end is missing")


def _set_pragmas(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in (
        "journal_mode=TRUNCATE",
        "synchronous=FULL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A writer locks at once. Two that first read and then write would refuse each other without
    # waiting.
    write = connection.get_execution_options().get("harness_write", False)
    if not write:  # each transaction has its own connection
        connection.exec_driver_sql("PRAGMA query_only=ON")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _code(error: BaseException) -> str:
    return getattr(getattr(error, "orig", error), "sqlite_errorname", "")
