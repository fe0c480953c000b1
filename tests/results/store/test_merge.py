"""Merging stores: nothing twice, nothing lost, in any order, repeated, and after a crash."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import NOT_OK, OK, cli
from harness.contract import Record, Trial, UsageError
from harness_results.store import raw
from harness_results.store import runs as runs_module
from harness_results.store.integrity import check_store
from harness_results.store.merge import merge
from harness_results.store.store import Store

DUMPS = sorted(paths.DATA.glob("store-v*.sql"))


def record(seed: int = 0, status: str = "ok", **details) -> Record:
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20, seed=seed)
    machine = {"host": details.pop("host", "h")}
    return Record(trial, status, curves={"loss": [0.5, None]}, details=details, environment=machine)


def fill(location, *runs: list[Record], at: str | None = None) -> None:
    """Store runs of these records, the first of which begin at ``at``."""
    with pytest.MonkeyPatch.context() as patch, Store.open(location) as store:
        if at:
            patch.setattr(runs_module, "now", lambda: at)
        for records in runs:
            run_id = store.begin_run("harness run", {"launches": 2})
            for each in records:
                store.add(each, run_id)


def merged(target, *sources):
    with Store.open(target) as into:
        opened = [Store.open(source, create=False) for source in sources]
        try:
            return merge(into, opened)
        finally:
            for store in opened:
                store.close()


def content(location) -> list[tuple]:
    """Return what a store holds, run by run, without the numbers that it gives."""
    with Store.open(location, create=False) as store:
        return [
            (
                run.started_at,
                run.command,
                run.settings,
                run.identity,
                store.launches(run.run_id, with_curves=True),
            )
            for run in store.runs()
        ]


def seeds(location) -> Counter:
    with Store.open(location, create=False) as store:
        return Counter(launch.record.trial.seed for launch in store.each_launch())


def counts(results) -> list[tuple[int, int, int]]:
    return [(result.runs, result.records, result.present) for result in results]


def test_a_merge_into_an_empty_store_holds_all_and_again_adds_nothing(tmp_path, location):
    first, second = tmp_path / "one.db", tmp_path / "two.db"
    fill(
        first,
        [record(0), record(0, "failed", n=1), record(1)],
        [record(2)],
        at="2026-01-02T00:00:00+00:00",
    )
    fill(second, [record(3, host="other")], [], at="2026-01-01T00:00:00+00:00")
    assert counts(merged(location, first, second)) == [(2, 4, 0), (2, 1, 0)]
    assert content(location) == content(second) + content(first)
    assert counts(merged(location, first, second)) == [(0, 0, 4), (0, 0, 1)]
    assert content(location) == content(second) + content(first)
    with Store.open(location) as store:
        assert check_store(store).damages == ()
        assert store.begin_run("next") > max(run.run_id for run in store.runs()[:-1])


def test_a_store_that_has_grown_adds_what_is_new(tmp_path, location):
    source = tmp_path / "source.db"
    fill(source, [record(0)])
    merged(location, source)
    with Store.open(source) as store:
        store.add(record(0), 1)  # exactly as the first, and yet another launch
        store.add(record(1), 1)
    fill(source, [record(0)])
    assert counts(merged(location, source)) == [(1, 3, 1)]
    assert [launches for *_, launches in content(location)] == [
        launches for *_, launches in content(source)
    ]


def test_runs_that_look_the_same_on_two_machines_are_two(tmp_path, location):
    for name in ("one", "two"):
        fill(tmp_path / name, [record(0)], at="2026-01-01T00:00:00+00:00")
    merged(location, tmp_path / "one", tmp_path / "two")
    assert seeds(location) == {0: 2}


def test_a_copy_of_a_store_adds_nothing_and_runs_of_both_are_kept(tmp_path, location):
    source, copy = tmp_path / "source.db", tmp_path / "copy.db"
    fill(source, [record(0)])
    shutil.copy(source, copy)
    fill(source, [record(1)])
    fill(copy, [record(2)])
    merged(location, source, copy)
    assert seeds(location) == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
def test_runs_that_were_made_before_they_had_an_identity_are_known_again(dump, tmp_path, location):
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    before = old.read_bytes()
    first = merged(location, old)
    assert (first[0].runs, first[0].damages) == (2, [])
    assert first[0].records > 2
    assert counts(merged(location, old)) == [(0, 0, first[0].records)]
    assert old.read_bytes() == before
    copy = tmp_path / "copy.db"
    shutil.copy(old, copy)
    fill(copy, [record(7)])  # is brought up to date
    assert counts(merged(location, copy)) == [(1, 1, first[0].records)]
    assert counts(merged(copy, old)) == [(0, 0, first[0].records)]


def test_the_younger_calibration_is_kept(tmp_path, location):
    for name, at, value in (("one", "2026-01-02", 2), ("two", "2026-01-01", 1)):
        with pytest.MonkeyPatch.context() as patch, Store.open(tmp_path / name) as store:
            patch.setattr("harness_results.store.store.now", lambda at=at: at)
            store.calibrate("e1", "peak", value)
            store.calibrate(name, "peak", value)
    for sources in (("one", "two"), ("two", "one")):
        merged(location, *(tmp_path / name for name in sources))
        with Store.open(location, create=False) as store:
            assert store.all_calibrations() == {
                "e1": {"peak": 2},
                "one": {"peak": 2},
                "two": {"peak": 1},
            }


def test_a_damaged_record_is_left_out_and_named(tmp_path, location):
    source = tmp_path / "source.db"
    fill(source, [record(0), record(1), record(2)])
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE records SET figures = '{' WHERE record_id = 1")
        connection.execute("UPDATE curves SET content = X'00' WHERE record_id = 3")
    done = CliRunner().invoke(
        cli, ["store", "merge", str(source), "--into", location], standalone_mode=False
    )
    assert done.return_value == NOT_OK
    assert "left out: record 1 (trial" in done.stderr
    assert "left out: record 3 (trial" in done.stderr
    assert seeds(location) == {1: 1}


def test_the_command_says_what_was_added_and_what_is_out_of_order(tmp_path):
    fill(tmp_path / "new.db", [record(0)], at="2026-02-01T00:00:00+00:00")
    fill(tmp_path / "old.db", [record(1)], at="2026-01-01T00:00:00+00:00")
    run = lambda name: CliRunner().invoke(
        cli,
        ["store", "merge", str(tmp_path / name), "--into", str(tmp_path / "all.db")],
        standalone_mode=False,
    )
    assert run("new.db").stderr == ""
    done = run("old.db")
    assert done.return_value == OK
    assert "old.db: 1 run and 1 record added, 0 records were there" in done.stdout
    assert "1 run of" in done.stderr
    assert "began before the last run" in done.stderr


def test_a_store_is_not_merged_into_itself(tmp_path):
    path = tmp_path / "s.db"
    fill(path, [record(0)])
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(UsageError, match="cannot be merged into itself"):
        merged(path, tmp_path / "link.db")
    assert seeds(path) == {0: 1}


def test_two_merges_of_one_store_at_once_add_it_once(tmp_path, location):
    source = tmp_path / "source.db"
    fill(source, [record(seed) for seed in range(10)], [record(seed) for seed in range(10)])
    with Store.open(location):
        pass
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setattr(raw, "BATCH", 3)
        list(pool.map(lambda _: merged(location, source), range(3)))
    assert seeds(location) == dict.fromkeys(range(10), 2)


def test_a_merge_beside_a_sweep_that_writes_loses_nothing_of_either(tmp_path, location):
    source = tmp_path / "source.db"
    fill(source, *([record(seed)] for seed in range(5)))
    with Store.open(location) as store:
        run_id = store.begin_run("sweep")
        writer = threading.Thread(target=lambda: merged(location, source))
        writer.start()
        for seed in range(5):
            store.add(replace(record(seed), status="failed"), run_id)
        writer.join()
    assert seeds(location) == dict.fromkeys(range(5), 2)


MERGER = """
import sys
from harness_results.store import raw
from harness_results.store.merge import merge
from harness_results.store.store import Store
raw.BATCH = 2
with Store.open(sys.argv[2]) as target, Store.open(sys.argv[1], create=False) as source:
    print("begins", flush=True)
    merge(target, [source])
"""


def test_a_merge_that_is_killed_leaves_the_target_whole_and_is_completed_by_another(
    tmp_path, location
):
    source = tmp_path / "source.db"
    fill(source, *([record(seed), record(seed)] for seed in range(60)))
    fill(location, [record(99)])
    for attempt in range(4):
        command = [sys.executable, "-c", MERGER, str(source), location]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with Store.open(location) as store:
            assert check_store(store).damages == ()
        assert all(count <= 2 for count in seeds(location).values())
    merged(location, source)
    assert seeds(location) == dict.fromkeys(range(60), 2) | {99: 1}
