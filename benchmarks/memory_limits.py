"""What a limit of memory could go by: peaks of address space, data segment, resident memory; what watching costs.

python benchmarks/memory_limits.py [BACKEND:VARIANT ...]
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import psutil

from harness.contract import Trial, UsageError
from harness.plugins import Plugins, load_plugins
from harness.sweep.local import run_trials
from harness.sweep.memory_watch import MemoryWatch, descendants
from harness.sweep.plan import expand
from harness.sweep.request import PlanRequest

KINDS = {"address space": "VmPeak", "data segment": "VmData", "resident": "VmHWM"}
ENGINES = ("numpy:vectorised", "torch:library", "jax:fused")
LOOKS = 10  # timed at each event


def main(engines: list[str]) -> None:
    """Print a line for each engine."""
    plugins = load_plugins()
    for trial in [_trial(engine, plugins) for engine in engines or ENGINES]:
        peaks: dict[str, float] = {}
        looks: list[float] = []
        (record,) = run_trials([trial], on_event=lambda *_: _note(peaks, looks))  # noqa: B023
        found = "  ".join(f"{kind} {peaks.get(kind, 0):.0f} MiB" for kind in KINDS)
        print(f"{trial.engine}  {record.status}  {found}  a look {1000 * min(looks):.3f} ms")


def _trial(engine: str, plugins: Plugins) -> Trial:
    axes = {"backend": engine, "task": "copy", "cell": "lstm", "length": 20, "hidden": 64, "batch": 16, "steps": 30}
    (trial,) = expand(PlanRequest({name: (value,) for name, value in axes.items()}), plugins)
    return trial


def _note(peaks: dict[str, float], looks: list[float]) -> None:
    """Read the peaks of all that is below us, and time one look at it."""
    for pid in descendants(psutil.Process().pid):
        status = Path(f"/proc/{pid}/status").read_text()
        for kind, name in KINDS.items():
            if match := re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE):
                peaks[kind] = max(peaks.get(kind, 0.0), int(match[1]) / 1024)
    watch = MemoryWatch()
    began = time.process_time()
    for _ in range(LOOKS):
        watch.look(psutil.Process().pid)
    looks.append((time.process_time() - began) / (LOOKS))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UsageError as error:
        sys.exit(f"error: {error}")
