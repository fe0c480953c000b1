"""Runs, each an invocation that stored records, from their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from harness_results.schema import run_settings, runs


@dataclass(frozen=True)
class Run:
    """One invocation that stored records."""

    run_id: int
    started_at: str  # ISO 8601 in UTC
    command: str
    harness_version: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # launches, the seed of their order, ...


def read_runs(connection: Connection, *, last: bool, with_settings: bool) -> list[Run]:
    """Return all runs, the oldest first, or the one that began last; ``with_settings``: the store keeps them."""
    wanted = select(runs).order_by(runs.c.run_id.desc()).limit(1) if last else select(runs).order_by(runs.c.run_id)
    found = connection.execute(wanted).mappings().all()
    if not with_settings:
        return [Run(**row) for row in found]
    settings = {row.run_id: row.content for row in connection.execute(select(run_settings))}
    return [Run(**row, settings=settings.get(row["run_id"], {})) for row in found]
