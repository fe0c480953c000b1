"""Checks a store in full: the database, every value, every reference, every record. It alters nothing."""

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

Fields = Mapping[Any, Any]  # column -> raw value


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong."""

    where: str  # record 7 (trial 3f9a..., run 2); run 3; environment ...
    what: str


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what is wrong with it."""

    records: int
    damages: tuple[Damage, ...]


def check_store(store: Store) -> Checked:
    """Look at everything that the store holds.

    Raises:
        StoreError: the database cannot be read at all.
    """
    return store.database.run(lambda connection: _check(store, connection))


def _check(store: Store, connection: Connection) -> Checked:
    damages = [Damage("database", said) for said in store.database.problems(connection)]
    store.database.read_damaged_text(connection)
    names = raw.present(connection)
    damages += [
        damage
        for name in names
        for damage in _lost_parents(connection, schema.tables.tables[name], names)
    ]
    damages += [
        damage
        for name in names
        if name not in {"records", "trials"}
        for damage in _values(connection, name)
    ]
    records, found = _records(connection)
    return Checked(records, tuple(damages + found))


def _values(connection: Connection, name: str) -> Iterator[Damage]:
    for rows in raw.batches(connection, name):
        for row in rows:
            for column, value in row._mapping.items():  # noqa: SLF001
                try:
                    raw.decode(name, column, value)
                except raw.DAMAGED as error:
                    yield Damage(
                        _place(name, row._mapping),  # noqa: SLF001
                        f"{column} cannot be read ({_brief(error)})",
                    )


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
            _place(table.name, row),
            f"its {key.column.table.name.rstrip('s')} {row[mine.name]} is missing",
        )


def _records(connection: Connection) -> tuple[int, list[Damage]]:
    trials = {
        row.trial_id: row.content for rows in raw.batches(connection, "trials") for row in rows
    }
    faults = {trial_id: _fault_of_trial(trial_id, content) for trial_id, content in trials.items()}
    count, found = 0, []
    for rows in raw.batches(connection, "records"):
        for row in rows:
            count += 1
            fields = row._mapping  # noqa: SLF001
            what = faults.get(row.trial_id) or fault_of_record(fields, trials.get(row.trial_id))
            if what:
                found.append(Damage(_place("records", fields), what))
    return count, found


def _fault_of_trial(trial_id: str, content: str) -> str | None:
    """Return what is wrong with a trial, for all of its records."""
    try:
        found = Trial.model_validate(raw.decode("trials", "content", content)).trial_id
    except raw.DAMAGED as error:
        return f"its trial cannot be read ({_brief(error)})"
    return None if found == trial_id else f"its trial was altered: it hashes to {found}"


def fault_of_record(fields: Fields, trial: str | None) -> str | None:
    """Return what is wrong with a raw record, None where it can be read; ``trial``: the raw content of its trial."""
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
    """Return what is wrong with raw records, by their ids: with themselves or with anything that they need."""
    contents = {row["trial_id"]: row["content"] for row in trials}
    wrong = {trial_id: _fault_of_trial(trial_id, content) for trial_id, content in contents.items()}
    places = {row["digest"]: _fault_of_value("environments", row) for row in environments}
    series: dict[int, str] = {}
    for name, rows in children.items():
        mine = raw.CHILDREN[name]
        series |= {row[mine]: fault for row in rows if (fault := _fault_of_value(name, row))}
    found = {}
    for row in records:
        environment = places.get(row["environment"], "its environment is missing")
        what = wrong.get(row["trial_id"]) or environment or series.get(row["record_id"])
        what = what or fault_of_record(row, contents.get(row["trial_id"]))
        if what:
            found[row["record_id"]] = Damage(_place("records", row), what)
    return found


def _fault_of_value(name: str, fields: Fields) -> str | None:
    for column, value in fields.items():
        try:
            raw.decode(name, column, value)
        except raw.DAMAGED as error:
            return f"its {column} in {name.replace('_', ' ')} cannot be read ({_brief(error)})"
    return None


def _place(name: str, fields: Fields) -> str:
    if name == "records":
        return f"record {fields['record_id']} (trial {fields['trial_id']}, run {fields['run_id']})"
    key = " ".join(str(fields[column.name]) for column in raw.TABLES[name].primary_key)
    return f"{name.replace('_', ' ')} {key}"


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
