"""The identity of a run: the same in every store that holds the run, so that a merge finds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, select

from harness_results.store import raw
from harness_results.store.database.schema import encode
from harness_results.store.runs import IDENTITY


@dataclass(frozen=True)
class KnownRun:
    """A run with its raw, undecoded values.

    Attributes:
        fields: the values of its row in the table ``runs``, without the run's id.
        settings: JSON.
        identity: None: the run has no record and is older than identities.
    """

    run_id: int
    started_at: str
    fields: Mapping[str, Any]
    settings: str
    identity: str | None


def known_runs(connection: Connection, after: int = 0) -> list[KnownRun]:
    """Return the runs whose id is larger than ``after``."""
    settings = {}
    if "run_settings" in raw.present(connection):
        table = raw.TABLES["run_settings"]
        new = connection.execute(select(table).where(table.c.run_id > after))
        settings = {row.run_id: row.content for row in new}
    where = raw.TABLES["runs"].c.run_id > after
    rows = list(chain.from_iterable(raw.batches(connection, "runs", where)))
    return [_known_run(connection, row, settings.get(row.run_id, "{}")) for row in rows]


def with_identity(run: KnownRun) -> str:
    """Return the raw settings of a run with its identity added."""
    return encode({**json.loads(run.settings), IDENTITY: run.identity})


def _known_run(connection: Connection, row: Row[Any], settings: str) -> KnownRun:
    identity = json.loads(settings).get(IDENTITY) or _of_content(connection, row)
    fields = {name: value for name, value in row._mapping.items() if name != "run_id"}  # noqa: SLF001
    return KnownRun(row.run_id, row.started_at, fields, settings, identity)


def _of_content(connection: Connection, run: Row[Any]) -> str | None:
    """Return a hash of the run and its first record, which never change; None: no record."""
    table = raw.TABLES["records"]
    mine = select(table).where(table.c.run_id == run.run_id).order_by(table.c.record_id).limit(1)
    first = connection.execute(mine).mappings().first()
    if first is None:
        return None
    content: Sequence[str] = (run.started_at, run.command, run.harness_version, raw.digest(first))
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
