"""Makes a large synthetic store, times opening, listing and reporting it, and weighs its page.

    python benchmarks/large_store.py make big.sqlite --trials 100000
    python benchmarks/large_store.py time big.sqlite
    python benchmarks/large_store.py make page.sqlite --trials 10000
    python benchmarks/large_store.py page page.sqlite

Records are made from one real record (``results/measured``), with other settings and figures; one
in fifty failed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from harness.contract import Record, Trial, UsageError
from harness_results.store import rows
from harness_results.store.store import Store

RUNS = 100
ENGINES = ("numpy:vectorised", "numpy:native", "torch:library", "torch:fused", "jax:scan")
CELLS, LENGTHS = ("rnn", "lstm", "gru"), (25, 50, 100, 200, 400)
VERBS = {
    "store info": ["store", "info"],
    "report --format json": ["report", "--format", "json"],
    "report --format table": ["report", "--format", "table"],
    "report --run last": ["report", "--run", "last"],
}
PAGE = {"report --format html": ["report", "--format", "html"]}
FIGURES = (
    "loss_initial", "loss_final", "loss_validation", "loss_baseline", "loss_ratio",
    "tokens_per_second", "tokens_per_second_low", "tokens_per_second_high", "step_seconds_median",
    "gradient_norm_median", "gradient_horizon", "peak_memory_bytes", "parity_error",
    "parity_tolerance",
)  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Make, time or weigh."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["make", "time", "page"])
    parser.add_argument("store")
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=250, help="of each curve")
    arguments = parser.parse_args(words)
    if arguments.points < 1:
        parser.error("--points: at least 1 is needed")
    if arguments.trials < RUNS:
        parser.error(f"--trials: at least {RUNS} are needed, one for each run")
    if arguments.what != "make" and Store.find(arguments.store) is None:
        parser.error(f"there is no store {arguments.store}: make one first")
    if arguments.what == "make":
        if Store.find(arguments.store) is not None:
            parser.error(f"there is a store {arguments.store}: name another")
        make(arguments.store, arguments.trials, arguments.points)
    elif arguments.what == "time":
        measure(arguments.store)
    else:
        measure_verbs(PAGE, arguments.store)


def make(location: str, trials: int, points: int) -> None:
    """Write the store, a run in one transaction."""
    records = synthetic(trials, points)
    with Store.open(location) as store:
        for number in range(RUNS):
            run_id = store.begin_run(f"harness run part-{number}.toml", {"launches": 1})
            size = trials * (number + 1) // RUNS - trials * number // RUNS
            packed = [rows.pack(record) for record in islice(records, size)]
            store.database.run(
                lambda c, packed=packed, run_id=run_id: _insert(c, packed, run_id), write=True
            )


def _insert(connection: object, packed: list[rows.PackedRecord], run_id: int) -> None:
    for record in packed:
        rows.insert_record(connection, record, run_id)  # type: ignore[arg-type]


def synthetic(count: int, points: int) -> Iterator[Record]:
    """Yield records that differ in cell, length, engine and seed."""
    random = np.random.default_rng(0)
    environments = [
        {"cpu": {"model": f"CPU {n}"}, "libraries": {f"library{i}": "1.0" for i in range(60)}}
        for n in range(4)
    ]
    details = {
        "parity": {"errors": {f"weight_{i}": random.random() for i in range(30)}},
        "flags": [],
        "notes": [],
    }
    for number in range(count):
        seed, cell, length, engine = _axes(number)
        backend, _, variant = engine.partition(":")
        trial = Trial(
            backend=backend, variant=variant, task="copy", cell=cell, length=length, seed=seed
        )
        which = int(random.integers(len(environments)))
        curves = {name: random.random(points).tolist() for name in ("loss", "gradient_norm")}
        record = Record(
            trial,
            "ok",
            None,
            _figures(random),
            curves,
            details,
            environments[which],
            f"e{which}",
            "2026-01-01T00:00:00+00:00",
            "0.1.0",
        )
        if number % 50 == 0:
            record = replace(record, status="failed", reason="did not work", figures={})
        yield record


def _axes(number: int) -> tuple[int, str, int, str]:
    number, cell = divmod(number, len(CELLS))
    number, length = divmod(number, len(LENGTHS))
    seed, engine = divmod(number, len(ENGINES))
    return seed, CELLS[cell], LENGTHS[length], ENGINES[engine]


def _figures(random: np.random.Generator) -> dict[str, float]:
    return {name: random.random() for name in FIGURES}


def measure(location: str) -> None:
    """Print the processor time of each verb, and of opening the store to write."""
    began = time.process_time()
    with Store.open(location) as store:
        print(f"{'open to write':24}{time.process_time() - began:8.2f} s")
        first = next(store.each_launch(), None)
    if first is None:
        raise UsageError(f"{location} holds no record: name a store that `make` has made")
    measure_verbs(VERBS | {"show": ["show", first.record.trial.trial_id, "--store"]}, location)


def measure_verbs(verbs: Mapping[str, Sequence[str]], location: str) -> None:
    """Print the processor time and the output's size of each verb."""
    for name, words in verbs.items():
        began = _children_seconds()
        command = [sys.executable, "-m", "harness", *words, location]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = _children_seconds() - began
        print(
            f"{name:24}{seconds:8.2f} s   exit {done.returncode}, {len(done.stdout):,} characters"
        )
        if done.returncode not in {0, 3}:
            last = done.stderr.strip().rpartition("\n")[2]
            raise UsageError(f"`harness {' '.join(words)}` failed: {last}")


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    from script import run

    run(main)
