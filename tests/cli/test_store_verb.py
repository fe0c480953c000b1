"""``harness store``: check names damage and alters nothing, info counts, export keeps columns."""

import csv
import io
import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import NOT_OK, OK, cli
from harness.contract import COLUMNS, Record, StoreError, Trial, UnavailableError, UsageError
from harness_results.render.flat import FLAT_COLUMNS
from harness_results.store.store import Store

PLACE = {"cpu": {"model": "some CPU"}, "system": {"name": "Linux"}, "gpus": [{"name": "a card"}]}
HOSTILE = "=cmd() \x1b[31m \ud800 \x00"


def record(length: int = 20, status: str = "ok", **fields) -> Record:
    trial = Trial(
        backend="numpy",
        variant="loop",
        task="copy",
        cell="lstm",
        length=length,
        task_options={"symbols": 8},
        seed=2**62,
    )
    known = {
        "figures": {"loss_final": 0.25, "solved": False, "parameters": 310},
        "details": {"notes": ["n"]},
    }
    origin = {
        "environment": PLACE,
        "environment_id": "e1",
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Record(trial, status, **known, **origin, curves={"loss": [0.5, None]}, **fields)


@pytest.fixture
def stored(location) -> str:
    """The place of a store: a run of three launches, and one of a failure."""
    with Store.open(location) as store:
        first = store.begin_run("harness run -T 20,50")
        for one in (record(), record(), record(50)):
            store.add(one, first)
        store.add(record(20, "failed", reason=HOSTILE), store.begin_run("harness run"))
    return location


@pytest.fixture
def file(tmp_path) -> Path:
    """A store in a file, to be damaged."""
    path = tmp_path / "damaged.db"
    with Store.open(path) as store:
        run_id = store.begin_run("x")
        for length in (20, 50):
            store.add(record(length), run_id)
    return path


def harness(*arguments):
    result = CliRunner().invoke(cli, ["store", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def damage(path: Path, *statements: str) -> bytes:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path.read_bytes()


def test_a_whole_store_is_found_whole(stored):
    done = harness("check", stored)
    assert (done.return_value, done.stdout.splitlines()[-1][-22:]) == (OK, ": 4 records, 0 damages")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE records SET figures = '{odd' WHERE record_id = 2",
            r"record 2 \(trial \w+, run 1\): it cannot be read",
        ),
        (
            "UPDATE records SET figures = '[]' WHERE record_id = 2",
            r"record 2 .*: figures cannot be read",
        ),
        (
            "UPDATE records SET details = CAST(X'7B22FF227D' AS TEXT) WHERE record_id = 2",
            r"record 2 .*cannot be read",
        ),
        ("UPDATE records SET status = 'splendid' WHERE record_id = 2", r"record 2 .*splendid"),
        (
            "UPDATE records SET environment = 'gone' WHERE record_id = 2",
            "record 2 .*: its environment gone is missing",
        ),
        ("UPDATE records SET run_id = 7 WHERE record_id = 2", "record 2 .*: its run 7 is missing"),
        (
            "UPDATE trials SET content = '{}' WHERE length = 50",
            r"record 2 .*: its trial cannot be read",
        ),
        (
            (
                "UPDATE trials SET content = "
                "replace(content, '\"hidden\":128', '\"hidden\":64') WHERE length = 50"
            ),
            r"record 2 .*: its trial was altered: it hashes to \w+",
        ),
        (
            "UPDATE curves SET content = X'00' WHERE record_id = 2",
            "curves 2 loss: content cannot be read",
        ),
        (
            "UPDATE curves SET record_id = 9 WHERE record_id = 2",
            "curves 9 loss: its record 9 is missing",
        ),
        ("UPDATE runs SET command = 'x'", "runs 1: command cannot be read"),
        ("UPDATE environments SET content = '{'", r"environments \w+: content cannot be read"),
    ],
)
def test_what_is_damaged_is_named_and_left_as_it_is(file, statement, told):
    before = damage(file, statement)
    done = harness("check", file)
    assert done.return_value == NOT_OK
    damages = [line for line in done.stdout.splitlines() if line.startswith("damaged: ")]
    assert "record 1 " not in done.stdout
    assert re.search(told, "\n".join(damages))
    assert "harness store merge" in done.stderr
    assert file.read_bytes() == before


