"""Values that this program never writes are refused before they cost memory or a stack."""

import json
import sqlite3
import zlib

import pytest

from harness.contract.errors import StoreError
from harness_results.store.database import decoding
from harness_results.store.integrity import check_store
from harness_results.store.store import Store


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, 2.5, None, "x"]}, [[0.1] * 300, {"b": {}}], "text", 5]
)
def test_what_was_written_is_read(value):
    text = json.dumps(value)
    assert decoding.from_json(text) == value
    assert decoding.from_packed(zlib.compress(text.encode())) == value


@pytest.mark.parametrize("levels", [51, 400, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_that_is_too_deep_is_refused(levels, opening, closing):
    wide = "[" + "[]," * 300  # enough brackets for the levels to be counted
    with pytest.raises(decoding.DamagedError, match="too deep"):
        decoding.from_json(wide + opening * levels + "1" + closing * levels + "]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ("9" * 5000, "digits"),
        ("{odd", "Expecting"),
    ],
)
def test_json_that_is_never_written_is_refused(text, message):
    with pytest.raises(decoding.DamagedError, match=message):
        decoding.from_json(text)


@pytest.mark.parametrize("value", [None, 5, b"[]"])
def test_json_must_be_text(value):
    with pytest.raises(decoding.DamagedError, match="expected text"):
        decoding.from_json(value)


def test_a_kind_is_checked():
    with pytest.raises(decoding.DamagedError, match="expected dict in JSON, got list"):
        decoding.from_json("[]", dict)


def test_a_curve_that_unpacks_to_a_thousand_times_its_size_is_refused_unread():
    with pytest.raises(decoding.DamagedError, match="unpacks to more than 16,777,216 bytes"):
        decoding.from_packed(zlib.compress(b"[" + b"0," * 20_000_000 + b"0]"))


@pytest.mark.parametrize(
    "content", [b"", b"text", zlib.compress(b"[1,2,3]")[:-6], zlib.compress(b"\xff"), "[1]", None]
)
def test_a_curve_that_is_damaged_is_refused(content):
    with pytest.raises(decoding.DamagedError):
        decoding.from_packed(content)


@pytest.fixture
def file(tmp_path):
    with Store.open(tmp_path / "s.sqlite") as store:
        store.begin_run("x")
    return tmp_path / "s.sqlite"


def changed(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "CREATE TRIGGER forget AFTER INSERT ON records BEGIN DELETE FROM records; END",
            "has the trigger forget",
        ),
        ("CREATE VIEW extra AS SELECT * FROM records", "has the view extra"),
        ("DROP TABLE curves", "is damaged: it has no table curves"),
        (f"UPDATE meta SET value = '{'9' * 5000}'", "not a store of this program"),
        ("UPDATE meta SET value = '\u00b2'", "not a store of this program"),
        ("UPDATE meta SET value = x'00ff'", "is damaged"),
    ],
)
def test_a_store_with_a_hostile_schema_is_refused(file, statement, message, create):
    changed(file, statement)
    with pytest.raises(StoreError, match=message):
        Store.open(file, create=create).close()


def test_a_check_names_what_is_not_of_this_program(file):
    changed(file, "CREATE TABLE notes (a)", "CREATE INDEX odd ON notes (a)")
    with Store.open(file, create=False) as store:
        damages = [damage.what for damage in check_store(store).damages]
    assert damages == ["table notes is not of this program", "index odd is not of this program"]


PROCESS = '{"host": "a", "pid": 1, "began": null}'
MANY = '{"total": "many"}'


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "INSERT INTO drivers VALUES (7, 1, '[]', '2026-01-01', '2026-01-01', '{}')",
            "expected dict",
        ),
        (
            "INSERT INTO drivers VALUES (7, 1, '{}', '2026-01-01', '2026-01-01', '{}')",
            "driver 7: host",
        ),
        (
            f"INSERT INTO drivers VALUES (7, 1, '{PROCESS}', '2026-01-01', '2026-01-01', '{MANY}')",
            "driver 7: total",
        ),
        (
            "INSERT INTO drivers VALUES (7, 1, '{}', 'yesterday', '2026-01-01', '{}')",
            "Invalid isoformat",
        ),
    ],
)
def test_an_odd_driver_is_a_damage(file, statement, message):
    changed(file, statement)
    with Store.open(file) as store, pytest.raises(StoreError, match=f"is damaged: .*{message}"):
        store.ledger.drivers()


@pytest.mark.parametrize(
    "settings",
    ["[]", '"text"', '{"launches": "many"}', '{"wanted": {}}', '{"order": 3}', '{"order": [[]]}'],
)
def test_odd_settings_of_a_run_are_a_damage(file, settings):
    changed(file, f"UPDATE run_settings SET content = '{settings}'")
    with Store.open(file) as store, pytest.raises(StoreError, match="is damaged"):
        store.runs()
