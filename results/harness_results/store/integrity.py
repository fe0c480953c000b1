"""Checks a whole store: the database, every value, reference and record. Alters nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, ForeignKey, Table, select

from harness.contract.errors import StoreError
from harness.contract.trial import Trial
from harness_results.store import raw
from harness_results.store.database import schema
from harness_results.store.rows import unpack
from harness_results.store.store import Store
from harness_results.text.format import one_line

Fields = Mapping[Any, Any]  # column -> raw value


@dataclass(frozen=True)
class Damage:
    """A defect of a store.

    Attributes:
        where: ``record 7 (trial 3f9a..., run 2)``, ``run 3``, ...
        what: what is wrong there.
    """

    where: str
    what: str


@dataclass(frozen=True)
class Checked:
    """The result of a check: the number of records that were checked, and all defects."""

    records: int
    damages: tuple[Damage, ...]


def check_store(store: Store) -> Checked:
    """Check everything that the store holds.

    Raises:
        StoreError: the database cannot be read at all.
    """
    return store.database.run(lambda connection: _check(store, connection))


def _check(store: Store, connection: Connection) -> Checked:
    damages = [Damage("database", said) for said in store.database.problems(connection)]
    store.database.read_damaged_text(connection)
    names = raw.present(connection)
    for name in names:
        damages += _lost_parents(connection, schema.tables.tables[name], names)
    for name in names:
        if name not in {"records", "trials"}:
            damages += _values(connection, name)
    records, damages_of_records = _records(connection)
    return Checked(records, tuple(damages + damages_of_records))


def _values(connection: Connection, name: str) -> Iterator[Damage]:
    for rows in raw.batches(connection, name):
        for row in rows:
            fields = row._mapping  # noqa: SLF001
            for column, why in _undecodable(name, fields):
                yield Damage(_location(name, fields), f"{column} cannot be read ({why})")


def _undecodable(name: str, fields: Fields) -> Iterator[tuple[str, str]]:
    """Yield each column of a raw row that cannot be decoded, and why."""
    for column, value in fields.items():
        try:
            raw.decode(name, column, value)
        except raw.DAMAGED as error:
            yield column, _brief(error)


def _lost_parents(connection: Connection, table: Table, names: list[str]) -> Iterator[Damage]:
    for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
        if key.column.table.name in names:
            yield from _lost(connection, table, key)


def _lost(connection: Connection, table: Table, key: ForeignKey) -> Iterator[Damage]:
    child, parent = raw.TABLES[table.name], raw.TABLES[key.column.table.name]
    mine, theirs = child.c[key.parent.name], parent.c[key.column.name]
    orphans = (
        select(child)
        .join(parent, mine == theirs, isouter=True)
        .where(mine.is_not(None), theirs.is_(None))
    )
    for row in connection.execute(orphans).mappings():
        yield Damage(
            _location(table.name, row),
            f"its {key.column.table.name.rstrip('s')} {row[mine.name]} is missing",
        )


def _records(connection: Connection) -> tuple[int, list[Damage]]:
    trials = {
        row.trial_id: row.content for rows in raw.batches(connection, "trials") for row in rows
    }
    faults = {trial_id: _fault_of_trial(trial_id, content) for trial_id, content in trials.items()}
    count, damages = 0, []
    for rows in raw.batches(connection, "records"):
        for row in rows:
            count += 1
            fields = row._mapping  # noqa: SLF001
            what = faults.get(row.trial_id) or fault_of_record(fields, trials.get(row.trial_id))
            if what:
                damages.append(Damage(_location("records", fields), what))
    return count, damages


def _fault_of_trial(trial_id: str, content: str) -> str | None:
    """Return what is wrong with a trial, for all of its records."""
    try:
        real_id = Trial.model_validate(raw.decode("trials", "content", content)).trial_id
    except raw.DAMAGED as error:
        return f"its trial cannot be read ({_brief(error)})"
    return None if real_id == trial_id else f"its trial was altered: it hashes to {real_id}"


def fault_of_record(fields: Fields, trial: str | None) -> str | None:
    """Return what is wrong with a raw record and the raw content of its trial; None: nothing."""
    try:
        decoded = {name: raw.decode("records", name, value) for name, value in fields.items()}
        unpack(decoded, Trial.model_validate(raw.decode("trials", "content", trial)), {}, {})
    except StoreError as error:
        return str(error).partition(" is damaged: ")[2].partition(". ")[0] or str(error)
    except raw.DAMAGED as error:
        return f"it cannot be read ({_brief(error)})"
    return None


def damages_of_batch(
    records: Sequence[Fields],
    trials: Sequence[Fields],
    environments: Sequence[Fields],
    children: Mapping[str, Sequence[Fields]],
) -> dict[int, Damage]:
    """Return record id -> what is wrong with a raw record or with any row that it needs."""
    contents = {row["trial_id"]: row["content"] for row in trials}
    of_trial = {name: _fault_of_trial(name, content) for name, content in contents.items()}
    of_environment = {row["digest"]: _fault_of_value("environments", row) for row in environments}
    of_children: dict[int, str] = {}
    for name, rows in children.items():
        for row in rows:
            if fault := _fault_of_value(name, row):
                of_children[row[raw.CHILDREN[name]]] = fault
    damages = {}
    for row in records:
        what = (
            of_trial.get(row["trial_id"])
            or of_environment.get(row["environment"], "its environment is missing")
            or of_children.get(row["record_id"])
            or fault_of_record(row, contents.get(row["trial_id"]))
        )
        if what:
            damages[row["record_id"]] = Damage(_location("records", row), what)
    return damages


def _fault_of_value(name: str, fields: Fields) -> str | None:
    for column, why in _undecodable(name, fields):
        return f"its {column} in {name.replace('_', ' ')} cannot be read ({why})"
    return None


def _location(name: str, fields: Fields) -> str:
    if name == "records":
        return f"record {fields['record_id']} (trial {fields['trial_id']}, run {fields['run_id']})"
    key = " ".join(str(fields[column.name]) for column in raw.TABLES[name].primary_key)
    return f"{name.replace('_', ' ')} {key}"


def _brief(error: Exception) -> str:
    return one_line(error)[:200]
