"""The environment of a trial: machine, software and settings. No engine is imported here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info

from harness.contract import Backend, Missing
from harness.contract.records.record import stable_facts
from harness.measure.machine.hardware import cpu_settings, gpus
from harness.measure.machine.variables import engine_variables
from harness.plugins import query
from harness.plugins.discovery import GROUP

_POOL_FACTS = (
    "user_api",
    "internal_api",
    "version",
    "threading_layer",
    "architecture",
    "num_threads",
)
_CPUINFO = Path("/proc/cpuinfo")
CORE_LIBRARIES = ("numpy", "pydantic", "pluggy", "safetensors", "threadpoolctl", "psutil")


def environment_record(backends: Iterable[Backend] = ()) -> dict[str, Any]:
    """Return JSON-able facts about the machine, the software and the usable backends."""
    libraries = _core_versions()
    variables: set[str] = set()
    devices = {}
    for backend in backends:
        if isinstance(query.available_or_missing(backend), Missing):
            continue
        libraries |= query.versions(backend)
        variables |= query.environment(backend, 1).keys()
        devices[backend.name] = list(query.devices(backend))
    return {
        "cpu": _cpu(),
        "cores": _cores(),
        "settings": cpu_settings(),
        "gpus": gpus(),
        "memory_gibibytes": _memory_gibibytes(),
        "system": _system(),
        "python": _python(),
        "libraries": dict(sorted(libraries.items())),
        "devices": devices,
        "blas": [{name: pool.get(name) for name in _POOL_FACTS} for pool in threadpool_info()],
        "plugins": _plugins(),
        "variables": engine_variables(variables),
        "commit": _commit(Path(__file__).parents[3]),
    }


def environment_id(record: dict[str, Any]) -> str:
    """Return twelve hexadecimal digits: equal if machine, GPUs, system and Python are equal.

    Versions of libraries and drivers, variables and the commit are left out, so that they may be
    compared on one machine. So is what changes by itself (frequency, load, free memory) or from run
    to run (the processors that a process may use).
    """
    stable = json.dumps(stable_facts(record), sort_keys=True)
    return hashlib.sha256(stable.encode()).hexdigest()[:12]


def machine_id() -> str:
    """Return the id of this process's environment, without asking any engine."""
    facts = {
        "cpu": _cpu(),
        "cores": _cores(),
        "gpus": gpus(),
        "memory_gibibytes": _memory_gibibytes(),
        "system": _system(),
        "python": _python(),
    }
    return environment_id(facts)


def effective_threads(backend: Backend) -> int | None:
    """Return the threads that the engine uses, or those of the largest thread pool."""
    pools = (pool["num_threads"] for pool in threadpool_info())
    return backend.threads() or max(pools, default=None)


def _cpu() -> dict[str, Any]:
    match = _search_cpuinfo(r"^model name\s*:\s*(.+)$")
    model = match.group(1).strip() if match else platform.processor() or platform.machine()
    facts: dict[str, Any] = {"model": model}
    try:
        import archspec.cpu

        host = archspec.cpu.host()
    except Exception:  # noqa: BLE001 (archspec does not know every machine)
        return facts
    features = sorted(host.features)
    return facts | {"vendor": host.vendor, "architecture": host.name, "features": features}


def _cores() -> dict[str, int | None]:
    physical, logical = psutil.cpu_count(logical=False), psutil.cpu_count()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {"physical": physical, "logical": logical, "available": available}


def _memory_gibibytes() -> int:
    return round(psutil.virtual_memory().total / 2**30)


def _python() -> dict[str, str]:
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
    }


def _system() -> dict[str, Any]:
    virtual = None  # unknown
    if _CPUINFO.exists():
        virtual = _search_cpuinfo(r"^flags\s*:.*\bhypervisor\b") is not None
    return {
        "name": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "virtual": virtual,
    }


def _search_cpuinfo(pattern: str) -> re.Match[str] | None:
    try:
        return re.search(pattern, _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return None


def _core_versions() -> dict[str, str]:
    versions = {}
    for name in CORE_LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _plugins() -> dict[str, str]:
    """Return the version of every distribution that offers a plugin."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        if any(point.group == GROUP for point in distribution.entry_points):
            # The first on the path is the one that is imported.
            versions.setdefault(distribution.metadata["Name"], distribution.version)
    return versions


def _commit(root: Path) -> str | None:
    """Return the commit of the harness's checkout, with ``-dirty`` if it was changed."""
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return None
    describe = ["describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *describe],
            capture_output=True,
            text=True,
            timeout=2,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
