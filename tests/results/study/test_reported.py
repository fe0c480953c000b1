"""What a report shows, read with curves some trials at a time, is what it shows without them."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from harness.contract import Record, Trial
from harness_results.store.database.schema import reused
from harness_results.store.store import Store
from harness_results.study import reported as module
from harness_results.study.launches import combine, of_each_environment
from harness_results.study.reported import each_reported, reported


def record(length, status="ok", *, environment_id="e1", loss=0.5) -> Record:
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=length)
    curves = {"loss": [1.0, loss]}
    return Record(
        trial, status, figures={"loss_final": loss}, curves=curves, environment_id=environment_id
    )


@pytest.fixture
def store(location):
    """Three runs: launches of one trial, another machine, an interruption, a reused launch."""
    with Store.open(location) as store:
        runs = [store.begin_run(f"run {number}") for number in range(3)]
        for one in (record(30), record(20), record(40), record(20, loss=0.25), record(50)):
            store.add(one, runs[0])
        for one in (
            record(30, environment_id="e2"),
            record(40, loss=0.125),
            record(50, "interrupted"),
        ):
            store.add(one, runs[1])
        store.add(record(60, "failed"), runs[2])
        with store.database.transaction(write=True) as connection:
            connection.execute(reused.insert().values(run_id=runs[2], record_id=1))
        yield store


@pytest.mark.parametrize("at_once", [1, 2, 20])
def test_it_is_what_a_report_shows(store, monkeypatch, at_once):
    monkeypatch.setattr(module, "TRIALS", at_once)
    shown = of_each_environment(
        store.launches(run.run_id, with_curves=True) for run in store.runs()
    )
    assert reported(store) == shown
    assert [one.trial.length for one in shown] == [20, 30, 30, 40, 50, 60]
    assert shown[0].curves == {"loss": [1.0, 0.5], "launch_tokens_per_second": [None, None]}


def test_it_is_what_a_report_shows_of_one_run(store, monkeypatch):
    monkeypatch.setattr(module, "TRIALS", 1)
    for run in store.runs():
        assert reported(store, run.run_id) == combine(store.launches(run.run_id, with_curves=True))
    assert [one.trial.length for one in reported(store, 3)] == [30, 60]


def test_a_launch_that_was_interrupted_leaves_the_order(tmp_path):
    with Store.open(tmp_path / "s.db") as store:
        run = store.begin_run("x")
        for one in (record(30), record(20), record(30, "interrupted")):
            store.add(one, run)
        shown = of_each_environment([store.launches(run, with_curves=True)])
        assert reported(store) == shown
        assert [one.trial.length for one in shown] == [20, 30]


def test_environments_of_one_trial_come_together(store):
    groups = [
        [(one.trial.length, one.environment_id) for one in group] for group in each_reported(store)
    ]
    assert [(30, "e1"), (30, "e2")] in groups
    assert sorted(len(group) for group in groups) == [1, 1, 1, 1, 2]


def test_without_launches_that_ran_shuffled_the_order_is_that_of_the_runs(tmp_path):
    with Store.open(tmp_path / "s.db") as store:
        run = store.begin_run("x")
        for length in (50, 20, 30):
            store.add(replace(record(length)), run)
        assert [one.trial.length for one in reported(store)] == [50, 20, 30]


def test_trials_have_the_order_of_the_plans_of_their_runs(tmp_path):
    ids = {length: record(length).trial.trial_id for length in (20, 30, 40, 50, 60)}
    with Store.open(tmp_path / "s.db") as store:
        for lengths, plan in (((60,), None), ((50, 20, 30), (30, 50, 20)), ((40,), (40, 30))):
            settings = {"order": [ids[length] for length in plan]} if plan else {}
            run = store.begin_run("x", settings)
            for length in lengths:
                store.add(record(length), run)
        assert [one.trial.length for one in reported(store)] == [60, 30, 50, 20, 40]
        assert [one.trial.length for one in reported(store, 2)] == [30, 50, 20]


def test_a_transaction_that_reads_a_file_cannot_write(tmp_path):
    with Store.open(tmp_path / "s.db") as store:
        with (
            pytest.raises(OperationalError, match="readonly"),
            store.database.transaction(write=False) as connection,
        ):
            connection.exec_driver_sql("DELETE FROM runs")
        assert store.begin_run("x") == 1
