"""Measures how far sequential runs of equal code differ: the same `harness run`, repeated.

Usage: python benchmarks/drift.py [--runs 20] [--launches 7] [--affinity 1] > sequential.json
Prints the seconds per step of every launch as JSON, run by run. The tests judge the verdicts.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness_results.store.store import Store

COMMAND = shlex.split(
    "run -b numpy:vectorised,torch:library -t copy -c lstm -T 50 --steps 120 --fast"
)


def measure(runs: int, options: list[str], store: Path) -> None:
    """Run the same plan ``runs`` times into one store."""
    for number in range(1, runs + 1):
        words = [*COMMAND, *options, "--fresh", f"--order-seed={number}", f"--store={store}"]
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, check=False, stdout=sys.stderr)
        if done.returncode:  # the reason is on stderr
            sys.exit(done.returncode)


def seconds_per_step(store: Path, left_out: Sequence[int]) -> dict[str, list[list[float]]]:
    """Return engine -> one list per run -> one median per launch, without the runs ``left_out``."""
    runs_by_engine: dict[str, list[list[float]]] = {}
    with Store.open(store, create=False) as opened:
        for number, run in enumerate(opened.runs(), 1):
            if number in left_out:
                continue
            of_run: dict[str, list[float]] = {}
            for record in opened.launches(run.run_id):
                launches = of_run.setdefault(record.trial.engine, [])
                if seconds := record.figures.get("step_seconds_median"):
                    launches.append(float(f"{seconds:.6g}"))
            for engine, launches in of_run.items():
                runs_by_engine.setdefault(engine, []).append(launches)
    return runs_by_engine


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Runs of equal code, one after the other.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--launches", type=int, default=7)
    parser.add_argument("--affinity", help="The processors on which to run.")
    parser.add_argument(
        "--store", type=Path, help="Keep the records there; runs that are there already count."
    )
    parser.add_argument(
        "--leave-out", type=int, nargs="*", default=[], help="Runs that something disturbed."
    )
    chosen = parser.parse_args()
    for name, least in (
        ("runs", 1),
        ("launches", 2),
    ):  # of one launch each there is no order to shuffle
        if getattr(chosen, name) < least:
            parser.error(f"--{name}: at least {least} is needed")
    options = [
        "--launches",
        str(chosen.launches),
        *(["--affinity", chosen.affinity] if chosen.affinity else []),
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = chosen.store or Path(folder) / "drift.sqlite"
        measure(chosen.runs, options, store)
        content = {
            "command": " ".join(["harness", *COMMAND, *options]),
            "unit": "seconds per training step, the median of one launch; one list per run",
            "left_out": chosen.leave_out,
            "seconds_per_step": seconds_per_step(store, chosen.leave_out),
        }
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
