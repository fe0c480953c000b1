"""Memory of this process: what it holds now, its peak, and kills by the kernel. Unknown is None."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_PROC = Path("/proc/self")


def resident_bytes() -> int:
    """Return the bytes that this process holds in memory now."""
    return int(psutil.Process().memory_info().rss)


class PeakMemory:
    """The peak memory of this process while the meter runs, above what it held after imports.

    On Linux, ``start`` resets the kernel's high-water mark, so that earlier work (parity,
    evaluations) does not count. If it cannot be reset, the peak is known only if it rises while the
    meter runs; otherwise it may belong to earlier work.
    """

    def __init__(self) -> None:
        self._baseline_bytes: int | None = None
        self._peak_bytes: int | None = None
        self._before_bytes = 0  # the high-water mark at ``start`` if it cannot be reset

    def set_baseline(self, allocated_bytes: int = 0) -> None:
        """Set the size after imports: what the process holds now, minus ``allocated_bytes``."""
        self._baseline_bytes = max(0, resident_bytes() - allocated_bytes)

    def start(self) -> None:
        """Start the meter."""
        self._before_bytes = 0 if reset_high_water() else high_water_bytes() or 0

    def pause(self) -> None:
        """Read the peak since ``start`` and stop the meter."""
        peak = high_water_bytes()
        if peak is not None and peak > self._before_bytes:
            self._peak_bytes = max(peak, self._peak_bytes or 0)

    def peak_bytes(self) -> int | None:
        """Return the peak minus the baseline; None if unknown."""
        if self._peak_bytes is None or self._baseline_bytes is None:
            return None
        return max(0, self._peak_bytes - self._baseline_bytes)


def release_unused() -> None:
    """Return freed memory to the kernel, so that earlier work does not count as training's memory.

    Otherwise the buffers of parity and gradient flow stay in the heap of the C library (glibc): as
    measured, half as much again as training itself needs.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def reset_high_water() -> bool:
    """Reset the kernel's high-water mark; return whether that worked."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def high_water_bytes() -> int | None:
    """Return the most bytes that this process held since the last reset."""
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", (_PROC / "status").read_text(), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return 1024 * int(match.group(1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) or None


def out_of_memory_kills(root: Path = Path("/")) -> int:
    """Return how many processes the kernel killed for memory: on the machine plus in our cgroup.

    Only the difference of two calls is meaningful. It is 0 if the kernel does not tell.
    """
    return sum(_count(path, "oom_kill") for path in (root / "proc/vmstat", *_group_files(root)))


def _group_files(root: Path) -> Iterator[Path]:
    """Yield the files in which the control groups (version 2 and 1) count kills."""
    mounts = root / "sys/fs/cgroup"
    if (path := group_path(root, "")) is not None:
        yield mounts / path / "memory.events"
    if (path := group_path(root, "memory")) is not None:
        yield mounts / "memory" / path / "memory.oom_control"


def group_path(root: Path, controller: str) -> str | None:
    """Return this process's control group; None if it is in none.

    Args:
        root: of the file system.
        controller: of version 1; empty: version 2.
    """
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return path.lstrip("/")
    return None


def _count(path: Path, key: str) -> int:
    try:
        match = re.search(rf"^{key} (\d+)", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match.group(1)) if match else 0
