"""The store of records: append-only, one transaction per record."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Select, select, update

from harness.contract.errors import StoreError, UnknownNameError
from harness.contract.records.record import Record
from harness.contract.trial import Trial
from harness_results.store import rows
from harness_results.store.database import schema
from harness_results.store.database.base import CHECK, CHOOSE, Database
from harness_results.store.database.open import is_there, open_database
from harness_results.store.database.schema_version import (
    bring_up_to_date,
    check_version,
    try_to_write,
)
from harness_results.store.database.upsert import insert_new
from harness_results.store.ledger import Ledger
from harness_results.store.packed import Spool
from harness_results.store.rows import Launch
from harness_results.store.runs import Run, begin_run, now, read_runs, run_id_of
from harness_results.text.format import one_line

MOST_NAMED, SHORT_ID = 10, 6  # trials in a message; digits of the id of each
BATCH = 500  # records at a time, if not all are wanted at once


class Store:
    """A database of records; a context manager that closes it.

    Any number of processes may use one store at the same time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._version = 0  # of the tables; 0: there are none

    @classmethod
    def open(cls, location: str | Path, *, create: bool = True) -> Self:
        """Open the store at a file's path or a SQLAlchemy URL.

        Args:
            location: the path or URL.
            create: make it if it is missing, and check that it can be written. False: it must
                exist, and is only read.

        Raises:
            StoreError: it cannot be used; an existing file was not altered.
        """
        store = cls(open_database(location, create=create))
        try:
            store._prepare(create=create)
        except BaseException:
            store.close()
            raise
        return store

    def _prepare(self, *, create: bool) -> None:
        run = self._database.run
        self._check()
        if not self._version and not create:
            raise StoreError(
                f"store {self.name} is empty: nothing was ever stored there. "
                f"Run something, or {CHOOSE}."
            )
        if create and self._version == schema.SCHEMA_VERSION:
            run(try_to_write, write=True)
        elif create:
            run(self._bring_up_to_date, write=True)
            self._version = schema.SCHEMA_VERSION

    def _bring_up_to_date(self, connection: Connection) -> None:
        self._database.lock_schema(connection)
        bring_up_to_date(connection, self.name)

    @classmethod
    def find(cls, location: str | Path) -> Self | None:
        """Open the store at a file's path or a URL to read it; None if there is no store yet.

        Raises:
            StoreError: it cannot be used; an existing file was not altered.
        """
        if not is_there(location):
            return None
        store = cls(open_database(location, create=False))
        try:
            store._check()
        except BaseException:
            store.close()
            raise
        if store._version:
            return store
        store.close()
        return None

    def _check(self) -> None:
        self._version = self._database.run(lambda c: check_version(c, self.name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.engine.dispose()

    @property
    def database(self) -> Database:
        """The database that holds the records."""
        return self._database

    @property
    def version(self) -> int:
        """The version of its tables."""
        return self._version

    @property
    def name(self) -> str:
        """The path or URL, without a password."""
        return self._database.name

    @property
    def ledger(self) -> Ledger | None:
        """The access of sweeps; None: an older store that was opened to be read."""
        return Ledger(self._database) if self._has_identities else None

    @property
    def _has_identities(self) -> bool:
        return self._version >= schema.WITH_IDENTITIES

    def begin_run(self, command: str, settings: Mapping[str, Any] | None = None) -> int:
        """Store a run that starts now; return its id, larger than every earlier id.

        Args:
            command: what the user typed.
            settings: how it measures (launches, the seed of their order, ...), as JSON values.

        Raises:
            StoreError: the store cannot be written.
        """
        return self._database.run(
            lambda connection: begin_run(connection, command, settings or {}), write=True
        )

    def add(self, record: Record, run_id: int) -> None:
        """Store a record. When this returns, the record survives a crash of the process.

        Raises:
            StoreError: the store cannot be written; nothing of this record is stored.
        """
        packed = rows.pack(record)
        self._database.run(
            lambda connection: rows.insert_record(connection, packed, run_id), write=True
        )

    def add_probe(self, trial_id: str, name: str, content: Mapping[str, Any]) -> None:
        """Add what a probe measured to each launch of a trial's latest run that ended well.

        What the same probe measured before is replaced. Nothing else of a record changes.

        Raises:
            StoreError: the store cannot be written.
        """
        wanted = rows.launches(trial_id=trial_id, with_reused=self._has_identities)
        self._database.run(lambda c: rows.add_probe(c, wanted, name, content), write=True)

    def calibrate(self, environment_id: str, name: str, content: Any) -> None:
        """Store a calibration of an environment (a limit, a noise floor), and replace an older one.

        Raises:
            StoreError: the store cannot be written.
        """
        table = schema.calibrations
        key = {"environment_id": environment_id, "name": name}

        def replace(connection: Connection) -> None:
            values = {"content": content, "measured_at": now()}
            insert_new(connection, table, [key | values])
            connection.execute(update(table).filter_by(**key).values(values))

        self._database.run(replace, write=True)

    def all_calibrations(self) -> dict[str, dict[str, Any]]:
        """Return environment_id -> name -> content of all calibrations."""
        if self._version < schema.WITH_SETTINGS:
            return {}
        calibrations: dict[str, dict[str, Any]] = {}
        for row in self._database.run(lambda c: c.execute(select(schema.calibrations)).all()):
            calibrations.setdefault(row.environment_id, {})[row.name] = row.content
        return calibrations

    def launches(self, run_id: int | None = None, *, with_curves: bool = False) -> list[Record]:
        """Return every launch of each trial.

        Args:
            run_id: of the run; None: for each trial the latest run that has it. A run in which
                every launch of the trial was interrupted counts only if no other run has the trial.
            with_curves: with their curves; otherwise ``curves`` is empty.
        """
        return self._read(
            rows.launches(run_id, with_reused=self._has_identities), with_curves=with_curves
        )

    def launches_of(self, trial_id: str) -> list[Record]:
        """Return every launch of one trial with its curves, of the latest run that has the trial.

        Args:
            trial_id: the id, or its first characters; or ``last``, the trial of the last run.

        Raises:
            UnknownNameError: no trial's id starts with these characters.
            UsageError: ``last``, but there is no run.
            StoreError: the ids of several trials do, or the last run has several.
        """
        ids = self._database.run(
            lambda c: list(c.scalars(select(schema.records.c.trial_id).distinct()))
        )
        if trial_id == "last":
            trials = {record.trial for record in self.launches(self.run_named("last"))}
            _check_single(trials)
            matches = [trial.trial_id for trial in trials]
        else:
            matches = sorted(name for name in ids if name.startswith(trial_id.lower()))
        if not matches:
            near = difflib.get_close_matches(trial_id, ids, n=10, cutoff=0.3)
            raise UnknownNameError(
                "trial", trial_id, near or ids[-10:], f"harness report {self.name} --format csv"
            )
        if len(matches) > 1:
            some = ", ".join(matches[:MOST_NAMED]) + (", ..." if len(matches) > MOST_NAMED else "")
            raise StoreError(f"trial {trial_id!r} could be any of {some}: give more of its digits.")
        return self._read(
            rows.launches(trial_id=matches[0], with_reused=self._has_identities), with_curves=True
        )

    def runs(self) -> list[Run]:
        """Return all runs, the oldest first."""
        with_settings = self._version >= schema.WITH_SETTINGS
        return self._database.run(lambda c: read_runs(c, with_settings=with_settings))

    def run_named(self, text: str | None) -> int | None:
        """Return the id of the run that ``3``, ``last`` or ``last~1`` names; None (all runs) as is.

        Raises:
            UsageError: there is no such run.
        """
        return None if text is None else run_id_of(text, self.runs(), self.name)

    def each_launch(
        self, run_id: int | None = None, *, with_curves: bool = False
    ) -> Iterator[Launch]:
        """Yield every launch of one run or of all (None), in the order in which they were stored.

        At most ``BATCH`` records are in memory.
        """
        after = 0
        while launches := self.read(rows.some_of(run_id, after, BATCH), with_curves=with_curves):
            yield from launches
            after = launches[-1].record_id

    def _read(self, wanted: Select[tuple[int]], *, with_curves: bool) -> list[Record]:
        return [launch.record for launch in self.read(wanted, with_curves=with_curves)]

    def read(
        self, wanted: Select[tuple[int]], *, with_curves: bool, spool: Spool | None = None
    ) -> list[Launch]:
        """Return the wanted records in the order in which they were stored, from one transaction.

        Args:
            wanted: the ids of the records.
            with_curves: with their curves.
            spool: keeps the curves, which are decoded when they are read; None: decode them now.

        Raises:
            StoreError: a record cannot be read.
        """
        try:
            return self._database.run(
                lambda c: rows.read_launches(c, wanted, with_curves=with_curves, spool=spool)
            )
        except ValueError as error:
            said = one_line(error)
            raise StoreError(
                f"store {self.name} holds a record that cannot be read: {said}. {CHECK}."
            ) from error


def _check_single(trials: Collection[Trial]) -> None:
    """Check that the last run has one trial.

    Raises:
        StoreError: it has several; the message names the first ten.
    """
    if len(trials) < 2:  # noqa: PLR2004
        return
    ordered = sorted(trials, key=lambda trial: (trial.task, trial.cell, trial.length))
    names = [f"{trial.trial_id[:SHORT_ID]} ({trial.cell} T={trial.length})" for trial in ordered]
    some = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    raise StoreError(
        f"the last run has {len(trials)} trials, so 'last' names none of them: write the first "
        f"digits of one: {some}."
    )
