"""A store on a full disk, under a killed driver, and under two sweeps: each fault is caused."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.contract.records.columns import FIGURE_NAMES, names_of
from harness_results.store.integrity import check_store
from harness_results.store.store import Store

TINY = [
    "-b",
    "numpy:vectorised",
    "-t",
    "copy",
    "-c",
    "rnn",
    "--hidden",
    "4",
    "--batch",
    "2",
    "--steps",
    "4",
]
CLOCK = {*names_of("speed"), "peak_memory_bytes", "started_at", "store"}
KILLS = int(os.environ.get("HARNESS_TEST_KILLS", "3"))

WRITER = """
import sys
from itertools import count
from harness.contract import Record, StoreError, Trial
from harness_results.store.store import Store
location, first = sys.argv[1], int(sys.argv[2])
with Store.open(location) as store:
    run = store.begin_run("writer")
    for seed in count(first):
        trial = Trial(backend="numpy", variant="v", task="copy", cell="lstm", length=20, seed=seed)
        curves = {"loss": [0.1 * seed] * 500}
        record = Record(trial, "ok", curves=curves, environment={"host": "same"})
        try:
            store.add(record, run)
        except StoreError as error:
            sys.exit(str(error))
        print(seed, flush=True)
"""


def start(*command: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def harness(*arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "COLUMNS": "140"}
    return start(
        "-m", "harness", "-p", "no:torch", "-p", "no:jax", *arguments, env=environment, **options
    )


def stored(location) -> Counter:
    """Return how often each seed is there, after a look at the whole store."""
    with Store.open(location, create=False) as store:
        assert check_store(store).damages == ()
        return Counter(launch.record.trial.seed for launch in store.each_launch(with_curves=True))


@pytest.fixture
def small_disk():
    """A file system of 300 kB."""
    folder = Path(tempfile.mkdtemp(prefix="harness-small-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        if (
            not shutil.which("mount")
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("a file system cannot be mounted here: run the tests as root")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
    finally:
        folder.rmdir()


def test_a_disk_that_is_full_keeps_what_was_acknowledged_and_is_named(small_disk):
    path = small_disk / "store.db"
    writer = start("-c", WRITER, path, "0")
    acknowledged, said = writer.communicate(timeout=120)
    assert writer.returncode == 1
    assert re.search(
        r"store\.db cannot be written \(.*\): \d+ bytes are free; what was stored before is kept",
        said,
    )
    assert len(acknowledged.split()) > 5
    assert stored(path) == Counter(map(int, acknowledged.split()))


def limited(size_bytes: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def test_a_file_that_may_not_grow_keeps_what_was_acknowledged_and_is_named(tmp_path):
    path = tmp_path / "store.db"
    writer = start("-c", WRITER, path, "0", preexec_fn=limited(200_000))
    acknowledged, said = writer.communicate(timeout=120)
    assert writer.returncode == 1
    assert re.search(
        r"store\.db cannot be written \(.*\): \d+ bytes are free; what was stored before is kept",
        said,
    )
    assert len(acknowledged.split()) > 5
    assert stored(path) == Counter(map(int, acknowledged.split()))


def test_a_writer_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(location):
    chance, acknowledged = random.Random(0), Counter()
    for attempt in range(KILLS):
        writer = start("-c", WRITER, location, str(attempt * 100_000))
        first = writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        out = first + writer.communicate()[0]
        acknowledged += Counter(map(int, out.split("\n")[:-1]))
        seeds = stored(location)
        assert set(seeds.values()) == {1}
        assert len(seeds - acknowledged) <= attempt + 1  # stored, and killed before it could say so
        assert not acknowledged - seeds


def test_two_sweeps_at_once_on_one_store_lose_nothing_and_double_nothing(location, tmp_path):
    store = ["--store", location, "-q"]
    sweeps = [
        harness("run", *TINY, "-T", "4,5", "--seed", seeds, *store, cwd=tmp_path)
        for seeds in ("0,1,2", "2,3")
    ]
    said = [sweep.communicate(timeout=240) for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    with Store.open(location, create=False) as opened:
        runs = [opened.launches(run.run_id) for run in opened.runs()]
        assert check_store(opened).damages == ()
    trials = [sorted((record.trial.seed, record.trial.length) for record in run) for run in runs]
    assert sorted(trials) == [
        [(s, t) for s in seeds for t in (4, 5)] for seeds in ((0, 1, 2), (2, 3))
    ]


def test_the_same_plan_on_a_file_and_on_a_server_gives_the_same_report(database, tmp_path):
    reports = []
    for location in (str(tmp_path / "store.db"), database):
        command = ["run", *TINY, "-T", "4,5", "--launches", "2", "--store", location, "-q"]
        sweep = harness(*command, cwd=tmp_path)
        assert sweep.communicate(timeout=240) is not None
        assert sweep.returncode == 0
        report = harness("report", location, "--format", "json", cwd=tmp_path).communicate()[0]
        rows = json.loads(report)
        reports.append(
            [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]
        )
    assert reports[0] == reports[1]
    assert len(reports[0]) == 2
    assert set(reports[0][0]) >= {name for name in FIGURE_NAMES if name not in CLOCK}


def test_a_store_that_was_merged_into_a_server_gives_exactly_the_same_reports(database, tmp_path):
    path = tmp_path / "store.db"
    sweep = harness("run", *TINY, "-T", "4,5", "--store", path, "-q", cwd=tmp_path)
    assert sweep.communicate(timeout=240) is not None
    merged = harness("store", "merge", path, "--into", database)
    assert merged.communicate() is not None
    assert (sweep.returncode, merged.returncode) == (0, 0)
    for format_ in ("json", "table"):
        shown = [
            harness("report", location, "--format", format_).communicate()[0]
            for location in (str(path), database)
        ]
        assert shown[0] == shown[1]
        assert "copy" in shown[0]
