"""Runs: the invocations that stored records, and the names that users give to them."""

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

LAST = re.compile(r"last(?:~(\d{1,18}))?")
RUN = re.compile(rf"\d{{1,18}}|{LAST.pattern}")
DOCTOR = "harness doctor"  # the command of its runs
ORDER = "order"  # key of a run's settings: the trials in the order of its plan
IDENTITY = "identity"  # key of a run's settings: the same in every store that has the run


@dataclass(frozen=True)
class Run:
    """One invocation that stored records.

    Attributes:
        started_at: ISO 8601 in UTC.
        settings: the number of launches, the seed of their order, ...
        identity: the same in every store that has this run; None: older than identities.
    """

    run_id: int
    started_at: str
    command: str
    harness_version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    identity: str | None = None

    @property
    def is_of_doctor(self) -> bool:
        """Whether it measured the noise of this machine."""
        return self.command == DOCTOR


def begin_run(connection: Connection, command: str, settings: Mapping[str, Any]) -> int:
    """Insert a run that starts now, with a new identity; return its id, larger than all others."""
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
    """Return the time in UTC, in the form that stores keep."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_runs(connection: Connection, *, with_settings: bool) -> list[Run]:
    """Return all runs, the oldest first; ``with_settings``: the store has a table of settings."""
    rows = connection.execute(select(runs).order_by(runs.c.run_id)).mappings().all()
    if not with_settings:
        return [Run(**row) for row in rows]
    settings = {row.run_id: row.content for row in connection.execute(select(run_settings))}
    return [_with_settings(row, dict(settings.get(row["run_id"], {}))) for row in rows]


def _with_settings(row: RowMapping, settings: dict[str, Any]) -> Run:
    for name in ("launches", "wanted"):
        if not isinstance(settings.get(name, 0), int):
            raise DamagedError(f"run {row['run_id']}: its setting {name} is not a whole number")
    order = settings.get(ORDER, [])
    if not (isinstance(order, list) and all(isinstance(trial_id, str) for trial_id in order)):
        raise DamagedError(f"run {row['run_id']}: its setting {ORDER} is not a list of trials")
    return Run(**row, identity=settings.pop(IDENTITY, None), settings=settings)


def run_id_of(text: str, all_runs: Sequence[Run], location: str) -> int:
    """Return the id of the run that ``3``, ``last`` or ``last~1`` names.

    ``last`` skips the doctor's runs, but they have a number.

    Args:
        text: a number, or ``last`` with how many runs to go back.
        all_runs: the runs of the store, the oldest first.
        location: of the store, for the message.

    Raises:
        UsageError: the store has no such run.
    """
    back = LAST.fullmatch(text)
    ids = [run.run_id for run in all_runs if back is None or not run.is_of_doctor]
    if back is None:
        matches = [run_id for run_id in ids if RUN.fullmatch(text) and run_id == int(text)]
    else:
        matches = ids[::-1][int(back[1] or 0) :]
    if not matches:
        raise UsageError(
            f"store {location} has no run {text}; its runs: {', '.join(map(str, ids)) or 'none'}"
        )
    return matches[0]
