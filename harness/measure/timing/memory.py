"""Memory of this process: what it holds, the peak since a moment, and what the kernel killed. Unknown is None."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
from pathlib import Path

import psutil

_PROC = Path("/proc/self")


def resident_bytes() -> int:
    """Return the bytes that this process holds in memory now."""
    return int(psutil.Process().memory_info().rss)


class PeakMemory:
    """The peak of this process, above what it held after imports, while the meter runs.

    On Linux the kernel's high-water mark is reset at ``start``, so that what came before (parity,
    evaluations) does not count. Where it cannot be reset, the peak is known only if it rose
    meanwhile: else it is that of something else.
    """

    def __init__(self) -> None:
        self._baseline_bytes: int | None = None
        self._peak_bytes: int | None = None
        self._before_bytes = 0  # the mark at ``start`` where it cannot be reset

    def set_baseline(self, allocated_bytes: int = 0) -> None:
        """Take what the process holds now, less what the trial has allocated of it, as its size after imports."""
        self._baseline_bytes = max(0, resident_bytes() - allocated_bytes)

    def start(self) -> None:
        """Watch from here."""
        self._before_bytes = 0 if reset_high_water() else high_water_bytes() or 0

    def pause(self) -> None:
        """Take the peak since ``start`` into account, and no longer what follows."""
        peak = high_water_bytes()
        if peak is not None and peak > self._before_bytes:
            self._peak_bytes = max(peak, self._peak_bytes or 0)

    def peak_bytes(self) -> int | None:
        """Return the peak less the baseline, or None where it is unknown."""
        if self._peak_bytes is None or self._baseline_bytes is None:
            return None
        return max(0, self._peak_bytes - self._baseline_bytes)


def release_unused() -> None:
    """Give the kernel back what is free but still held, so that what came before does not count as training's memory.

    Without it the buffers of parity and gradient flow stay in the C library's heap (glibc):
    measured at half as much again as the training itself needs.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def reset_high_water() -> bool:
    """Make the kernel forget the peak; return whether it did."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def high_water_bytes() -> int | None:
    """Return the most that this process held in memory since the last reset."""
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", (_PROC / "status").read_text(), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return 1024 * int(match.group(1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) or None


def out_of_memory_kills(root: Path = Path("/")) -> int:
    """Return how many processes the kernel has killed for memory: machine-wide, and in this process's control group.

    Only the difference of two calls means anything; 0 where the kernel does not tell.
    """
    return sum(_count(path, "oom_kill") for path in (root / "proc/vmstat", *_group_files(root)))


def _group_files(root: Path) -> list[Path]:
    """Return where the control group counts kills: memory.events in version 2, memory.oom_control in version 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]  # noqa: PLR2004 (number:controllers:path)
    mounts = root / "sys/fs/cgroup"
    files = []
    for _, controllers, path in groups:
        if controllers == "":
            files.append(mounts / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(mounts / "memory" / path.lstrip("/") / "memory.oom_control")
    return files


def _count(path: Path, key: str) -> int:
    try:
        match = re.search(rf"^{key} (\d+)", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match.group(1)) if match else 0
