"""The store: it returns what was stored, and refuses what it cannot use without altering it."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from harness.contract import Record, StoreError, Trial, UnknownNameError
from harness_results.store.database import schema
from harness_results.store.database.open import open_database
from harness_results.store.store import Store

HOSTILE = [
    "</script>",
    "[bold]",
    "[/x]",
    "\x1b[31m",
    "=cmd()",
    "../..",
    "\x00",
    "\ud800",
    "'; DROP TABLE records; --",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text())
numbers = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53)
)
json_values = st.recursive(
    st.one_of(numbers, st.booleans(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def make_trial(**fields) -> Trial:
    return Trial(
        **{"backend": "numpy", "variant": "loop", "task": "copy", "cell": "lstm", "length": 20}
        | fields
    )


def make_record(status: str = "ok", *, reason: str | None = None, **fields) -> Record:
    figures = {"loss_final": 0.25, "solved": False, "accuracy": None}
    return Record(
        make_trial(**fields), status, reason, figures=figures, curves={"loss": [0.5, None, 0.25]}
    )


def execute(location: Path | str, *statements: str) -> list[tuple]:
    """Do what no store would do, in one transaction; return the rows of the last statement."""
    database = open_database(location, create=True)

    def work(connection):
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []

    try:
        return database.run(work, write=True)
    finally:
        database.engine.dispose()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "store.db"


def store_one(location: Path | str, record: Record | None = None) -> Record:
    record = record or make_record()
    with Store.open(location) as store:
        store.add(record, store.begin_run("harness run"))
    return record


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    reason=st.one_of(st.none(), texts),
    details=st.dictionaries(texts, json_values, max_size=4),
    curves=st.dictionaries(
        st.sampled_from(["loss", "gradient_norm", "gradient_flow"]), json_values
    ),
    environment=st.dictionaries(texts, json_values, max_size=3),
    loss=numbers,
    status=st.sampled_from(["ok", "failed", "diverged"]),
)
@pytest.mark.slow
def test_a_record_comes_back_as_it_was(
    location, reason, details, curves, environment, loss, status
):
    record = Record(
        make_trial(task_options={"symbols": 8}), status, reason,
        figures={"loss_final": loss}, curves=curves, details=details, environment=environment,
        environment_id="e1", started_at="2026-01-01T00:00:00+00:00", harness_version="0.1.0",
    )  # fmt: skip
    with Store.open(location) as store:
        store.add(record, store.begin_run("x"))
        assert store.launches(with_curves=True)[-1] == record


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_stored_as_none(location, bad):
    record = replace(
        make_record(),
        figures={"loss_final": bad},
        curves={"loss": [1.0, bad]},
        details={"x": {"y": bad}},
    )
    store_one(location, record)
    with Store.open(location, create=False) as store:
        (stored,) = store.launches_of(record.trial.trial_id)
    assert (stored.figures, stored.curves, stored.details) == (
        {"loss_final": None}, {"loss": [1.0, None]}, {"x": {"y": None}},
    )  # fmt: skip
    assert "NaN" not in str(execute(location, "SELECT figures, details FROM records"))


def test_numpy_values_and_paths_do_not_cost_a_record(location):
    record = replace(
        make_record(), details={"n": np.int64(3), "a": np.array([1.5, np.nan]), "p": Path("a/b")}
    )
    store_one(location, record)
    with Store.open(location, create=False) as store:
        assert store.launches()[0].details == {"n": 3, "a": [1.5, None], "p": "a/b"}


def test_the_launches_of_the_latest_run_of_each_trial_are_found_and_older_ones_on_request(location):
    with Store.open(location) as store:
        first = store.begin_run("one")
        for record in (
            make_record("failed", reason="x"),
            make_record("ok"),
            make_record("ok", length=50),
        ):
            store.add(record, first)
        second = store.begin_run("two")
        store.add(make_record("timeout", length=50), second)
        launches = [(r.trial.length, r.status) for r in store.launches()]
        assert launches == [(20, "failed"), (20, "ok"), (50, "timeout")]
        assert [r.status for r in store.launches(first)] == ["failed", "ok", "ok"]
        assert store.launches(second)[0].curves == {}


def test_a_run_that_was_interrupted_hides_no_run_before_it(location):
    with Store.open(location) as store:
        for statuses in (("interrupted",), ("ok", "timeout"), ("interrupted", "interrupted")):
            run_id = store.begin_run("again")
            for status in statuses:
                store.add(make_record(status), run_id)
        store.add(make_record("interrupted", length=50), run_id)
        assert [r.status for r in store.launches()] == ["ok", "timeout", "interrupted"]
        assert [r.status for r in store.launches_of(make_trial().trial_id)] == ["ok", "timeout"]
        assert [r.status for r in store.launches(run_id)] == ["interrupted"] * 3
        run_id = store.begin_run("again, and one launch ended")
        for status in ("ok", "interrupted"):
            store.add(make_record(status), run_id)
        assert [r.status for r in store.launches_of(make_trial().trial_id)] == ["ok", "interrupted"]


def test_runs_are_listed_in_order_with_their_command(location):
    with Store.open(location) as store:
        assert store.runs() == []
        ids = [
            store.begin_run(command) for command in ("harness run", "harness run \ud800 -c '[/x]'")
        ]
        assert [run.run_id for run in store.runs()] == ids == sorted(ids)
        assert store.runs()[-1].command == "harness run \ud800 -c '[/x]'"


def test_a_record_is_found_by_the_first_digits_of_its_trial(location):
    record = store_one(location)
    with Store.open(location, create=False) as store:
        assert store.launches_of(record.trial.trial_id[:5].upper()) == [record]


def test_last_is_the_trial_of_the_last_run(location):
    older, newer = store_one(location), store_one(location, make_record(length=50))
    with Store.open(location) as store:
        assert store.launches_of("last") == [newer]
        run_id = store.begin_run("harness run")
        for record in (older, newer):
            store.add(record, run_id)
        with pytest.raises(StoreError, match=r"2 trials.*lstm T=20\), \w+ \(lstm T=50\)"):
            store.launches_of("last")


def test_an_unknown_or_ambiguous_trial_is_an_error_that_lists_candidates(location):
    record = store_one(location)
    store_one(location, make_record(length=50))
    with Store.open(location) as store:
        with pytest.raises(
            UnknownNameError, match=f"(?s)zzzz.*{record.trial.trial_id}.*harness report"
        ):
            store.launches_of("zzzz")
        with pytest.raises(UnknownNameError, match="unknown trial '%'"):
            store.launches_of("%")
        with pytest.raises(StoreError, match=f"(?s)could be any of.*{record.trial.trial_id}.*more"):
            store.launches_of("")


def test_a_missing_directory_is_refused_and_named(tmp_path):
    with pytest.raises(StoreError, match=r"no directory .*absent.*--store"):
        Store.open(tmp_path / "absent" / "store.db")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"is a directory.*--store"):
        Store.open(tmp_path)


def test_a_device_is_refused():
    with pytest.raises(StoreError, match=r"not a regular file.*--store"):
        Store.open("/dev/null")


def test_reading_never_makes_a_file(path):
    with pytest.raises(
        StoreError,
        match=r"there is no store .*store\.db.*harness run --store.*or the argument STORE",
    ):
        Store.open(path, create=False)
    assert not path.exists()


def test_an_empty_file_becomes_a_store_but_is_nothing_to_read(path):
    path.touch()
    with pytest.raises(StoreError, match=r"is empty.*--store"):
        Store.open(path, create=False)
    store_one(path)
    with Store.open(path, create=False) as store:
        assert len(store.launches()) == 1


@contextlib.contextmanager
def unprivileged():
    """Act as a user whom permissions bind: root may write anywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public():
    """A directory that another user may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.parametrize("file_mode", [None, 0o444, 0o666])
def test_a_read_only_place_is_refused_for_writing_before_anything_runs_and_can_be_read(
    public, file_mode
):
    path = public / "store.db"
    store_one(path)  # also loads every module that is needed below
    if file_mode is None:
        path.unlink()
    else:
        path.chmod(file_mode)
    public.chmod(0o555)
    with unprivileged():
        with pytest.raises(StoreError, match=r"store\.db cannot be written.*--store"):
            Store.open(path)
        if file_mode is not None:
            with Store.open(path, create=False) as store:
                assert len(store.launches()) == 1


def cut(content: bytes) -> bytes:
    return content[:6000]


def scribble(content: bytes) -> bytes:
    return content[:4096] + b"\xff" * 4096 + content[8192:]


@pytest.mark.parametrize(
    "spoil", [lambda _: b"not a database at all", lambda _: b"S", cut, scribble]
)
def test_a_corrupt_file_is_refused_and_never_altered(path, spoil):
    store_one(path)
    path.write_bytes(spoil(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"store\.db is damaged.*left as it is|was left as it is.*--store"
    ):
        Store.open(path)
    assert path.read_bytes() == before


def contents(location: Path | str) -> object:
    """Return what must not change: the bytes of a file, or every row of every table."""
    if "://" not in str(location):
        return Path(location).read_bytes()
    names = execute(location, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name: execute(location, f"SELECT * FROM {name}") for (name,) in names}


def test_of_a_large_file_the_length_is_checked_and_every_page_on_request(path, monkeypatch):
    with Store.open(path) as store:
        run_id = store.begin_run("x")
        for length in range(20, 60):
            store.add(make_record(length=length), run_id)
    monkeypatch.setattr("harness_results.store.database.sqlite.WHOLE_BYTES", 1000)
    with Store.open(path) as store:
        assert len(store.launches()) == 40
    before = path.read_bytes()[:-4096]
    path.write_bytes(before)
    with pytest.raises(StoreError, match=r"is damaged.*its end is missing.*left as it is"):
        Store.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_store_is_refused_and_never_altered(location, create):
    store_one(location)
    execute(location, "UPDATE meta SET value = '999' WHERE name = 'schema_version'")
    before = contents(location)
    with pytest.raises(
        StoreError, match=r"version 999.*newer harness.*update rnn-harness.*--store"
    ):
        Store.open(location, create=create)
    assert contents(location) == before


def test_another_programs_database_is_refused_and_never_altered(location):
    execute(location, "CREATE TABLE recipes (name TEXT)")
    before = contents(location)
    with pytest.raises(StoreError, match=r"not a store of this program.*--store"):
        Store.open(location)
    assert contents(location) == before


def test_a_record_that_this_version_cannot_read_is_an_error_not_a_crash(location):
    store_one(location)
    execute(location, """UPDATE trials SET content = '{"backend": "x"}'""")
    with Store.open(location) as store, pytest.raises(StoreError, match="cannot be read"):
        store.launches()


def test_a_full_disk_is_named_with_the_free_bytes_and_keeps_what_was_stored(path):
    record = store_one(path)
    big = replace(
        make_record(length=50),
        details={"noise": [random.Random(0).random() for _ in range(50_000)]},
    )
    with Store.open(path) as store:
        event.listen(
            store._database.engine,
            "connect",
            lambda c, _: c.execute("PRAGMA max_page_count = 20").close(),
        )
        run_id = store.begin_run("x")
        with pytest.raises(
            StoreError, match=r"store\.db cannot be written.*full.*\d+ bytes are free.*--store"
        ):
            store.add(big, run_id)
        assert store.launches(with_curves=True) == [record]


def test_a_store_locked_for_too_long_is_an_error_that_says_so(path, monkeypatch):
    store_one(path)
    monkeypatch.setattr("harness_results.store.database.base.PAUSE_SECONDS", 0)
    with Store.open(path) as store:
        store._database.busy_seconds = 0.01
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreError, match=r"store\.db is locked.*--store"):
                store.begin_run("x")
        store.begin_run("x")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://x", "nonsense"),
        ("postgresql+nodriver://u:secret@h/x", "postgresql"),
        ("://", "cannot be used"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_its_password(url, said):
    with pytest.raises(StoreError, match=f"{said}.*--store") as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


def test_an_sqlite_url_is_a_path(path):
    store_one(path)
    with Store.open(f"sqlite:///{path}", create=False) as store:
        assert store.name == str(path)
        assert len(store.launches()) == 1


def test_a_path_may_hold_characters_that_mean_something_in_a_url(tmp_path):
    path = tmp_path / "a?mode=memory#%41 ü.db"
    store_one(path)
    assert path.exists()


WRITER = """
import sys
from itertools import count
from harness.contract import Record, Trial
from harness_results.store.store import Store
path, backend, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Store.open(path) as store:
    run = store.begin_run(backend)
    for seed in count() if most < 0 else range(most):
        trial = Trial(backend=backend, variant="v", task="copy", cell="lstm", length=20, seed=seed)
        curves = {"loss": [0.1 * seed] * 500}
        store.add(Record(trial, "ok", curves=curves, environment={"host": "same"}), run)
        print(seed, flush=True)
