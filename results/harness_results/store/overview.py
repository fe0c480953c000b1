"""Counts what a store holds. Fast for any size, because no record is decoded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from harness.contract.records.record import STATUSES
from harness_results.store.database.schema import environments, records, runs, trials
from harness_results.store.store import Store
from harness_results.text.format import as_mapping


def overview(store: Store) -> dict[str, Any]:
    """Return the name, version, size and counts of the store, and its environments.

    Raises:
        StoreError: the store cannot be read.
    """
    return store.database.run(lambda connection: _overview(store, connection))


def _overview(store: Store, connection: Connection) -> dict[str, Any]:
    counts = connection.execute(select(records.c.status, func.count()).group_by(records.c.status))
    by_status: dict[str, int] = {row[0]: row[1] for row in counts}
    in_order = {status: by_status.pop(status) for status in STATUSES if status in by_status}
    began, last = connection.execute(
        select(func.min(runs.c.started_at), func.max(runs.c.started_at))
    ).one()
    return {
        "store": store.name,
        "version": store.version,
        "size_bytes": store.database.size_bytes(connection),
        "runs": _count(connection, runs),
        "trials": _count(connection, trials),
        "records": _count(connection, records),
        "statuses": in_order | by_status,
        "first_run_at": began,
        "last_run_at": last,
        "environments": _environments(connection),
    }


def _count(connection: Connection, table: Any) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _environments(connection: Connection) -> list[dict[str, Any]]:
    """Return each environment's id, number of records and machine, most records first."""
    mine = select(
        records.c.environment_id,
        func.count().label("records"),
        func.max(records.c.environment).label("digest"),
    )
    groups = mine.group_by(records.c.environment_id).subquery()
    query = select(groups, environments.c.content).join(
        environments, environments.c.digest == groups.c.digest, isouter=True
    )
    rows = connection.execute(query.order_by(groups.c.records.desc(), groups.c.environment_id))
    return [
        {"environment_id": row.environment_id, "records": row.records, **_machine(row.content)}
        for row in rows
    ]


def _machine(content: Any) -> dict[str, Any]:
    facts = as_mapping(content)
    return {
        "cpu": as_mapping(facts.get("cpu")).get("model"),
        "system": as_mapping(facts.get("system")).get("name"),
        "gpus": [str(as_mapping(gpu).get("name")) for gpu in facts.get("gpus") or ()],
    }
