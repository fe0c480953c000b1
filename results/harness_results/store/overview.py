"""What a store holds, in numbers: quick for any size, as no record is decoded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from harness.contract.records.record import STATUSES
from harness_results.store.database.schema import environments, records, runs, trials
from harness_results.store.store import Store


def overview(store: Store) -> dict[str, Any]:
    """Return the store's name, version, size and counts, and its environments with the records of each.

    Raises:
        StoreError: the store cannot be read.
    """
    return store.database.run(lambda connection: _overview(store, connection))


def _overview(store: Store, connection: Connection) -> dict[str, Any]:
    counts = connection.execute(select(records.c.status, func.count()).group_by(records.c.status))
    found: dict[str, int] = {row[0]: row[1] for row in counts}
    known = {status: found.pop(status) for status in STATUSES if status in found}
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
        "statuses": known | found,
        "first_run_at": began,
        "last_run_at": last,
        "environments": _environments(connection),
    }


def _count(connection: Connection, table: Any) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _environments(connection: Connection) -> list[dict[str, Any]]:
    """Return each environment id with its records and what the machine is, the one with most records first."""
    mine = select(
        records.c.environment_id,
        func.count().label("records"),
        func.max(records.c.environment).label("digest"),
    )
    groups = mine.group_by(records.c.environment_id).subquery()
    query = select(groups, environments.c.content).join(
        environments, environments.c.digest == groups.c.digest, isouter=True
    )
    rows = connection.execute(
        query.order_by(groups.c.records.desc(), groups.c.environment_id)
    ).all()
    return [
        {"environment_id": row.environment_id, "records": row.records, **_machine(row.content)}
        for row in rows
    ]


def _machine(content: Any) -> dict[str, Any]:
    facts = _mapping(content)
    cards = [str(_mapping(card).get("name")) for card in facts.get("gpus") or ()]
    return {
        "cpu": _mapping(facts.get("cpu")).get("model"),
        "system": _mapping(facts.get("system")).get("name"),
        "gpus": cards,
    }


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
