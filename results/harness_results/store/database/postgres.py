"""A store in a PostgreSQL database.

A read sees one snapshot and cannot write. If the answer to a commit is lost, the transaction is
looked up by its number before it is tried again, so that no record is stored twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError

from harness.contract.errors import StoreError
from harness_results.store.database import base as database
from harness_results.store.database import postgres_errors
from harness_results.store.database.base import CHOOSE, Database
from harness_results.store.database.postgres_errors import LOCK_SECONDS
from harness_results.store.database.schema import tables
from harness_results.text.passwords import without_password

DRIVER = "postgresql+psycopg"
SCHEMES = ("postgresql", "postgres", DRIVER)
FIX = 'pip install "rnn-harness[postgres]"'
DEFAULTS = {"connect_timeout": 10, "application_name": "harness"}
# Not READ WRITE: the default of a server may forbid writing, and then the user must hear of it.
BEGIN_WRITE = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
BEGIN_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
SCHEMA_LOCK = 0x6861726E657373  # "harness" in ASCII: the advisory lock of whoever makes tables
SYNCHRONOUS = """SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'"""
SIZE = """SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    AND relname = ANY(%(names)s)"""


class PostgresDatabase(Database):
    """A store in the database at ``url``. Other processes may use it at the same time."""

    attempts = 10

    def __init__(self, url: URL) -> None:
        self.url = url
        self._reached = False  # a server that was reached once may come back
        options = {name: value for name, value in DEFAULTS.items() if name not in url.query}
        engine = create_engine(url, connect_args=options, pool_pre_ping=True)
        super().__init__(engine, without_password(url.render_as_string(hide_password=True)))
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """Give a connection; commit at the end, or roll back if an error escapes."""
        number, complete = None, False
        try:
            with super().transaction(write=write) as connection:
                self._reached = True
                number = connection.scalar(select(func.txid_current())) if write else None
                yield connection
                complete = True
        except DBAPIError as error:
            is_lost = complete and error.connection_invalidated
            if number is None or not is_lost or not self._was_committed(number):
                raise

    def lock_schema(self, connection: Connection) -> None:
        """Keep other processes from making or changing tables until this transaction ends."""
        connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))

    def problems(self, connection: Connection) -> list[str]:
        """Return nothing: a server checks its own files."""
        return []

    def read_damaged_text(self, connection: Connection) -> None:
        """Do nothing: the server stores no text that is not in its encoding."""

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the tables with their indexes, in bytes."""
        return int(connection.exec_driver_sql(SIZE, {"names": list(tables.tables)}).scalar() or 0)

    def is_transient(self, error: DBAPIError) -> bool:
        """Return whether it is a conflict, or a lost server that was reached before."""
        is_lost = self._reached and postgres_errors.is_connection_failure(error)
        return is_lost or postgres_errors.is_passing(error) or super().is_transient(error)

    def pause(self, attempt: int) -> None:
        """Wait twice as long each time: most of a minute in all, enough for a server's restart."""
        time.sleep(database.PAUSE_SECONDS * 2 ** (attempt - 1))

    def explain(self, error: Exception) -> StoreError:
        """Return the error that the user sees, with the fix."""
        return postgres_errors.explain(error, self.url, self.name)

    def _was_committed(self, number: int) -> bool:
        """Return whether a transaction was committed, if the connection was lost at its commit.

        Raises:
            StoreError: the server does not come back, or does not tell.
        """
        for attempt in range(1, self.attempts + 1):
            self.pause(attempt)
            try:
                with super().transaction(write=False) as connection:
                    status = connection.scalar(select(func.txid_status(number)))
            except DBAPIError as error:
                status = str(self.explain(error))
            if status in {"committed", "aborted"}:
                return bool(status == "committed")
        raise StoreError(
            f"store {self.name}: the connection was lost while transaction {number} was committed, "
            f"and its end is not known ({status}). The last record may be missing: run the same "
            "command again."
        )


def open_postgres(url: URL) -> PostgresDatabase:
    """Return the database, not yet connected.

    Raises:
        StoreError: the URL names another driver, or psycopg is missing.
    """
    if url.drivername not in SCHEMES:
        raise StoreError(
            f"store URL {url.drivername}://... names another driver: "
            f"write {DRIVER}://..., or {CHOOSE}."
        )
    try:
        return PostgresDatabase(url.set(drivername=DRIVER))
    except ImportError as error:
        raise StoreError(
            f"a store in PostgreSQL needs psycopg ({error}). Install it: {FIX}, or {CHOOSE}."
        ) from error


def _prepare(connection: Any, _: Any) -> None:
    """Limit how long a lock is awaited, and acknowledge only what is on the server's disk."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        cursor.execute(SYNCHRONOUS)
    connection.commit()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("harness_write", False)
    connection.exec_driver_sql(BEGIN_WRITE if write else BEGIN_READ)
