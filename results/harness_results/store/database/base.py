"""Where a store lives: the seam between the store's tables and one kind of database."""

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

CHOOSE = "name another store (--store, or the argument STORE)"
CHECK = (
    "Name all that is damaged: harness store check; take over the rest: harness store merge NEW OLD"
)
ATTEMPTS = 3
PAUSE_SECONDS = 0.1
KINDS = "stores are SQLite files and PostgreSQL databases (postgresql+psycopg://USER@HOST/DATABASE)"
Result = TypeVar("Result")


class Database(ABC):
    """A database that holds a store. Subclasses know what is special about one kind."""

    attempts = ATTEMPTS

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name  # as the user wrote it, less any password

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """Give a connection; commit at the end, or roll back where an error escapes."""
        with (
            self.engine.connect().execution_options(harness_write=write) as connection,
            connection.begin(),
        ):
            yield connection

    @property
    def canonical_name(self) -> str:
        """Return what two names of the same database have in common."""
        return self.name

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Let no other process make or change tables until this transaction ends."""

    @abstractmethod
    def size_bytes(self, connection: Connection) -> int:
        """Return what the store takes on its disk."""

    def run(self, work: Callable[[Connection], Result], *, write: bool = False) -> Result:
        """Do ``work`` in one transaction, again where another process was in the way.

        Raises:
            StoreError: the database cannot do it; nothing of ``work`` has been done.
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
                said = " ".join(str(error).split())
                raise StoreError(
                    f"store {self.name} is damaged: a value cannot be read ({said}). {CHECK}."
                ) from error
            self.pause(attempt)
        raise AssertionError("unreachable")

    @abstractmethod
    def problems(self, connection: Connection) -> list[str]:
        """Return what the database finds wrong with itself, after a thorough look."""

    @abstractmethod
    def read_damaged_text(self, connection: Connection) -> None:
        """Let this connection give text that is damaged with escapes, rather than refuse all that is read with it."""

    def pause(self, attempt: int) -> None:
        """Wait before trying again."""
        time.sleep(PAUSE_SECONDS * attempt)

    def is_transient(self, error: DBAPIError) -> bool:
        """Say whether the same transaction may succeed when tried again."""
        return isinstance(error, IntegrityError) or error.connection_invalidated

    def explain(self, error: Exception) -> StoreError:
        """Return what the user is told, with the fix."""
        return StoreError(
            f"store {self.name}: {getattr(error, 'orig', None) or error}. Mend that, or {CHOOSE}."
        )
