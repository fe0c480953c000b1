"""How far runs of equal code lie apart when they are made one after the other: the same `harness run`, again and again.

Usage: python benchmarks/drift.py [--runs 20] [--launches 7] [--affinity 1] > sequential.json
Prints, as JSON, the seconds per step of every launch, run by run; the runs' verdicts are the
business of the tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness_results.store.store import Store

NETWORK = [
    "-b",
    "numpy:vectorised,torch:library",
    "-t",
    "copy",
    "-c",
    "lstm",
    "-T",
    "50",
    "--steps",
    "120",
]
COMMAND = ["run", *NETWORK, "--fast"]


def measure(runs: int, options: list[str], store: Path) -> None:
    """Run the same plan ``runs`` times into one store."""
    for number in range(1, runs + 1):
        command = [
            sys.executable,
            "-m",
            "harness",
            *COMMAND,
            *options,
            "--fresh",
            "--order-seed",
            str(number),
        ]
        done = subprocess.run([*command, "--store", str(store)], check=False, stdout=sys.stderr)
        if done.returncode:  # it has said why
            sys.exit(done.returncode)


def seconds_per_step(store: Path, left_out: Sequence[int]) -> dict[str, list[list[float]]]:
    """Return engine -> one list per run -> one median per launch, less the runs ``left_out`` (the first is 1)."""
    found: dict[str, list[list[float]]] = {}
    with Store.open(store, create=False) as opened:
        for run in (one for number, one in enumerate(opened.runs(), 1) if number not in left_out):
            of_run: dict[str, list[float]] = {}
            for record in opened.launches(run.run_id):
                taken = record.figures.get("step_seconds_median")
                of_run.setdefault(record.trial.engine, []).extend(
                    [float(f"{taken:.6g}")] if taken else []
                )
            for engine, seconds in of_run.items():
                found.setdefault(engine, []).append(seconds)
    return found


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
