"""Stores of older versions: each opens, reports, and is brought up to date by the first write.

``data/store-v*.sql`` are dumps of stores that ``harness run`` of that time made.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

import paths
from harness.contract import StoreError
from harness_results.results import Results
from harness_results.store.database import schema
from harness_results.store.store import Store
from harness_results.study.launches import of_each_environment

DUMPS = sorted(paths.DATA.glob("store-v*.sql"))
OUTDATED = [dump for dump in DUMPS if dump.stem != f"store-v{schema.SCHEMA_VERSION}"]


def restored(dump: Path, folder: Path) -> Path:
    path = folder / f"{dump.stem}.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    return path


@pytest.fixture(params=DUMPS, ids=lambda dump: dump.stem)
def old(request, tmp_path) -> Path:
    return restored(request.param, tmp_path)


def rows(path: Path) -> dict[str, list[tuple]]:
    """Return the rows of every table as the file has them."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in names
        }


def content(store: Store) -> tuple:
    return store.launches(with_curves=True), store.runs(), store.all_calibrations()


def test_every_version_so_far_has_a_store_here():
    assert [dump.stem for dump in DUMPS][:2] == ["store-v1", "store-v2"]


def test_an_old_store_is_read_and_reported_and_left_as_it_is(old):
    before = old.read_bytes()
    with Store.open(old, create=False) as store:
        launches, runs, calibrations = content(store)
        table = repr(Results(of_each_environment(store.launches(run.run_id) for run in runs)))
    trials = {(record.trial.task, record.trial.cell) for record in launches}
    assert trials == {("copy", "rnn"), ("copy", "lstm"), ("adding", "rnn")}
    assert {record.status for record in launches} == {"ok"}
    assert all(len(record.curves["loss"]) == 6 and record.environment["cpu"] for record in launches)
    assert [run.command[:11] for run in runs] == ["harness run"] * 2
    assert len(calibrations) == (old.stem != "store-v1")
    assert "numpy:vectorised" in table
    assert old.read_bytes() == before


def test_an_old_store_is_brought_up_to_date_by_the_first_write_and_loses_nothing(old):
    before = rows(old)
    with Store.open(old, create=False) as store:
        old_content = content(store)
    with Store.open(old) as store:
        assert content(store) == old_content
        added = old_content[0][0]
        store.add(added, store.begin_run("harness run", {"launches": 1}))
        store.calibrate("somewhere", "peak", 1.5)
        assert store.launches_of(added.trial.trial_id) == [added]
    after = rows(old)
    assert set(after) >= set(schema.tables.tables)
    assert dict(after["meta"])["schema_version"] == str(schema.SCHEMA_VERSION)
    for name in set(before) - {"meta"}:
        assert set(after[name]) >= set(before[name])


@pytest.mark.parametrize("dump", OUTDATED, ids=lambda dump: dump.stem)
def test_a_disk_that_is_full_when_a_store_is_brought_up_to_date_leaves_it_as_it_was(dump, tmp_path):
    path = restored(dump, tmp_path)
    before = rows(path)
    with Store.open(path, create=False) as store:
        pages = store._database.run(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
        engine = store._database.engine
        event.listen(
            engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count = {pages}").close()
        )
        with pytest.raises(
            StoreError, match=r"cannot be written.*full.*what was stored before is kept"
        ):
            store._database.run(store._bring_up_to_date, write=True)
    assert rows(path) == before
