"""How far runs of equal code lie apart when they are made one after the other: the same `harness run`, again and again.

Usage: python benchmarks/drift.py [--runs 20] [--launches 7] [--affinity 1] > sequential.json
Prints, as JSON, the seconds per step of every launch, run by run; the runs' verdicts are the business of the tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness_results.store import Store

NETWORK = ["-b", "numpy:vectorised,torch:library", "-t", "copy", "-c", "lstm", "-T", "50", "--steps", "120"]
COMMAND = ["run", *NETWORK, "--fast"]


def measure(runs: int, options: list[str], store: Path) -> None:
    """Run the same plan ``runs`` times into one store."""
    for number in range(1, runs + 1):
        command = [sys.executable, "-m", "harness", *COMMAND, *options, "--order-seed", str(number)]
        subprocess.run([*command, "--store", str(store)], check=True, stdout=sys.stderr)


def seconds_per_step(store: Path) -> dict[str, list[list[float]]]:
    """Return engine -> one list per run -> one median per launch."""
    found: dict[str, list[list[float]]] = {}
    with Store.open(store, create=False) as opened:
        for run in opened.runs():
            of_run: dict[str, list[float]] = {}
            for record in opened.launches(run.run_id):
                taken = record.figures["step_seconds_median"]
                of_run.setdefault(record.trial.engine, []).append(float(f"{taken:.6g}"))
            for engine, seconds in of_run.items():
                found.setdefault(engine, []).append(seconds)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Runs of equal code, one after the other.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--launches", type=int, default=7)
    parser.add_argument("--affinity", help="The processors on which to run.")
    chosen = parser.parse_args()
    options = ["--launches", str(chosen.launches), *(["--affinity", chosen.affinity] if chosen.affinity else [])]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "drift.sqlite"
        measure(chosen.runs, options, store)
        content = {
            "command": " ".join(["harness", *COMMAND, *options]),
            "unit": "seconds per training step, the median of one launch; one list per run",
            "seconds_per_step": seconds_per_step(store),
        }
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
