"""Runs, each an invocation that stored records: from their rows, and by the name that a user gives them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from harness.contract.errors import UsageError
from harness.version import __version__
from harness_results.store.database.decoding import DamagedError
from harness_results.store.database.schema import run_settings, runs
from harness_results.text.passwords import without_password

LAST = re.compile(r"last(?:~(\d+))?")
RUN = re.compile(rf"\d+|{LAST.pattern}")
DOCTOR = "harness doctor"  # the command of its runs
IDENTITY = "identity"  # of a run's settings: what names it in every store into which it is merged


@dataclass(frozen=True)
class Run:
    """One invocation that stored records."""

    run_id: int
    started_at: str  # ISO 8601 in UTC
    command: str
    harness_version: str
    settings: Mapping[str, Any] = field(
        default_factory=dict
    )  # launches, the seed of their order, ...
    identity: str | None = (
        None  # the same in every store that has this run; None: made before runs had one
    )

    @property
    def is_of_doctor(self) -> bool:
        """Whether it measured this machine's noise, and not what a user asked for."""
        return self.command == DOCTOR


def begin_run(connection: Connection, command: str, settings: Mapping[str, Any]) -> int:
    """Write a run that starts now, with an identity of its own; return its id, larger than every earlier one."""
    row = {
        "started_at": now(),
        "command": without_password(command),
        "harness_version": __version__,
    }
    run_id = int(connection.execute(insert(runs).values(row).returning(runs.c.run_id)).scalar_one())
    content = {**settings, IDENTITY: uuid.uuid4().hex}
    connection.execute(insert(run_settings).values(run_id=run_id, content=content))
    return run_id


def now() -> str:
    """Return the time as stores keep it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_runs(connection: Connection, *, with_settings: bool) -> list[Run]:
    """Return all runs, the oldest first; ``with_settings``: the store keeps them."""
    found = connection.execute(select(runs).order_by(runs.c.run_id)).mappings().all()
    if not with_settings:
        return [Run(**row) for row in found]
    kept = {row.run_id: row.content for row in connection.execute(select(run_settings))}
    return [_with_settings(row, dict(kept.get(row["run_id"], {}))) for row in found]


def _with_settings(row: RowMapping, settings: dict[str, Any]) -> Run:
    for name in ("launches", "wanted"):
        if not isinstance(settings.get(name, 0), int):
            raise DamagedError(f"run {row['run_id']}: its setting {name} is not a whole number")
    return Run(**row, identity=settings.pop(IDENTITY, None), settings=settings)


def run_id_of(text: str, known: Sequence[Run], location: str) -> int:
    """Return the id of the run that ``3``, ``last`` or ``last~1`` names, of those that the store at ``location`` has.

    Runs of the doctor have a number; ``last`` passes them over.

    Raises:
        UsageError: it has no such run.
    """
    back = LAST.fullmatch(text)
    ids = [run.run_id for run in known if back is None or not run.is_of_doctor]
    wanted = int(text) if back is None else ([None, *ids][-1 - int(back[1] or 0) :] or [None])[0]
    if wanted is None or wanted not in ids:
        raise UsageError(
            f"store {location} has no run {text}; its runs: {', '.join(map(str, ids)) or 'none'}"
        )
    return wanted
