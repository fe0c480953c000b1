"""Reads the records of a run for a merge: in batches, with all their rows, undecoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from harness_results.store import raw
from harness_results.store.integrity import Damage, damages_of_batch
from harness_results.store.store import Store

Rows = list[dict[str, Any]]
Key = tuple[str, str]  # the trial's id, a hash of the record's content


@dataclass(frozen=True)
class Batch:
    """Some records of one run, with the rows to which they refer and their children."""

    records: Rows
    trials: Rows
    environments: Rows
    identities: Rows
    children: dict[str, Rows]


@dataclass(frozen=True)
class CheckedBatch:
    """A batch without its damaged records.

    Attributes:
        keys: for each record its key, and how many records of its run up to it have that key.
        damages: what is wrong with the records that were left out.
    """

    batch: Batch
    keys: list[tuple[Key, int]]
    damages: list[Damage]


def checked_batches(store: Store, run_id: int) -> Iterator[CheckedBatch]:
    """Yield the run's records in the order in which they were stored.

    There is at least one batch. It may be empty.
    """
    seen: Counter[Key] = Counter()
    last, more = 0, True
    while more:
        batch = store.database.run(
            lambda connection, after=last: _read(store, connection, run_id, after)  # type: ignore[misc]
        )
        more = len(batch.records) == raw.BATCH
        last = batch.records[-1]["record_id"] if batch.records else last
        damages = damages_of_batch(batch.records, batch.trials, batch.environments, batch.children)
        whole = [row for row in batch.records if row["record_id"] not in damages]
        keys = []
        for record in whole:
            key = key_of(record)
            seen[key] += 1
            keys.append((key, seen[key]))
        yield CheckedBatch(replace(batch, records=whole), keys, list(damages.values()))


def key_of(record: dict[str, Any]) -> Key:
    """Return the key of a record within its run."""
    return record["trial_id"], raw.digest(record)


def reused_records(store: Store) -> list[tuple[int, int]]:
    """Return (run id, record id) of the records that runs reuse from earlier runs."""
    table = raw.TABLES[raw.REUSED]

    def read(connection: Connection) -> list[tuple[int, int]]:
        if raw.REUSED not in raw.present(connection):
            return []
        return [(row.run_id, row.record_id) for row in connection.execute(select(table))]

    return store.database.run(read)


def _read(store: Store, connection: Connection, run_id: int, after: int) -> Batch:
    """Read one batch in one transaction, so that writers to the source wait for no more."""
    store.database.read_damaged_text(connection)
    table = raw.TABLES["records"]
    mine = (table.c.run_id == run_id) & (table.c.record_id > after)
    query = select(table).where(mine).order_by(table.c.record_id).limit(raw.BATCH)
    records = [dict(row) for row in connection.execute(query).mappings()]
    ids = [row["record_id"] for row in records]
    names = set(raw.present(connection))
    children = {
        name: _rows(connection, name, column, ids)
        for name, column in raw.CHILDREN.items()
        if name in names
    }
    fingerprints = {row["fingerprint"] for row in children.get("record_identities", ())}
    return Batch(
        records,
        _rows(connection, "trials", "trial_id", {row["trial_id"] for row in records}),
        _rows(connection, "environments", "digest", {row["environment"] for row in records}),
        _rows(connection, "identities", "fingerprint", fingerprints) if fingerprints else [],
        children,
    )


def _rows(connection: Connection, name: str, column: str, values: Iterable[Any]) -> Rows:
    table = raw.TABLES[name]
    query = select(table).where(table.c[column].in_(list(values))).order_by(*table.primary_key)
    return [dict(row) for row in connection.execute(query).mappings()]