"""


def start_writer(location: Path | str, name: str, most: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, location, name, str(most)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_that_make_and_write_one_store_at_once_lose_nothing(location):
    writers = [start_writer(location, name, 20) for name in ("one", "two")]
    assert [len(writer.communicate()[0].split()) for writer in writers] == [20, 20]
    assert [writer.returncode for writer in writers] == [0, 0]
    with Store.open(location, create=False) as store:
        stored = {(record.trial.backend, record.trial.seed) for record in store.launches()}
    assert stored == {(name, seed) for name in ("one", "two") for seed in range(20)}


def test_launches_that_are_stored_at_once_in_one_run_are_numbered_without_a_gap(location):
    with Store.open(location) as store:
        run_id = store.begin_run("x")

    def write(name: str) -> None:
        with Store.open(location) as mine:
            for _ in range(10):
                mine.add(make_record(reason=name), run_id)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, ["one", "two", "three"]))
    assert sorted(execute(location, "SELECT launch FROM records")) == [(n,) for n in range(1, 31)]


def test_what_was_acknowledged_survives_kill_9(location):
    acknowledged = set()
    for attempt in range(4):
        writer = start_writer(location, f"w{attempt}", -1)
        writer.stdout.readline()
        time.sleep(random.Random(attempt).uniform(0.02, 0.3))
        writer.send_signal(signal.SIGKILL)
        seen = writer.communicate()[0].split("\n")[:-1]
        acknowledged |= {(f"w{attempt}", int(seed)) for seed in ["0", *seen]}
        with Store.open(location) as store:
            stored = {
                (record.trial.backend, record.trial.seed)
                for record in store.launches(with_curves=True)
            }
        assert acknowledged <= stored
        acknowledged = stored


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_url_without_a_file_is_refused(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="names no file"):
        Store.open(url)
    assert list(tmp_path.iterdir()) == []


def test_options_in_the_url_of_a_file_are_refused_since_they_would_do_nothing(tmp_path):
    Store.open(f"sqlite:///{tmp_path}/a.sqlite").close()
    with pytest.raises(
        StoreError, match=r"takes no options \(mode\)\. Give a file's path to --store"
    ):
        Store.open(f"sqlite:///{tmp_path}/a.sqlite?mode=ro")


VERSION_ONE = {"meta", "trials", "runs", "environments", "records", "curves"}


@pytest.fixture
def version_one(location):
    """A store as version 1 left it: without the tables that came later."""
    store_one(location)
    later = [
        table.name
        for table in reversed(schema.tables.sorted_tables)
        if table.name not in VERSION_ONE
    ]
    drops = [f"DROP TABLE {name}" for name in later]
    execute(location, *drops, "UPDATE meta SET value = '1' WHERE name = 'schema_version'")
    return location


def test_a_store_of_version_one_is_read_as_it_is(version_one):
    before = contents(version_one)
    with Store.open(version_one, create=False) as store:
        assert len(store.launches()) == 1
        assert (store.runs()[0].settings, store.all_calibrations()) == ({}, {})
    assert contents(version_one) == before


def test_a_store_of_version_one_becomes_the_present_one_when_something_is_stored(version_one):
    with Store.open(version_one) as store:
        store.calibrate("place", "peak", 1.5)
        store.add(make_record(), store.begin_run("new", {"launches": 2}))
    with Store.open(version_one, create=False) as store:
        assert [run.settings for run in store.runs()] == [{}, {"launches": 2}]
        assert store.all_calibrations() == {"place": {"peak": 1.5}}
        assert [len(store.launches(run.run_id)) for run in store.runs()] == [1, 1]


def test_a_calibration_replaces_the_one_before(location):
    with Store.open(location) as store:
        for value in (1, 2):
            store.calibrate("place", "noise", value)
        store.calibrate("elsewhere", "noise", 3)
        assert store.all_calibrations() == {"place": {"noise": 2}, "elsewhere": {"noise": 3}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "update records set figures = '[]'",
            r"record 1 \(trial [0-9a-f]+\).* figures cannot be read",
        ),
        (
            "update trials set content = '{}'",
            r"record 1 \(trial [0-9a-f]+\).* trial cannot be read",
        ),
        ("update records set details = '{odd'", "is damaged: a value cannot be read"),
    ],
)
def test_a_record_that_was_damaged_is_named(location, change, message):
    store_one(location)
    execute(location, change)
    with Store.open(location) as store, pytest.raises(StoreError, match=message):
        store.launches()


def test_a_record_whose_environment_is_gone_is_still_there(path):
    record = store_one(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("delete from environments")
    with Store.open(path) as store:
        [stored] = store.launches()
    assert (stored.trial, dict(stored.environment)) == (record.trial, {})
