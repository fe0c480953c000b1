"""Brings the runs of several stores into one: nothing twice, nothing decoded and encoded again.

A run is known by its identity, a record by its content and, of equal ones in a run, their count.
Some records at a time are one transaction: after a crash the target is whole, and the same merge
again adds what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select

from harness.contract.errors import UsageError
from harness_results.store import raw
from harness_results.store.database.upsert import insert_new
from harness_results.store.identity import KnownRun, known_runs, with_identity
from harness_results.store.integrity import Damage
from harness_results.store.merge_source import (
    Batch,
    CheckedBatch,
    Key,
    Rows,
    checked_batches,
    key_of,
    reused_records,
)
from harness_results.store.store import Store


@dataclass
class Merged:
    """What became of a source."""

    name: str
    runs: int = 0  # added
    records: int = 0  # added
    present: int = 0  # records that the target had
    late: int = 0  # runs added that began before the last one that the target had
    damages: list[Damage] = field(default_factory=list)  # records that were left out


def merge(target: Store, sources: Sequence[Store]) -> list[Merged]:
    """Add to ``target`` what the others hold and it does not, run by run in the order in which they began.

    Raises:
        UsageError: a source is the target itself.
        StoreError: a store cannot be read or written; the target is whole.
    """
    for source in sources:
        if source.database.canonical_name == target.database.canonical_name:
            raise UsageError(
                f"{source.name} cannot be merged into itself: name another store with --into"
            )
    results = [Merged(source.name) for source in sources]
    runs = [
        (run, n)
        for n, source in enumerate(sources)
        for run in _runs(source)
        if run.identity is not None
    ]
    writer = _Writer(target)
    for run, n in sorted(runs, key=lambda found: (found[0].started_at, found[1], found[0].run_id)):
        writer.add_run(run, sources[n], results[n])
    for source in sources:
        writer.add_reused(
            source, {run.run_id: str(run.identity) for run, n in runs if sources[n] is source}
        )
        writer.add_calibrations(source)
    return results


def _runs(store: Store) -> list[KnownRun]:
    return store.database.run(known_runs)


class _Writer:
    """The target, and which of its runs has which identity."""

    def __init__(self, target: Store) -> None:
        self.database = target.database
        self.ids: dict[str, int] = {}  # identity -> run id
        self.last = 0  # run id up to which they are known
        self.moved: dict[str, dict[int, int]] = {}  # a source's name -> record id there -> here
        self.latest = max((run.started_at for run in _runs(target)), default="")

    def add_run(self, run: KnownRun, source: Store, result: Merged) -> None:
        """Add the records of a run that are not there, and the run itself where it is new."""
        moved = self.moved.setdefault(source.name, {})
        for some in checked_batches(source, run.run_id):
            is_new, added = self.database.run(
                lambda c, some=some: self._write(c, run, some, moved),  # type: ignore[misc]
                write=True,
            )
            result.runs += is_new
            result.late += is_new and run.started_at < self.latest
            result.records += added
            result.present += len(some.keys) - added
            result.damages += some.damages

    def add_reused(self, source: Store, identities: Mapping[int, str]) -> None:
        """Let runs that took records of earlier runs have them here too."""
        moved, run_ids = self.moved.get(source.name, {}), self.database.run(self._known)
        rows = [
            {"run_id": run_ids[identities[run_id]], "record_id": moved[record_id]}
            for run_id, record_id in reused_records(source)
            if run_id in identities and record_id in moved
        ]
        self.database.run(
            lambda connection: insert_new(connection, raw.TABLES[raw.REUSED], rows), write=True
        )

    def add_calibrations(self, source: Store) -> None:
        """Add what was measured once of an environment, and replace what was measured before it."""
        rows = source.database.run(
            lambda c: _calibrations(c) if "calibrations" in raw.present(c) else []
        )
        self.database.run(lambda connection: _calibrate(connection, rows), write=True)

    def _write(
        self, connection: Connection, run: KnownRun, some: CheckedBatch, moved: dict[int, int]
    ) -> tuple[bool, int]:
        self.database.lock_schema(connection)  # one merge at a time
        run_id = self._known(connection).get(str(run.identity))
        is_new = run_id is None
        run_id = _new_run(connection, run) if run_id is None else run_id
        stored = _stored(connection, run_id, {key[0] for key, _ in some.keys})
        have: dict[Key, list[int]] = {}
        for row in stored:
            have.setdefault(key_of(row), []).append(row["record_id"])
        found = list(zip(some.batch.records, some.keys, strict=True))
        new = [row for row, (key, n) in found if n > len(have.get(key, ()))]
        moved |= {
            row["record_id"]: have[key][n - 1]
            for row, (key, n) in found
            if n <= len(have.get(key, ()))
        }
        moved |= _insert(
            connection, run_id, new, some.batch, Counter(row["trial_id"] for row in stored)
        )
        return is_new, len(new)

    def _known(self, connection: Connection) -> dict[str, int]:
        for run in known_runs(connection, after=self.last):
            self.last = run.run_id
            if run.identity is not None:
                self.ids.setdefault(run.identity, run.run_id)
        return self.ids


def _new_run(connection: Connection, run: KnownRun) -> int:
    table = raw.TABLES["runs"]
    run_id = connection.execute(
        insert(table).values(**run.fields).returning(table.c.run_id)
    ).scalar_one()
    connection.execute(
        insert(raw.TABLES["run_settings"]).values(run_id=run_id, content=with_identity(run))
    )
    return int(run_id)


def _stored(connection: Connection, run_id: int, trial_ids: set[str]) -> Rows:
    """Return the raw records of these trials that a run has; nobody else adds any until the transaction ends."""
    table, runs = raw.TABLES["records"], raw.TABLES["runs"]
    connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update())
    mine = (table.c.run_id == run_id) & table.c.trial_id.in_(sorted(trial_ids))
    return [dict(row) for row in connection.execute(select(table).where(mine)).mappings()]


def _insert(
    connection: Connection, run_id: int, new: Rows, batch: Batch, launches: Counter[str]
) -> dict[int, int]:
    """Add records with all that belongs to them; return the new id of each by its old one."""
    if not new:
        return {}
    insert_new(connection, raw.TABLES["trials"], batch.trials)
    insert_new(connection, raw.TABLES["environments"], batch.environments)
    insert_new(connection, raw.TABLES["identities"], batch.identities)
    table = raw.TABLES["records"]
    rows = [_moved(record, run_id, launches) for record in new]
    added = insert(table).returning(table.c.record_id, sort_by_parameter_order=True)
    ids = dict(
        zip((record["record_id"] for record in new), connection.scalars(added, rows), strict=True)
    )
    for name, column in raw.CHILDREN.items():
        mine = [
            row | {column: ids[row[column]]}
            for row in batch.children.get(name, ())
            if row[column] in ids
        ]
        if mine:
            connection.execute(insert(raw.TABLES[name]), mine)
    return ids


def _moved(record: dict[str, object], run_id: int, launches: Counter[str]) -> dict[str, object]:
    trial_id = str(record["trial_id"])
    launches[trial_id] += 1
    kept = {name: value for name, value in record.items() if name != "record_id"}
    return kept | {"run_id": run_id, "launch": launches[trial_id]}


def _calibrations(connection: Connection) -> Rows:
    return [dict(row) for row in connection.execute(select(raw.TABLES["calibrations"])).mappings()]


def _calibrate(connection: Connection, rows: Rows) -> None:
    table = raw.TABLES["calibrations"]
    for row in rows:
        same = (table.c.environment_id == row["environment_id"]) & (table.c.name == row["name"])
        connection.execute(delete(table).where(same, table.c.measured_at < row["measured_at"]))
    insert_new(connection, table, rows)
