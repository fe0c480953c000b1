"""What workers print is kept for each launch, also for those that end well, and shown again."""

import gzip
import os
import shlex

import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import cli
from harness.contract import Record, Trial, UsageError
from harness.execute.launch import LOG_TEXT
from harness.sweep.folders import log_folder
from harness.sweep.logs import LONG_BYTES, keep_log, read_log

FAULTY = paths.FAULTY
TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20)


def made(text, status="ok", **details):
    return Record(TRIAL, status, details={LOG_TEXT: text, **details})


def test_a_log_is_a_file_of_its_launch_and_its_text_leaves_the_record(tmp_path):
    first, second = (keep_log(made(text), tmp_path / "logs", 3) for text in ("one\n", "two\n"))
    assert (first.details["log"], second.details["log"]) == (
        f"{TRIAL.trial_id}-3-1.log",
        f"{TRIAL.trial_id}-3-2.log",
    )
    assert LOG_TEXT not in first.details
    assert [read_log(record, tmp_path / "logs") for record in (first, second)] == ["one\n", "two\n"]


def test_a_long_log_is_compressed(tmp_path):
    text = "many words\n" * LONG_BYTES
    record = keep_log(made(text), tmp_path, 1)
    assert record.details["log"].endswith("-1-1.log.gz")
    assert (tmp_path / record.details["log"]).stat().st_size < len(text) / 100
    assert read_log(record, tmp_path) == text


def test_what_prints_nothing_has_no_file(tmp_path):
    record = keep_log(made(""), tmp_path / "logs", 1)
    assert (dict(record.details), read_log(record, tmp_path)) == ({}, "")
    assert not (tmp_path / "logs").exists()


def test_without_a_folder_the_tail_in_the_record_is_all_there_is():
    record = keep_log(made("all of it", "crashed", log_tail="of it"), None, 1)
    assert dict(record.details) == {"log_tail": "of it"}
    assert read_log(record, None) == "of it"


def test_a_log_that_cannot_be_written_costs_the_record_nothing_else(tmp_path):
    (tmp_path / "logs").write_text("no folder")
    record = keep_log(made("words", notes=["before"]), tmp_path / "logs", 1)
    assert record.details["notes"][0] == "before"
    assert "its log could not be kept" in record.details["notes"][1]
    assert record.status == "ok"


def test_a_file_size_limit_leaves_no_half_of_a_log(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip, "compress", full)
    record = keep_log(made("x" * LONG_BYTES), tmp_path, 1)
    assert "No space left on device" in record.details["notes"][0]
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_gone_or_damaged_is_named(tmp_path):
    record = Record(TRIAL, "ok", details={"log": "../gone-1-1.log.gz"})
    with pytest.raises(UsageError, match=r"cannot read the log .*gone-1-1\.log\.gz"):
        read_log(record, tmp_path)
    (tmp_path / "gone-1-1.log.gz").write_bytes(gzip.compress(b"words")[:-9])
    with pytest.raises(UsageError, match="cannot read the log"):
        read_log(record, tmp_path)


def test_a_run_keeps_the_log_of_each_launch_and_show_prints_it(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.syspath_prepend(FAULTY)
    store = str(tmp_path / "s.sqlite")
    words = shlex.split("-b faulty:tells_process -t echo -c rnn -T 3 --hidden 4 --batch 2")
    runner = CliRunner()
    runner.invoke(cli, ["run", *words, "--steps", "3", "--launches", "2", "--store", store, "-q"])
    names = sorted(path.name for path in log_folder(store).iterdir())
    trial_id = names[0].partition("-")[0]
    assert names == [f"{trial_id}-1-1.log", f"{trial_id}-1-2.log"]
    shown = runner.invoke(cli, ["show", trial_id, "--store", store, "--log"]).stdout.splitlines()
    begins = [number for number, line in enumerate(shown) if line.startswith("launch")]
    assert len(begins) == 2
    first, second = set(shown[begins[0] + 1 : begins[1]]), set(shown[begins[1] + 1 :])
    assert len(first) == len(second) == 1
    assert first != second  # each launch has a process of its own
