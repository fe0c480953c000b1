"""Watches the memory of a worker and its descendants, and says when it is too much.

It counts resident memory. Engines reserve far more address space than they use.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from harness.contract.wording import mebibytes
from harness.measure.timing.memory import group_path

OFTEN_SECONDS, SELDOM_SECONDS = 0.2, 2.0  # between looks; a look takes about 0.1 ms on Linux
_FASTEST_BYTES_PER_SECOND = 2**33  # that memory is first touched
_LEAST_RESERVE_BYTES, _MOST_RESERVE_BYTES, _RESERVE_FRACTION = 2**28, 2**30, 0.03
_PROC = "/proc"
_UNITS = (("GB", 10**9), ("GiB", 2**30), ("MB", 10**6), ("MiB", 2**20))
_FIX = "make it smaller (--batch, --hidden, --checkpoint auto)"


def default_reserve_bytes() -> int:
    """Return the memory that must stay free on this machine: a fraction, within bounds."""
    reserve = round(_RESERVE_FRACTION * psutil.virtual_memory().total)
    return max(_LEAST_RESERVE_BYTES, min(_MOST_RESERVE_BYTES, reserve))


def _as_written(count: int) -> str:
    """Return a limit in the largest unit that divides it: the user wrote it in such a unit."""
    whole = (f"{count // size} {unit}" for unit, size in _UNITS if count % size == 0)
    return next(whole, mebibytes(count))


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``."""
    if sys.platform != "linux" or not Path(_PROC, "self/task").exists():
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    pids, waiting = list[int](), [pid]
    while waiting:
        children = list(_children(waiting.pop()))
        pids += children
        waiting += children
    return pids


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"{_PROC}/{pid}/task"):  # noqa: PTH208 (Path is slow)
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                yield from map(int, _read(f"{_PROC}/{pid}/task/{task}/children").split())


def _read(name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process with its shared pages; 0 if it has ended."""
    try:
        return int(_read(f"{_PROC}/{pid}/statm").split()[1]) * resource.getpagesize()
    except OSError:
        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process with its share of shared pages.

    Shared pages count whole if the system does not report the share.
    """
    with contextlib.suppress(OSError):
        text = _read(f"{_PROC}/{pid}/smaps_rollup")
        if match := re.search(rb"^Pss:\s+(\d+) kB", text, re.MULTILINE):
            return 1024 * int(match[1])
    return resident_bytes(pid)


@dataclass(frozen=True)
class _Group:
    """A control group that limits memory."""

    limit_bytes: int
    usage: Path
    statistics: Path
    reclaimable: bytes  # the statistic that the kernel can reclaim at once

    def available_bytes(self) -> int:
        pattern = rb"^%s (\d+)" % self.reclaimable
        try:
            used = int(self.usage.read_bytes())
            match = re.search(pattern, self.statistics.read_bytes(), re.MULTILINE)
        except OSError:
            return self.limit_bytes
        return self.limit_bytes - used + (int(match[1]) if match else 0)


class Available:
    """Measures free memory: of the machine and of the control groups that limit this process."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._machine = root / "proc/meminfo"
        self._groups = list(_limiting_groups(root))

    def __call__(self) -> int:
        """Return the bytes that can still be allocated."""
        return min([self._on_machine(), *(group.available_bytes() for group in self._groups)])

    def _on_machine(self) -> int:
        with contextlib.suppress(OSError):
            text = self._machine.read_bytes()
            if match := re.search(rb"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE):
                return 1024 * int(match[1])
        return int(psutil.virtual_memory().available)


def _limiting_groups(root: Path) -> Iterator[_Group]:
    """Yield the groups of versions 1 and 2 above this process that limit its memory."""
    mounts = root / "sys/fs/cgroup"
    version_2 = (mounts, "", "memory.max", "memory.current", b"inactive_file")
    version_1 = (
        mounts / "memory",
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        b"total_inactive_file",
    )
    for mount, controller, limit, usage, key in (version_2, version_1):
        own = mount / (group_path(root, controller) or "")
        for folder in (own, *(parent for parent in own.parents if parent.is_relative_to(mount))):
            with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no limit
                if (count := int((folder / limit).read_text())) < psutil.virtual_memory().total:
                    yield _Group(count, folder / usage, folder / "memory.stat", key)


class Look(NamedTuple):
    """One look at a worker.

    Attributes:
        held_bytes: what it and its descendants hold.
        too_much: why that is too much; None: it is not.
        next_seconds: when to look again.
    """

    held_bytes: int
    too_much: str | None
    next_seconds: float


@dataclass
class MemoryWatch:
    """Watches all workers of a machine, so that the largest is ended first.

    The nearer the limit, the more often it looks.

    Attributes:
        limit_bytes: of one worker and its descendants; None: no limit.
        reserve_bytes: must stay free on the machine, and in the control group that limits this
            process.
        available_bytes: measures what is free.
    """

    limit_bytes: int | None = None
    reserve_bytes: int = field(default_factory=default_reserve_bytes)
    available_bytes: Callable[[], int] = field(default_factory=Available)
    _held: dict[int, int] = field(default_factory=dict)

    def look(self, pid: int) -> Look:
        """Return what the descendants of process ``pid`` hold, and whether that is too much."""
        pids = descendants(pid)
        held = sum(map(resident_bytes, pids))
        if self.limit_bytes is not None and held > self.limit_bytes and len(pids) > 1:
            # What they share must not count twice. This is slower.
            held = sum(map(proportional_bytes, pids))
        self._held[pid] = held
        left = self.available_bytes()
        room = left - self.reserve_bytes
        if self.limit_bytes is not None:
            room = min(room, self.limit_bytes - held)
        seconds = max(OFTEN_SECONDS, min(SELDOM_SECONDS, room / _FASTEST_BYTES_PER_SECOND))
        return Look(held, self._why_too_much(pid, held, left), seconds)

    def forget(self, pid: int) -> None:
        """Forget ``pid``, which has ended."""
        self._held.pop(pid, None)

    def _why_too_much(self, pid: int, held: int, left: int) -> str | None:
        if self.limit_bytes is not None and held > self.limit_bytes:
            limit = _as_written(self.limit_bytes)
            return f"more than the limit of {limit}: {_FIX}, or raise --memory-limit"
        enough = left >= self.reserve_bytes
        if enough or held <= self.reserve_bytes or held < max(list(self._held.values())):
            return None
        reserve = mebibytes(self.reserve_bytes)
        return f"{mebibytes(left)} were left on this machine, {reserve} are its reserve: {_FIX}"
