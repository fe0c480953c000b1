"""How much memory a worker and all below it hold, looked at from outside, so that it ends before the machine does.

Resident memory, not address space: engines reserve far more of that than they ever use.
"""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

POLL_SECONDS = 0.2 if sys.platform == "linux" else 1.0  # a look takes 0.04 to 0.1 ms on Linux (measured)
_LEAST_RESERVE_BYTES, _MOST_RESERVE_BYTES, _RESERVE_FRACTION = 2**28, 2**30, 0.03
_PROC = Path("/proc")
_CURES = "make it smaller (--batch, --hidden, --checkpoint auto)"


def default_reserve_bytes() -> int:
    """Return what is to be left on this machine: a fraction of its memory, within bounds."""
    return max(_LEAST_RESERVE_BYTES, min(_MOST_RESERVE_BYTES, round(_RESERVE_FRACTION * psutil.virtual_memory().total)))


def mebibytes(count: float) -> str:
    """Return bytes as people read them."""
    return f"{count / 2**20:.0f} MiB"


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``."""
    if sys.platform != "linux" or not (_PROC / "self/task").exists():
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found, waiting = list[int](), [pid]
    while waiting:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                yield from map(int, (task / "children").read_bytes().split())


def resident_bytes(pid: int) -> int:
    """Return what a process holds in memory, shared pages included; 0 once it has ended."""
    try:
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0


def proportional_bytes(pid: int) -> int:
    """Return what a process holds, of shared pages its share; all of them where the system does not tell."""
    with contextlib.suppress(OSError):
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
        if match := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE):
            return 1024 * int(match[1])
    return resident_bytes(pid)


@dataclass(frozen=True)
class _Group:
    """A control group that limits memory."""

    limit_bytes: int
    usage: Path
    statistics: Path
    reclaimable: bytes  # the name of what the kernel can take back at once

    def available_bytes(self) -> int:
        try:
            used = int(self.usage.read_bytes())
            match = re.search(rb"^%s (\d+)" % self.reclaimable, self.statistics.read_bytes(), re.MULTILINE)
        except OSError:
            return self.limit_bytes
        return self.limit_bytes - used + (int(match[1]) if match else 0)


class Available:
    """Tells what is left: on the machine, and in the control groups that limit this process."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._machine = root / "proc/meminfo"
        self._groups = list(_limiting_groups(root))

    def __call__(self) -> int:
        """Return the bytes that can still be had."""
        return min([self._on_machine(), *(group.available_bytes() for group in self._groups)])

    def _on_machine(self) -> int:
        with contextlib.suppress(OSError):
            if match := re.search(rb"^MemAvailable:\s+(\d+) kB", self._machine.read_bytes(), re.MULTILINE):
                return 1024 * int(match[1])
        return int(psutil.virtual_memory().available)


def _limiting_groups(root: Path) -> Iterator[_Group]:
    """Yield the groups of versions 1 and 2 above this process that limit its memory."""
    mounts = root / "sys/fs/cgroup"
    names = ("memory.max", "memory.current", b"inactive_file")
    older = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")
    for mount, controller, (limit, usage, key) in ((mounts, "", names), (mounts / "memory", "memory", older)):
        own = mount / _path_of_group(root, controller)
        for folder in (own, *(parent for parent in own.parents if parent.is_relative_to(mount))):
            with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no limit
                if (count := int((folder / limit).read_text())) < psutil.virtual_memory().total:
                    yield _Group(count, folder / usage, folder / "memory.stat", key)


def _path_of_group(root: Path, controller: str) -> str:
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return path.lstrip("/")
    return ""


@dataclass
class MemoryWatch:
    """Watches any number of workers: shared by those of one machine, so that the largest of them goes first.

    Attributes:
        limit_bytes: what one worker and all below it may hold; None: whatever there is.
        reserve_bytes: what must be left on the machine, or in the control group that limits this process.
        available_bytes: tells what is left.
    """

    limit_bytes: int | None = None
    reserve_bytes: int = field(default_factory=default_reserve_bytes)
    available_bytes: Callable[[], int] = field(default_factory=Available)
    _held: dict[int, int] = field(default_factory=dict)

    def look(self, pid: int) -> tuple[int, str | None]:
        """Return what the descendants of process ``pid`` hold, and why that is too much, where it is."""
        pids = descendants(pid)
        held = sum(map(resident_bytes, pids))
        if self.limit_bytes is not None and held > self.limit_bytes and len(pids) > 1:
            held = sum(map(proportional_bytes, pids))  # costs more: what they share must not count twice
        self._held[pid] = held
        return held, self._why_too_much(pid, held)

    def forget(self, pid: int) -> None:
        """Look no more after ``pid``, which has ended."""
        self._held.pop(pid, None)

    def _why_too_much(self, pid: int, held: int) -> str | None:
        if self.limit_bytes is not None and held > self.limit_bytes:
            return f"more than the limit of {mebibytes(self.limit_bytes)}: {_CURES}, or raise --memory-limit"
        if held <= self.reserve_bytes or (left := self.available_bytes()) >= self.reserve_bytes:
            return None
        if held < max(list(self._held.values())):
            return None
        return f"{mebibytes(left)} were left on this machine, {mebibytes(self.reserve_bytes)} are its reserve: {_CURES}"
