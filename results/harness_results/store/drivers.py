"""The processes that measure into a store: their names, their progress, and whether they run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from typing_extensions import TypedDict

from harness_results.store.database.decoding import DamagedError
from harness_results.store.database.schema import claims, drivers
from harness_results.store.runs import now

LEASE = timedelta(minutes=30)  # after this silence a driver on another machine counts as dead
_STATE, _BEGAN = 0, 19  # fields of /proc/PID/stat after the name


class Process(TypedDict):
    """Identifies a process on its machine: ``began`` tells it from a later one with its pid."""

    host: str
    pid: int
    began: str | None


# The progress of a sweep, as ``harness.sweep.tally`` gives it; empty at its start.
Progress = TypedDict(  # noqa: UP013 (keys are stored, not names here)
    "Progress",
    {
        "total": int,
        "taken": int,
        "elsewhere": int,
        "ended": dict[str, int],
        "running": list[str],
        "left": int,
        "failure": str | None,
        "elapsed_seconds": float,
        "seconds_left": float | None,
    },
    total=False,
)
_PROCESS, _PROGRESS = TypeAdapter(Process), TypeAdapter(Progress)


@dataclass(frozen=True)
class Driver:
    """A process that measures, or that was killed while it measured.

    Attributes:
        process: host, pid, and when it began.
        started_at: ISO 8601 in UTC; so is ``updated_at``, its last heartbeat.
        progress: the last progress that it reported.
    """

    driver_id: int
    run_id: int
    process: Mapping[str, Any]
    started_at: str
    updated_at: str
    progress: Mapping[str, Any]

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; on another machine, whether its last heartbeat is recent."""
        if self.process["host"] != platform.node():
            return datetime.now(UTC) - datetime.fromisoformat(self.updated_at) < LEASE
        began = _began(int(self.process["pid"]))
        return began is not None and began == self.process["began"]

    def __str__(self) -> str:
        return f"pid {self.process['pid']} on {self.process['host']}"


def read_drivers(connection: Connection) -> list[Driver]:
    """Return all drivers of the store, the oldest first.

    Raises:
        DamagedError: a row was altered.
    """
    rows = connection.execute(select(drivers).order_by(drivers.c.driver_id)).mappings()
    return [_driver(row) for row in rows]


def _driver(row: RowMapping) -> Driver:
    try:
        _PROCESS.validate_python(row["process"], strict=True)
        _PROGRESS.validate_python(row["progress"], strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(f"driver {row['driver_id']}: {where}: {first['msg']}") from error
    return Driver(**row)


def enter(connection: Connection, run_id: int, progress: Mapping[str, Any]) -> int:
    """Insert a row for this process as a driver of a run; return its id."""
    process = {"host": platform.node(), "pid": os.getpid(), "began": _began(os.getpid())}
    row = {
        "run_id": run_id,
        "process": process,
        "started_at": now(),
        "updated_at": now(),
        "progress": dict(progress),
    }
    added = connection.execute(insert(drivers).values(row).returning(drivers.c.driver_id))
    return int(added.scalar_one())


def report(connection: Connection, driver_id: int, progress: Mapping[str, Any]) -> None:
    """Store a driver's progress and the time."""
    row = {"updated_at": now(), "progress": dict(progress)}
    connection.execute(update(drivers).where(drivers.c.driver_id == driver_id).values(row))


def leave(connection: Connection, driver_id: int) -> None:
    """Delete a driver and release its claims."""
    connection.execute(delete(claims).where(claims.c.driver_id == driver_id))
    connection.execute(delete(drivers).where(drivers.c.driver_id == driver_id))


def reap_dead_drivers(connection: Connection) -> None:
    """Delete drivers whose process has died and release their claims."""
    for driver in read_drivers(connection):
        if not driver.is_alive:
            leave(connection, driver.driver_id)


def _began(pid: int) -> str | None:
    """Return when a process began, in a unit that no clock change affects; None: it is gone."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[_STATE] == "Z" else fields[_BEGAN]
    if Path("/proc/self/stat").exists():
        return None
    with suppress(psutil.Error):
        return str(round(psutil.Process(pid).create_time()))
    return None
