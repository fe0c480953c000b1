"""Merges the runs of several stores into one, without duplicates and without decoding.

A run is recognised by its identity, a record by its content. Equal records of a run are counted.
Each batch of records is one transaction: after a crash the target is whole, and the same merge
adds what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select

from harness.contract.errors import UsageError
from harness.contract.records.probed import PROBES
from harness.contract.records.readable import readable_curve
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
from harness_results.store.rows import merge_probes
from harness_results.store.store import Store


@dataclass
class Merged:
    """What a merge did with one source.

    Attributes:
        name: of the source.
        runs: the number of runs added.
        records: the number of records added.
        present: the number of records that the target had already.
        late: the number of runs added that began before the last run of the target.
        damages: what is wrong with the records that were left out.
    """

    name: str
    runs: int = 0
    records: int = 0
    present: int = 0
    late: int = 0
    damages: list[Damage] = field(default_factory=list)


def merge(target: Store, sources: Sequence[Store]) -> list[Merged]:
    """Add to ``target`` what it lacks of the sources, run by run in the order of their start.

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
    for run, n in sorted(runs, key=lambda pair: (pair[0].started_at, pair[1], pair[0].run_id)):
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
    """Writes to the target, and remembers the identities of its runs."""

    def __init__(self, target: Store) -> None:
        self.database = target.database
        self.ids: dict[str, int] = {}  # identity -> run id
        self.last = 0  # the last run id that is in ``ids``
        self.moved: dict[str, dict[int, int]] = {}  # a source's name -> record id there -> here
        self.latest = max((run.started_at for run in _runs(target)), default="")

    def add_run(self, run: KnownRun, source: Store, result: Merged) -> None:
        """Add a run if it is new, and its records that are missing."""
        moved = self.moved.setdefault(source.name, {})
        for checked in checked_batches(source, run.run_id):
            is_new, added = self.database.run(
                lambda c, checked=checked: self._write(c, run, checked, moved),  # type: ignore[misc]
                write=True,
            )
            result.runs += is_new
            result.late += is_new and run.started_at < self.latest
            result.records += added
            result.present += len(checked.keys) - added
            result.damages += checked.damages

    def add_reused(self, source: Store, identities: Mapping[int, str]) -> None:
        """Let runs that reuse records of earlier runs reuse them here too."""
        moved, run_ids = self.moved.get(source.name, {}), self.database.run(self._run_ids)
        rows = [
            {"run_id": run_ids[identities[run_id]], "record_id": moved[record_id]}
            for run_id, record_id in reused_records(source)
            if run_id in identities and record_id in moved
        ]
        self.database.run(
            lambda connection: insert_new(connection, raw.TABLES[raw.REUSED], rows), write=True
        )

    def add_calibrations(self, source: Store) -> None:
        """Add the calibrations of environments, and replace earlier ones."""
        rows = source.database.run(
            lambda c: _calibrations(c) if "calibrations" in raw.present(c) else []
        )
        self.database.run(lambda connection: _calibrate(connection, rows), write=True)

    def _write(
        self, connection: Connection, run: KnownRun, checked: CheckedBatch, moved: dict[int, int]
    ) -> tuple[bool, int]:
        """Return whether the run is new, and how many records were added."""
        self.database.lock_schema(connection)  # one merge at a time
        run_id = self._run_ids(connection).get(str(run.identity))
        is_new = run_id is None
        run_id = _new_run(connection, run) if run_id is None else run_id
        stored = _stored(connection, run_id, {key[0] for key, _ in checked.keys})
        ids_by_key: dict[Key, list[int]] = {}
        for row in stored:
            ids_by_key.setdefault(key_of(row), []).append(row["record_id"])
        probes = [row for row in checked.batch.children.get("curves", ()) if row["name"] == PROBES]
        probes_of = {row["record_id"]: row["content"] for row in probes}
        new: Rows = []
        for row, (key, number) in zip(checked.batch.records, checked.keys, strict=True):
            ids = ids_by_key.get(key, [])
            if number > len(ids):
                new.append(row)
            else:
                stored_id = moved[row["record_id"]] = ids[number - 1]
                if content := probes_of.get(row["record_id"]):  # measured there, perhaps not here
                    results = readable_curve(raw.decode("curves", "content", content))
                    merge_probes(connection, stored_id, results)
        launches = Counter(row["trial_id"] for row in stored)
        moved |= _insert(connection, run_id, new, checked.batch, launches)
        return is_new, len(new)

    def _run_ids(self, connection: Connection) -> dict[str, int]:
        """Return identity -> run id of the target's runs, with those added since the last call."""
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
    """Return the raw records of these trials in a run, and lock the run for this transaction."""
    table, runs = raw.TABLES["records"], raw.TABLES["runs"]
    connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update())
    mine = (table.c.run_id == run_id) & table.c.trial_id.in_(sorted(trial_ids))
    return [dict(row) for row in connection.execute(select(table).where(mine)).mappings()]


def _insert(
    connection: Connection, run_id: int, new: Rows, batch: Batch, launches: Counter[str]
) -> dict[int, int]:
    """Insert records with all their rows; return old record id -> new record id."""
    if not new:
        return {}
    insert_new(connection, raw.TABLES["trials"], batch.trials)
    insert_new(connection, raw.TABLES["environments"], batch.environments)
    insert_new(connection, raw.TABLES["identities"], batch.identities)
    table = raw.TABLES["records"]
    rows = []
    for record in new:
        launches[record["trial_id"]] += 1
        row = record | {"run_id": run_id, "launch": launches[record["trial_id"]]}
        del row["record_id"]
        rows.append(row)
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


def _calibrations(connection: Connection) -> Rows:
    return [dict(row) for row in connection.execute(select(raw.TABLES["calibrations"])).mappings()]


def _calibrate(connection: Connection, rows: Rows) -> None:
    table = raw.TABLES["calibrations"]
    for row in rows:
        same = (table.c.environment_id == row["environment_id"]) & (table.c.name == row["name"])
        connection.execute(delete(table).where(same, table.c.measured_at < row["measured_at"]))
    insert_new(connection, table, rows)