def test_a_page_that_was_overwritten_is_found(tmp_path):
    path = tmp_path / "damaged.db"
    with Store.open(path) as store:
        run_id = store.begin_run("x")
        for length in range(20, 60):
            store.add(record(length), run_id)
    content = path.read_bytes()
    spoilt = content[: len(content) // 4096 // 2 * 4096] + b"\xff" * 4096
    path.write_bytes(spoilt + content[len(spoilt) :])
    before = path.read_bytes()
    try:
        assert harness("check", path).return_value == NOT_OK
    except StoreError as error:
        assert "damaged" in str(error)  # noqa: PT017
    assert path.read_bytes() == before


def test_info_counts_what_is_there(stored):
    found = json.loads(harness("info", stored, "--format", "json").stdout)
    assert (found["runs"], found["trials"], found["records"]) == (2, 2, 4)
    assert found["statuses"] == {"ok": 3, "failed": 1}
    assert found["environments"] == [
        {
            "environment_id": "e1",
            "records": 4,
            "cpu": "some CPU",
            "system": "Linux",
            "gpus": ["a card"],
        }
    ]
    assert found["size_bytes"] > 10_000
    told = harness("info", stored).stdout
    assert "records       4 (3 ok, 1 failed)" in told
    assert "environment   e1: 4 records; some CPU, Linux, a card" in told


def test_info_of_a_store_without_records_is_no_error(location):
    with Store.open(location):
        pass
    found = json.loads(harness("info", location, "--format", "json").stdout)
    assert (found["runs"], found["records"], found["first_run_at"]) == (0, 0, None)


def test_json_lines_hold_every_launch_with_all_columns_and_contents(stored):
    lines = [
        json.loads(line)
        for line in harness("export", stored, "-f", "jsonl", "--curves").stdout.splitlines()
    ]
    assert [(row["run_id"], row["launch"], row["status"]) for row in lines] == [
        (1, 1, "ok"), (1, 2, "ok"), (1, 1, "ok"), (2, 1, "failed"),
    ]  # fmt: skip
    assert list(lines[0]) == [*FLAT_COLUMNS, "curves"]
    assert set(COLUMNS) < set(FLAT_COLUMNS)
    assert lines[3]["reason"] == HOSTILE
    assert (lines[0]["curves"], lines[0]["environment"]) == ({"loss": [0.5, None]}, PLACE)
    assert Trial.model_validate(lines[0]["trial"]).task_options == {"symbols": 8}


def test_csv_holds_every_launch_and_no_text_that_a_spreadsheet_would_run(stored):
    text = harness("export", stored).stdout
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == list(FLAT_COLUMNS)
    assert [row["run_id"] for row in rows] == ["1", "1", "1", "2"]
    assert rows[3]["reason"] == "'=cmd() \\x1b[31m \\ud800 \\x00"
    assert (rows[0]["loss_final"], rows[0]["solved"], rows[0]["accuracy"]) == ("0.25", "false", "")
    assert json.loads(rows[0]["details"]) == {"notes": ["n"]}


def test_parquet_has_typed_columns_and_null_for_unknown(stored, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "out.parquet"
    harness("export", stored, "-f", "parquet", "-o", target, "--curves")
    table = parquet.read_table(target)
    assert table.column_names == [*FLAT_COLUMNS, "curves"]
    row = table.to_pylist()[0]
    assert (row["loss_final"], row["solved"], row["accuracy"], row["seed"]) == (
        0.25,
        False,
        None,
        2**62,
    )
    assert str(table.schema.field("accuracy").type) == "double"
    assert table.to_pylist()[3]["reason"] == HOSTILE.replace("\ud800", "\\ud800")
    assert json.loads(row["curves"]) == {"loss": [0.5, None]}


def test_parquet_without_pyarrow_says_what_to_install_and_leaves_no_file(
    stored, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnavailableError, match=r'pip install "rnn-harness\[parquet\]"'):
        harness("export", stored, "-f", "parquet", "-o", tmp_path / "out.parquet")
    assert not [path for path in tmp_path.iterdir() if "parquet" in path.name]


def test_one_run_is_exported_by_its_name(stored, tmp_path):
    target = tmp_path / "out.csv"
    harness("export", stored, "--run", "last", "-o", target)
    assert [
        row["status"] for row in csv.DictReader(io.StringIO(target.read_text(encoding="utf-8")))
    ] == ["failed"]
    with pytest.raises(UsageError, match="has no run 9; its runs: 1, 2"):
        harness("export", stored, "--run", "9")


def test_an_export_that_fails_leaves_the_file_before_it(file, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("the one before", encoding="utf-8")
    damage(file, "UPDATE records SET figures = '[]' WHERE record_id = 2")
    with pytest.raises(StoreError, match=r"record 2 .*damaged"):
        harness("export", file, "-f", "jsonl", "-o", target)
    assert target.read_text(encoding="utf-8") == "the one before"
    with pytest.raises(UsageError, match=r"cannot write .*absent"):
        harness("export", file, "-o", tmp_path / "absent" / "out.csv")


@pytest.mark.parametrize("arguments", [["-f", "parquet"], ["-f", "csv", "--curves"]])
def test_an_export_that_cannot_be_is_refused(file, arguments):
    with pytest.raises(Exception, match=r"name a file with --output|no place for curves"):
        harness("export", file, *arguments)


def test_many_records_are_exported_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("harness_results.store.store.BATCH", 3)
    with Store.open(tmp_path / "s.db") as store:
        run_id = store.begin_run("x")
        for length in range(1, 9):
            store.add(replace(record(length), curves={}), run_id)
    lines = harness("export", tmp_path / "s.db", "-f", "jsonl").stdout.splitlines()
    assert [json.loads(line)["length"] for line in lines] == list(range(1, 9))
