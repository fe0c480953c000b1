"""How a machine is set, and what it is doing now: governor, turbo, load, memory, GPUs. Unknown is None; never slow."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path("/")
_CPU = "sys/devices/system/cpu"
_SMI = "nvidia-smi"
_SMI_SECONDS = 5.0

Ask = Callable[[Sequence[str]], list[str]]


def cpu_settings(root: Path = ROOT) -> dict[str, Any]:
    """Return the frequency governors in use, and whether turbo and simultaneous multithreading are on."""
    governors = sorted(
        {
            text
            for path in root.glob(f"{_CPU}/cpu*/cpufreq/scaling_governor")
            if (text := _read(path))
        }
    )
    no_turbo, boost = (
        _read(root / _CPU / "intel_pstate/no_turbo"),
        _read(root / _CPU / "cpufreq/boost"),
    )
    turbo = no_turbo == "0" if no_turbo else boost == "1" if boost else None
    smt = _read(root / _CPU / "smt/active")
    return {"governors": governors, "turbo": turbo, "multithreading": smt == "1" if smt else None}


def gpus(ask: Ask | None = None) -> list[dict[str, str]]:
    """Return name, driver and memory of each NVIDIA GPU, by the driver's own tool; [] where there is none."""
    fields = ("name", "driver_version", "memory.total")
    lines = (ask or _smi)([f"--query-gpu={','.join(fields)}", "--format=csv,noheader"])
    return [dict(zip(fields, map(str.strip, line.split(",")), strict=False)) for line in lines]


def gpu_processes(ask: Ask | None = None) -> list[int]:
    """Return the process ids that compute on a GPU now."""
    lines = (ask or _smi)(["--query-compute-apps=pid", "--format=csv,noheader"])
    return [int(line) for line in lines if line.strip().isdecimal()]


def conditions() -> dict[str, Any]:
    """Return what changes by itself: load per core, free memory and used swap in bytes, the clock in MHz."""
    cores = psutil.cpu_count() or 1
    frequency = psutil.cpu_freq()
    return {
        "load_per_core": round(os.getloadavg()[0] / cores, 3)
        if hasattr(os, "getloadavg")
        else None,
        "free_memory_bytes": psutil.virtual_memory().available,
        "used_swap_bytes": psutil.swap_memory().used,
        "megahertz": round(frequency.current) if frequency else None,
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _smi(arguments: Sequence[str]) -> list[str]:
    program = shutil.which(_SMI)
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_SMI_SECONDS, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]
