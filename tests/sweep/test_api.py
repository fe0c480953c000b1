"""The Python entrance: what it refuses before any trial runs."""

import os

import pytest

import harness
from harness.contract import UsageError

TINY = {
    "task": "copy",
    "cell": "lstm",
    "length": 3,
    "hidden": 4,
    "batch": 2,
    "steps": 2,
    "progress": False,
}


def test_a_folder_for_checkpoints_that_cannot_be_written_is_refused_before_any_trial_runs(
    tmp_path, monkeypatch
):
    """The superuser may write anywhere, so the answer of the system is replaced."""
    folder = tmp_path / "store.sqlite.checkpoints"
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder)
    with pytest.raises(
        UsageError, match="checkpoints cannot be written: make it writable, or choose --store"
    ):
        harness.run(store=tmp_path / "store.sqlite", **TINY)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fresh": True, "retry_failed": True}, "leave retry_failed out"),
        ({"retries": -1}, "retries = -1: a whole number"),
        ({"follow_lengths": True}, "no effect without other lengths"),
    ],
)
def test_options_of_resuming_that_cannot_be_are_refused_before_any_trial_runs(
    tmp_path, options, message
):
    with pytest.raises(UsageError, match=message):
        harness.run(store=tmp_path / "store.sqlite", **TINY, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", [3, None, b"store.sqlite"])
def test_a_store_that_is_neither_path_nor_url_is_refused(store):
    with pytest.raises(UsageError, match=r"store = .*: write a path or a URL"):
        harness.run(store=store, **TINY)


def test_task_options_that_are_no_mapping_are_refused():
    with pytest.raises(UsageError, match="write a task, then its options"):
        harness.run(task="copy", task_options={"copy": 5})


def test_progress_names_what_varies(tmp_path, capsys):
    harness.run(
        store=tmp_path / "s.sqlite",
        **TINY | {"progress": True, "backend": "numpy:loop", "seed": [7, 8]},
    )
    shown = capsys.readouterr().err
    assert all(f"copy lstm T=3 numpy:loop seed={seed}  ok" in shown for seed in (7, 8))


def test_a_run_again_gives_the_same_records_and_fresh_gives_new_ones(tmp_path):
    first, again = (harness.run(store=tmp_path / "s.sqlite", **TINY) for _ in range(2))
    assert (again.records, first[0].status) == (first.records, "ok")
    assert len(first[0].curves["loss"]) == 2
    assert harness.run(store=tmp_path / "s.sqlite", **TINY, fresh=True).records != first.records


@pytest.mark.parametrize(("given", "taken"), [(None, 3), (0, 0), (1, 1)])
def test_an_argument_overrides_the_plan_also_where_it_is_none_at_all(
    tmp_path, monkeypatch, given, taken
):
    class Looked(Exception):  # noqa: N818 (it ends the run)
        pass

    def look(store, trials, settings, plugins, **counts):
        assert settings.retries == taken
        raise Looked

    monkeypatch.setattr("harness.sweep.run.look", look)
    plan = tmp_path / "plan.toml"
    plan.write_text('retries = 3\n[matrix]\nbackend = "numpy:vectorised"\n')
    with pytest.raises(Looked):
        harness.run(plan=plan, retries=given, store=tmp_path / "s.sqlite", progress=False)
