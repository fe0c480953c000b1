"""Output files: whole or absent, never over a store, and a pipe stays a pipe."""

import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest

from harness.cli.output.results import stdout_console, write_text, written
from harness.contract import UsageError
from harness_results.store.store import Store


def test_a_store_is_never_overwritten(tmp_path):
    store = tmp_path / "results.txt"
    with Store.open(store) as opened:
        opened.begin_run("harness run")
    before = store.read_bytes()
    (tmp_path / "link").symlink_to(store)
    for name in ("results.txt", "link"):
        with pytest.raises(
            UsageError, match="is a database, and would be overwritten; choose another --output"
        ):
            write_text("text", tmp_path / name)
    assert store.read_bytes() == before


def test_the_journal_of_a_store_is_never_overwritten(tmp_path):
    with Store.open(tmp_path / "s.db") as opened:
        opened.begin_run("harness run")
    with pytest.raises(
        UsageError, match=r"s\.db-journal is the journal of the database .*s\.db, and would be"
    ):
        write_text("text", tmp_path / "s.db-journal")
    write_text("text", tmp_path / "other-journal")


def test_no_other_file_is_touched_while_one_is_written(tmp_path):
    store = tmp_path / "out.csv.part"
    with Store.open(store) as opened:
        opened.begin_run("harness run")
    before = store.read_bytes()
    write_text("text", tmp_path / "out.csv")
    assert store.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "out.csv",
        "out.csv.part",
        "out.csv.part-journal",
    }


def test_a_file_that_is_replaced_stays_as_private_as_it_was(tmp_path):
    place = tmp_path / "out.csv"
    place.touch(0o600)
    write_text("text", place)
    assert (place.stat().st_mode & 0o777, place.read_text()) == (0o600, "text")


def test_a_link_is_followed_and_an_older_file_replaced(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")
    write_text("new\n", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "old").read_text() == "new\n"


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text("through", pipe)
    reader.join()
    assert (read, pipe.is_fifo()) == (["through"], True)


def test_a_dash_is_stdout(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text("shown", type(tmp_path)("-"))
    assert capsys.readouterr().out == "shown"
    assert not list(tmp_path.iterdir())


def test_what_fails_half_way_leaves_the_older_file(tmp_path):
    place = tmp_path / "out.csv"
    place.write_text("old")
    with pytest.raises(TypeError), written(place) as file:
        file.write(7)  # after the file was opened
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert place.read_text() == "old"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_folder_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is a directory: name a file with --output"):
        write_text("text", Path(name))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(
        UsageError, match=r"cannot write .*: No such file or directory; choose another --output"
    ):
        write_text("text", tmp_path / "absent" / "out.csv")


def test_results_keep_to_stdout_while_what_a_plugin_prints_is_sent_elsewhere(capsys):
    console = stdout_console()
    with contextlib.redirect_stdout(sys.stderr):
        console.print("result")
    assert capsys.readouterr() == ("result\n", "")
