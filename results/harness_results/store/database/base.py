"""The interface between a store and one kind of database: transactions, retries and errors."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from harness.contract.errors import StoreError
from harness_results.store.database.decoding import DamagedError
from harness_results.text.format import one_line

CHOOSE = "name another store (--store, or the argument STORE)"
CHECK = "List all damage: harness store check; copy the rest: harness store merge NEW OLD"
ATTEMPTS = 3
PAUSE_SECONDS = 0.1
KINDS = "stores are SQLite files and PostgreSQL databases (postgresql+psycopg://USER@HOST/DATABASE)"
Result = TypeVar("Result")


class Database(ABC):
    """A database that holds a store. Each subclass supports one kind.

    Attributes:
        attempts: how often a transaction is tried.
        engine: SQLAlchemy's.
        name: the path or URL as the user wrote it, without a password.
    """

    attempts = ATTEMPTS

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """Give a connection; commit at the end, or roll back if an error escapes."""
        with (
            self.engine.connect().execution_options(harness_write=write) as connection,
            connection.begin(),
        ):
            yield connection

    @property
    def canonical_name(self) -> str:
        """The same for all names of one database."""
        return self.name

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Keep other processes from making or changing tables until this transaction ends."""

    @abstractmethod
    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the store on disk, in bytes."""

    def run(self, work: Callable[[Connection], Result], *, write: bool = False) -> Result:
        """Return the result of ``work``, done in one transaction; retry after transient errors.

        Raises:
            StoreError: the database cannot do it; nothing of ``work`` is stored.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                with self.transaction(write=write) as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == self.attempts or not self.is_transient(error):
                    raise self.explain(error) from error
            except OSError as error:
                raise self.explain(error) from error
            except (DamagedError, UnicodeDecodeError) as error:
                raise StoreError(
                    f"store {self.name} is damaged: a value cannot be read ({one_line(error)}). "
                    f"{CHECK}."
                ) from error
            self.pause(attempt)
        raise AssertionError("unreachable")

    @abstractmethod
    def problems(self, connection: Connection) -> list[str]:
        """Return what a thorough check by the database itself finds wrong."""

    @abstractmethod
    def read_damaged_text(self, connection: Connection) -> None:
        """Make this connection return damaged text with escapes instead of raising an error."""

    def pause(self, attempt: int) -> None:
        """Wait before trying again."""
        time.sleep(PAUSE_SECONDS * attempt)

    def is_transient(self, error: DBAPIError) -> bool:
        """Return whether the same transaction may succeed when tried again."""
        return isinstance(error, IntegrityError) or error.connection_invalidated

    def explain(self, error: Exception) -> StoreError:
        """Return the error that the user sees, with the fix."""
        return StoreError(f"store {self.name}: {cause_of(error)}. Fix this, or {CHOOSE}.")


def locked(name: str, seconds: float) -> StoreError:
    """Return the error for a store that another process has held for ``seconds``."""
    held = f"another process has held it for {seconds:g} seconds"
    return StoreError(f"store {name} is locked: {held}. Wait for it, or {CHOOSE}.")


def cause_of(error: Exception) -> str:
    """Return the words of the database's own error, or of this one if there is no other."""
    return str(getattr(error, "orig", None) or error)
