"""The processes that measure into a store: who they are, how far they say they are, and whether they still live."""

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

LEASE = timedelta(
    minutes=30
)  # one on another machine that was not heard of for so long is taken for gone
_STATE, _BEGAN = 0, 19  # fields of /proc/PID/stat after the name


class Process(TypedDict):
    """What names a process."""

    host: str
    pid: int
    began: str | None


class Progress(TypedDict, total=False):
    """What ``harness.sweep.tally`` tells of a sweep; nothing at its start."""

    total: int
    taken: int
    elsewhere: int
    ended: dict[str, int]
    running: list[str]
    left: int
    failure: str | None
    elapsed_seconds: float
    seconds_left: float | None


_PROCESS, _PROGRESS = TypeAdapter(Process), TypeAdapter(Progress)


@dataclass(frozen=True)
class Driver:
    """A process that measures, or was killed while it did."""

    driver_id: int
    run_id: int
    process: Mapping[str, Any]  # host, pid, and when it began
    started_at: str
    updated_at: str
    progress: Mapping[str, Any]

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; of one on another machine, whether it was heard of lately."""
        if self.process["host"] != platform.node():
            return datetime.now(UTC) - datetime.fromisoformat(self.updated_at) < LEASE
        began = _began(int(self.process["pid"]))
        return began is not None and began == self.process["began"]

    def __str__(self) -> str:
        return f"pid {self.process['pid']} on {self.process['host']}"


def read_drivers(connection: Connection) -> list[Driver]:
    """Return all that are known, the oldest first.

    Raises:
        DamagedError: a row is not what was written.
    """
    return [
        _driver(row)
        for row in connection.execute(select(drivers).order_by(drivers.c.driver_id)).mappings()
    ]


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
    """Write down that this process works on a run; return the id of the row."""
    process = {"host": platform.node(), "pid": os.getpid(), "began": _began(os.getpid())}
    row = {
        "run_id": run_id,
        "process": process,
        "started_at": now(),
        "updated_at": now(),
        "progress": dict(progress),
    }
    return int(
        connection.execute(insert(drivers).values(row).returning(drivers.c.driver_id)).scalar_one()
    )


def report(connection: Connection, driver_id: int, progress: Mapping[str, Any]) -> None:
    """Write down how far it is."""
    row = {"updated_at": now(), "progress": dict(progress)}
    connection.execute(update(drivers).where(drivers.c.driver_id == driver_id).values(row))


def leave(connection: Connection, driver_id: int) -> None:
    """Forget a driver and what it had begun."""
    connection.execute(delete(claims).where(claims.c.driver_id == driver_id))
    connection.execute(delete(drivers).where(drivers.c.driver_id == driver_id))


def reap_dead_drivers(connection: Connection) -> None:
    """Forget every driver that is gone, and what it had begun: somebody else may begin it."""
    for driver in read_drivers(connection):
        if not driver.is_alive:
            leave(connection, driver.driver_id)


def _began(pid: int) -> str | None:
    """Return when a process began, in whatever unit does not move with the clock; None where there is none."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[_STATE] == "Z" else fields[_BEGAN]
    if Path("/proc/self/stat").exists():
        return None
    with suppress(psutil.Error):
        return str(round(psutil.Process(pid).create_time()))
    return None
