"""Converts records to rows and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Select, case, func, insert, select, type_coerce, update
from sqlalchemy.types import NullType

from harness.contract.errors import StoreError
from harness.contract.records.probed import PROBES, merged, probe_flags
from harness.contract.records.readable import readable_curve
from harness.contract.records.record import Record
from harness.contract.trial import Trial
from harness_results.store.database.schema import (
    curves,
    encode,
    environments,
    records,
    runs,
    trials,
)
from harness_results.store.database.upsert import insert_new
from harness_results.store.members import membership
from harness_results.store.packed import PackedCurves, Spool

Row = dict[str, Any]
_FIELDS = (  # of a record: columns of its row with the same name
    "status", "reason", "figures", "details", "environment_id", "started_at", "harness_version",
)  # fmt: skip


@dataclass(frozen=True)
class PackedRecord:
    """The rows of one record, without the keys that a transaction assigns."""

    trial: Row
    environment: Row
    record: Row
    curves: list[Row]


@dataclass(frozen=True)
class Launch:
    """A record with its keys in the store.

    Attributes:
        number: 1, 2, ...: counts how often this run has measured this trial.
    """

    record_id: int
    run_id: int
    number: int
    record: Record


def pack(record: Record) -> PackedRecord:
    """Return the rows of ``record``."""
    trial = record.trial
    flat = {
        name: getattr(trial, name)
        for name in ("trial_id", "backend", "variant", "task", "cell", "length")
    }
    digest = hashlib.sha256(encode(dict(record.environment)).encode()).hexdigest()[:16]
    fields = {name: getattr(record, name) for name in _FIELDS}
    series = dict(record.curves)
    if PROBES in record.details:  # apart, because probes are added to a record that never changes
        details = dict(record.details)
        series[PROBES] = details.pop(PROBES)
        fields["details"] = details
    return PackedRecord(
        trial=flat | {"content": trial.content()},
        environment={"digest": digest, "content": dict(record.environment)},
        record=fields | {"trial_id": trial.trial_id, "environment": digest},
        curves=[{"name": name, "content": content} for name, content in series.items()],
    )


def insert_record(connection: Connection, packed: PackedRecord, run_id: int) -> int:
    """Insert the rows of a record, and its trial and environment if they are new; return its id."""
    # The lock keeps others from adding launches while they are counted.
    connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update())
    insert_new(connection, trials, [packed.trial])
    insert_new(connection, environments, [packed.environment])
    same = (records.c.run_id == run_id) & (records.c.trial_id == packed.trial["trial_id"])
    launches = connection.scalar(select(func.count()).select_from(records).where(same)) or 0
    values = packed.record | {"run_id": run_id, "launch": launches + 1}
    added = connection.execute(insert(records).values(values).returning(records.c.record_id))
    record_id = int(added.scalar_one())
    series = [row | {"record_id": record_id} for row in packed.curves]
    if series:
        connection.execute(insert(curves), series)
    return record_id


def launches(
    run_id: int | None = None, trial_id: str | None = None, *, with_reused: bool = True
) -> Select[tuple[int]]:
    """Return the query for the ids of launches, own and reused.

    Args:
        run_id: of the run; None: for each trial the latest run that has it. A run in which every
            launch of the trial was interrupted counts only if no other run has the trial.
        trial_id: of the only trial; None: all trials.
        with_reused: whether the store has a table of reused records.
    """
    of = membership(with_reused=with_reused, trial_ids=None if trial_id is None else [trial_id])
    if run_id is not None:
        return select(of.c.record_id).where(of.c.run_id == run_id)
    trial = records.c.trial_id
    ended = func.max(case((records.c.status != "interrupted", of.c.run_id))).over(
        partition_by=trial
    )
    last = func.coalesce(ended, func.max(of.c.run_id).over(partition_by=trial)).label("last")
    every = select(of, last).join(records, records.c.record_id == of.c.record_id).subquery()
    return select(every.c.record_id).where(every.c.run_id == every.c.last)


def some_of(run_id: int | None, after: int, most: int) -> Select[tuple[int]]:
    """Return the query for the next ``most`` ids after ``after``, of one run or of all (None)."""
    wanted = select(records.c.record_id).where(records.c.record_id > after)
    wanted = wanted if run_id is None else wanted.where(records.c.run_id == run_id)
    return wanted.order_by(records.c.record_id).limit(most)


def read_launches(
    connection: Connection,
    wanted: Select[tuple[int]],
    *,
    with_curves: bool,
    spool: Spool | None = None,
) -> list[Launch]:
    """Return the wanted records in the order in which they were stored.

    Trials and environments that records share are read once.

    Args:
        connection: to the store.
        wanted: the ids of the records.
        with_curves: with their curves.
        spool: keeps the curves, which are decoded when they are read; None: decode them now.
    """
    query = select(records).where(records.c.record_id.in_(wanted)).order_by(records.c.record_id)
    rows = connection.execute(query).mappings().all()
    contents = _shared(connection, trials.c.trial_id, records.c.trial_id, wanted)
    models = {trial_id: _model(content) for trial_id, content in contents.items()}
    machines = _shared(connection, environments.c.digest, records.c.environment, wanted)
    is_packed = spool is not None
    series = _read_curves(connection, wanted, packed=is_packed) if with_curves else {}
    probes = _read_probes(connection, wanted)
    launches = []
    for row in rows:
        trial, machine = models.get(row["trial_id"]), machines.get(row["environment"], {})
        of_record = series.get(row["record_id"], {})
        record = unpack(row, trial, machine, {} if is_packed else of_record)
        if results := probes.get(row["record_id"]):
            record = _with_probes(record, results)
        if spool is not None:
            record = replace(record, curves=PackedCurves(of_record, spool))
        launches.append(Launch(row["record_id"], row["run_id"], row["launch"], record))
    return launches


def unpack(
    row: Mapping[Any, Any], trial: Trial | None, environment: Any, series: Mapping[str, Any]
) -> Record:
    """Return the record of a row of ``records``, its trial, its environment and its curves.

    Raises:
        StoreError: its content was altered.
    """
    content = {name: row[name] for name in _FIELDS} | {"environment": environment or {}}
    damaged = [
        name
        for name in ("figures", "details", "environment")
        if not isinstance(content[name], dict)
    ]
    damaged += ["trial"] if trial is None else []
    if trial is None or damaged:
        raise StoreError(
            f"record {row['record_id']} (trial {row['trial_id']}) of the store is damaged: "
            f"{', '.join(damaged)} cannot be read. Restore the store from a copy, or delete that "
            "record."
        )
    return Record.read(trial, content | {"curves": series})


def _model(content: Any) -> Trial | None:
    try:
        trial = Trial.model_validate(content)
    except ValueError:
        return None
    fields = _shared_fields(frozenset(trial.model_fields_set))
    object.__setattr__(trial, "__pydantic_fields_set__", fields)
    return trial


@cache
def _shared_fields(names: frozenset[str]) -> set[str]:
    """Return the set of these names, which thousands of trials share: it takes 2 kB."""
    return set(names)


def _shared(
    connection: Connection, key: Column[Any], column: Column[Any], wanted: Select[tuple[int]]
) -> Row:
    """Return key -> content of the rows of another table to which the wanted records refer."""
    used = select(column).where(records.c.record_id.in_(wanted))
    rows = connection.execute(select(key, key.table.c.content).where(key.in_(used)))
    return {row[0]: row[1] for row in rows}


def _read_curves(
    connection: Connection, wanted: Select[tuple[int]], *, packed: bool
) -> dict[int, dict[str, Any]]:
    series: dict[int, dict[str, Any]] = {}
    content = type_coerce(curves.c.content, NullType()) if packed else curves.c.content
    query = select(curves.c.record_id, curves.c.name, content)
    mine = curves.c.record_id.in_(wanted) & (curves.c.name != PROBES)
    rows = connection.execute(query.where(mine))
    for record_id, name, content in rows:
        series.setdefault(record_id, {})[name] = content
    return series


def _read_probes(connection: Connection, wanted: Select[tuple[int]]) -> dict[int, Any]:
    """Return record id -> what probes measured."""
    mine = curves.c.record_id.in_(wanted) & (curves.c.name == PROBES)
    rows = connection.execute(select(curves.c.record_id, curves.c.content).where(mine))
    return {record_id: readable_curve(content) for record_id, content in rows}


def _with_probes(record: Record, results: Any) -> Record:
    """Return the record with its probes in its details, and a flag for each that failed."""
    details = {**record.details, PROBES: results}
    if failures := probe_flags(details):
        details["flags"] = [*(record.details.get("flags") or ()), *failures]
    return replace(record, details=details)


def add_probe(
    connection: Connection, wanted: Select[tuple[int]], name: str, content: Mapping[str, Any]
) -> None:
    """Add what a probe measured to the wanted records that ended well."""
    mine = records.c.record_id.in_(wanted) & (records.c.status == "ok")
    for record_id in list(connection.scalars(select(records.c.record_id).where(mine))):
        merge_probes(connection, record_id, {name: dict(content)})


def merge_probes(connection: Connection, record_id: int, results: Mapping[str, Any]) -> None:
    """Add what probes measured to a record; of two results of a probe one stays (``merged``)."""
    mine = (curves.c.record_id == record_id) & (curves.c.name == PROBES)
    stored = connection.scalar(select(curves.c.content).where(mine))
    insert_new(connection, curves, [{"record_id": record_id, "name": PROBES, "content": {}}])
    values = {"content": merged(readable_curve(stored), results)}
    connection.execute(update(curves).where(mine).values(values))
