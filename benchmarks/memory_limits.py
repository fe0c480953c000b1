"""Measures candidates for a memory limit: peaks of address space, data segment, resident memory.

It prints the cost of watching too.

python benchmarks/memory_limits.py [BACKEND[:VARIANT] ...]
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from harness.contract import UnavailableError
from harness.execute.local import run_trials
from harness.execute.memory_watch import MemoryWatch, descendants
from harness.plan.expand import expand
from harness.plan.request import PlanRequest
from harness.plugins import load_plugins

KINDS = {"address space": "VmPeak", "data segment": "VmData", "resident": "VmHWM"}
ENGINES = ("numpy:vectorised", "torch:library", "jax:fused")
LOOKS = 10  # timed at each event


def main(arguments: Sequence[str]) -> None:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engines", nargs="*", default=ENGINES, metavar="BACKEND[:VARIANT]")
    axes = {"task": ("copy",), "length": (20,), "hidden": (64,), "batch": (16,), "steps": (30,)}
    request = PlanRequest({"backend": parser.parse_args(arguments).engines, **axes})
    for trial in expand(request, load_plugins()):
        peaks: dict[str, float] = {}
        looks: list[float] = []
        (record,) = run_trials([trial], on_event=lambda *_: _note(peaks, looks))  # noqa: B023
        if record.status != "ok":
            raise UnavailableError(f"{trial.engine} ended {record.status}: {record.reason}")
        sizes = "  ".join(f"{kind} {peaks.get(kind, 0):.0f} MiB" for kind in KINDS)
        print(f"{trial.engine}  {record.status}  {sizes}  a look {1000 * min(looks):.3f} ms")


def _note(peaks: dict[str, float], looks: list[float]) -> None:
    """Read the peaks of all processes below this one, and time one look at them."""
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
    from script import run

    run(main)
