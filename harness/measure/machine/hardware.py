"""Settings and load of a machine: governor, turbo, load, memory, GPUs. Unknown is None."""

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
    """Return the frequency governors, and whether turbo and multithreading are on."""
    governors = set(map(_read, root.glob(f"{_CPU}/cpu*/cpufreq/scaling_governor")))
    no_turbo = _read(root / _CPU / "intel_pstate/no_turbo")
    boost = _read(root / _CPU / "cpufreq/boost")
    turbo = None
    if no_turbo or boost:
        turbo = no_turbo == "0" if no_turbo else boost == "1"
    smt = _read(root / _CPU / "smt/active")
    return {
        "governors": sorted(filter(None, governors)),
        "turbo": turbo,
        "multithreading": smt == "1" if smt else None,
    }


def gpus(ask: Ask | None = None) -> list[dict[str, str]]:
    """Return name, driver and memory of each NVIDIA GPU, as ``nvidia-smi`` reports them."""
    fields = ("name", "driver_version", "memory.total")
    lines = (ask or _smi)([f"--query-gpu={','.join(fields)}", "--format=csv,noheader"])
    return [dict(zip(fields, map(str.strip, line.split(",")), strict=False)) for line in lines]


def gpu_processes(ask: Ask | None = None) -> list[int]:
    """Return the process ids that compute on a GPU now."""
    lines = (ask or _smi)(["--query-compute-apps=pid", "--format=csv,noheader"])
    return [int(line) for line in lines if line.strip().isdecimal()]


def conditions() -> dict[str, Any]:
    """Return what changes by itself: load per core, free memory and swap in bytes, clock in MHz."""
    cores, frequency = psutil.cpu_count() or 1, psutil.cpu_freq()
    load = round(os.getloadavg()[0] / cores, 3) if hasattr(os, "getloadavg") else None
    return {
        "load_per_core": load,
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
        result = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            timeout=_SMI_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in result.stdout.splitlines() if line.strip()]
