"""``harness report``: filters, formats, several machines, launches that are not interleaved."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from builders import trial_of
from harness.contract import COLUMNS, Record, UnknownNameError, UsageError
from harness_results.render.terminal import plain_table
from harness_results.store.store import Store
from harness_results.study.machines import legend, machine_names
from harness_results.study.selection import Selection, with_groups
from harness_results.study.study import Study
from harness_results.study.tables import pivot as pivots
from harness_results.study.tables.relative import relative

CPUS = {
    "e1f0aa": {
        "cpu": {"model": "EPYC"}, "cores": {"logical": 2}, "memory_gibibytes": 24,
        "system": {"name": "Linux", "release": "6.1"}, "python": {"version": "3.11.7"},
    },
    "b2c3dd": {"cpu": {"model": "M2"}, "cores": {"logical": 1}, "gpus": [{"name": "H100"}]},
}  # fmt: skip


def pivot(records):
    return pivots.pivot(Study(records))


def make(
    engine="numpy:native",
    cell="lstm",
    length=50,
    task="copy",
    place="e1f0aa",
    start="2026-01-01T00:00:00",
    **trial,
):
    asked = {"task": task, "cell": cell, "length": length} | trial
    figures = {
        "loss_validation": 0.5,
        "tokens_per_second": 1e3,
        "parity_error": 1e-7,
        "step_seconds_median": 0.01,
    }
    known = {"environment_id": place, "environment": CPUS.get(place, {}), "started_at": start}
    return Record(trial_of(engine, **asked), "ok", figures=figures, **known)


RECORDS = [
    make(engine, cell, length, task)
    for task in ("copy", "adding")
    for engine in ("numpy:native", "numpy:loop", "torch:library")
    for cell in ("rnn", "lstm")
    for length in (25, 50)
]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 24),
        ({"tasks": ["copy"]}, 12),
        ({"cells": ["lstm", "rnn"]}, 24),
        ({"backends": ["numpy"]}, 16),
        ({"backends": ["numpy:all"]}, 16),
        ({"backends": ["numpy:loop", "torch"]}, 16),
        ({"lengths": [25, 75]}, 12),
        (
            {"tasks": ["adding"], "cells": ["rnn"], "backends": ["torch:library"], "lengths": [50]},
            1,
        ),
    ],
)
def test_a_selection_keeps_what_is_named(wanted, count):
    assert len(Selection(**wanted).of(RECORDS)) == count


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tasks": ["cpoy"]}, "unknown task among these records 'cpoy'. Did you mean copy"),
        ({"cells": ["gru"]}, "unknown cell among these records 'gru'.*Available: lstm, rnn"),
        ({"backends": ["numpy:lop"]}, "'numpy:lop'. Did you mean numpy:loop"),
        ({"backends": ["jax"]}, "unknown backend among these records 'jax'"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest(wanted, message):
    with pytest.raises(UnknownNameError, match=message):
        Selection(**wanted).of(RECORDS)


def test_a_selection_that_nothing_meets_names_the_lengths_there_are():
    with pytest.raises(UsageError, match="Lengths here: 25, 50"):
        Selection(lengths=[7]).of(RECORDS)


def test_a_length_that_is_missing_is_told():
    assert Selection(lengths=[25, 75, 30]).missing_lengths(RECORDS) == [30, 75]


def test_only_the_wanted_other_lengths_are_left_beside_named_sets():
    sets = [{"name": name, "length": length} for name, length in (("T=8", 8), ("T=16", 16))]
    sets.append({"name": "test", "length": 16})
    record = replace(RECORDS[0], details={"evaluation_sets": sets})
    (kept,) = Selection(evaluated_at=[16, 99]).of([record])
    assert [entry["name"] for entry in kept.details["evaluation_sets"]] == ["T=16", "test"]
    for records, hint in (([record], "lengths here: 8, 16"), (RECORDS, "--evaluate-at")):
        with pytest.raises(UsageError, match=hint):
            Selection(evaluated_at=[99]).of(records)


def test_a_group_stands_for_those_of_its_members_that_are_here():
    groups = {"peers": ("torch", "flax"), "numpy": ("torch",)}
    assert with_groups(["peers", "numpy", "other"], RECORDS, groups) == ["torch", "numpy", "other"]


def test_records_of_one_machine_have_no_label_for_it():
    assert machine_names(RECORDS) == {}
    assert "machine" not in plain_table(RECORDS)


def test_other_trials_on_another_machine_are_told_apart_with_its_processor_below():
    found = pivot([make(), make("torch:library", place="b2c3dd")])
    assert found.axes == ("cell", "machine", "engine")
    assert [row.labels[1] for row in found.rows] == ["e1f0", "b2c3"]
    assert found.notes[:2] == (
        "machine e1f0: EPYC, 2 cores, 24 GiB, Linux 6.1, Python 3.11.7",
        "machine b2c3: M2, 1 core, H100",
    )


def test_a_machine_that_measured_other_lengths_is_a_label_too():
    found = pivot([make(length=25), make(length=50, place="b2c3dd")])
    assert "machine" in found.axes
    assert "by length" not in found.settings


def test_another_python_on_the_same_machine_is_no_other_machine():
    other = {**CPUS["e1f0aa"], "python": {"version": "3.13.0"}}
    newer = replace(make("torch:library"), environment_id="c0ffee", environment=other)
    assert machine_names([make(), newer]) == {}
    same_trial = replace(newer, trial=make().trial)
    assert set(machine_names([make(), same_trial]).values()) == {"e1f0", "c0ff"}


def test_names_are_as_long_as_it_takes_and_an_unknown_place_has_none():
    records = [make(place="abcdef1"), make(length=25, place="abcdef2"), make(length=60, place=None)]
    assert machine_names(records) == {"abcdef1": "abcdef1", "abcdef2": "abcdef2", None: "-"}
    assert legend(records, machine_names(records)) == [
        "machine abcdef1: not described", "machine abcdef2: not described"
    ]  # fmt: skip


def launches(engine, hours) -> Record:
    begun = [f"2026-01-01T{hour:02}:00:00" for hour in hours]
    details = {
        "launches": len(hours),
        "launch_figures": [{"status": "ok", "started_at": start} for start in begun],
    }
    return replace(make(engine, start=begun[0]), details=details)


@pytest.mark.parametrize(
    ("hours", "told"),
    [(([0, 3, 4], [1, 2, 5]), False), (([0, 1, 2], [3, 4, 5]), True), (([0], [1]), True)],
)
def test_multiples_of_launches_that_took_no_turns_say_so(hours, told):
    records = [launches("numpy:native", hours[0]), launches("torch:library", hours[1])]
    (grid,) = relative(records, "numpy:native")
    assert (
        any(
            note.startswith("not interleaved with numpy:native: torch:library;")
            for note in grid.notes
        )
        == told
    )


def test_single_launches_of_many_networks_took_turns_where_the_engines_alternate():
    def at(engine, hidden, hour):
        return make(engine, hidden=hidden, start=f"2026-01-01T{hour:02}:00:00")

    turns = [at("a:x", 1, 0), at("b:x", 1, 1), at("b:x", 2, 2), at("a:x", 2, 3)]
    rows = [at("a:x", 1, 0), at("a:x", 2, 1), at("b:x", 1, 2), at("b:x", 2, 3)]
    notes = [relative(records, "a:x")[0].notes for records in (turns, rows)]
    assert [any("not interleaved" in note for note in each) for each in notes] == [
        False, True
    ]  # fmt: skip


def test_an_engine_that_failed_is_not_said_to_have_taken_no_turns():
    failed = replace(make("b:x", start="2026-01-02T00:00:00"), status="failed", figures={})
    (grid,) = relative([make("a:x"), failed], "a:x")
    assert not any("not interleaved" in note for note in grid.notes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "a.sqlite"
    with Store.open(path) as opened:
        run = opened.begin_run("harness run", {})
        for record in RECORDS:
            opened.add(record, run)
    return path


def report(*arguments):
    command = [sys.executable, "-m", "harness", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_takes_the_filters_as_run_takes_its_axes(store):
    done = report(
        store,
        *shlex.split("-t copy -c rnn,lstm -b numpy:loop -b torch -T 25:100:x2 -f json"),
    )
    rows = json.loads(done.stdout)
    assert {(row["task"], row["variant"]) for row in rows} == {
        ("copy", "loop"),
        ("copy", "library"),
    }
    assert (len(rows), done.stderr) == (8, "note: no such record with T = 100\n")
    wrong = report(store, "--cell", "lsmt")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Did you mean lstm" in wrong.stderr


def test_the_command_writes_parquet_to_a_file_alone(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    done = report(store, "-f", "parquet", "-o", tmp_path / "r.parquet", "-t", "copy")
    assert (done.returncode, done.stdout) == (0, "")
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.num_rows == 12
    assert table.column("length").to_pylist()[:2] == [25, 50]
    refused = report(store, "-f", "parquet")
    assert (refused.returncode, "name a file with --output" in refused.stderr) == (2, True)


def test_the_command_writes_latex_of_tables_and_of_multiples(store):
    assert r"\begin{tabular}" in report(store, "-f", "latex").stdout
    assert (
        r"as a multiple of numpy:loop"
        in report(store, "-f", "latex", "--relative", "numpy:loop").stdout
    )
    assert report(store, "-f", "csv", "--relative", "numpy:loop").returncode == 2
