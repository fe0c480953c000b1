"""``harness status``: the progress of a sweep, from another terminal."""

import json

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.contract import Record, StoreError, Trial
from harness.sweep.tally import Tally
from harness_results.store.store import Store

TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=3)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.sqlite") as opened:
        yield opened


def status(store, *arguments):
    return CliRunner().invoke(cli, ["status", store.name, *arguments], standalone_mode=False)


def join(store, command="harness run plan.toml", launches=1, mode="resume"):
    return store.ledger.join(
        command, {"plan": "p", "launches": launches}, {TRIAL.trial_id: "f"}, mode
    )


def begin(store):
    tally = Tally(5, reused=1)
    handle = join(store)
    for outcome in ("ok", "crashed"):
        tally.start(TRIAL)
        tally.end(Record(TRIAL, outcome, "SIGSEGV"))
    tally.start(TRIAL)
    store.ledger.claim(handle, TRIAL.trial_id, "f", 1, tally.facts())
    return handle


def test_a_sweep_that_runs_tells_how_far_it_is(store):
    begin(store)
    shown = status(store).stdout
    assert "run 1: harness run plan.toml\n  measures: pid " in shown
    assert "3 of 5 launches done (1 failed), 1 running, 1 left" in shown
    assert "an hour; " in shown
    assert "runs: copy lstm T=3 numpy:loop" in shown
    assert "last failure: copy lstm T=3 numpy:loop: crashed: SIGSEGV" in shown
    (sweep,) = json.loads(status(store, "--format", "json").stdout)["sweeps"]
    assert (sweep["alive"], sweep["total"], sweep["left"]) == (True, 5, 1)


def test_one_launch_is_told_in_the_singular(store):
    handle = join(store)
    store.ledger.heartbeat(handle, Tally(1).facts())
    assert "0 of 1 launch done (0 failed), 0 running, 1 left\n" in status(store).stdout
    store.ledger.leave(handle)
    assert "; 1 of 1 launch left; " in status(store).stdout


def test_a_driver_that_is_gone_is_told(store, monkeypatch):
    begin(store)
    monkeypatch.setattr("harness_results.store.drivers._began", lambda pid: None)
    shown = status(store).stdout
    assert "is gone: pid " in shown
    assert "go on: the same command" in shown
    assert "3 of 5 launches done (1 failed), 2 left\n" in shown
    assert not any(words in shown for words in ("running", "runs:", "an hour", "to go"))
    (sweep,) = json.loads(status(store, "--format", "json").stdout)["sweeps"]
    assert (sweep["running"], sweep["left"], sweep["seconds_left"]) == ([], 2, None)


def test_after_the_end_the_last_run_is_told(store):
    handle = begin(store)
    store.ledger.add(handle, Record(TRIAL, "ok"), None, {})
    store.ledger.leave(handle)
    shown = status(store).stdout
    assert shown.startswith(
        "nothing measures into this store now; run 1 (harness run plan.toml) of "
    )
    assert shown.endswith("  1 ok\n")


def test_a_last_run_that_was_interrupted_is_told_with_what_is_left_and_how_to_go_on(store):
    for launches in (2, 4):  # the second goes on with the first
        handle = join(store, launches=launches)
        store.ledger.add(handle, Record(TRIAL, "ok"), None, {})
        store.ledger.leave(handle)
    store.ledger.add(handle, Record(TRIAL, "interrupted"), None, {})
    shown = status(store).stdout
    assert " was interrupted:\n" in shown
    assert shown.endswith("  2 ok, 1 interrupted; 2 of 4 launches left; go on: the same command\n")
    last = json.loads(status(store, "--format", "json").stdout)["last_run"]
    assert (last["run"], last["wanted"], last["left"]) == (1, 4, 2)


@pytest.mark.parametrize(
    ("option", "mode"), [("--fresh", "fresh"), ("--retry-failed", "retry_failed")]
)
def test_a_run_that_measured_anew_is_gone_on_with_without_the_option(store, option, mode):
    store.ledger.leave(join(store, f"harness run plan.toml {option}", mode=mode))
    assert f"go on: the same command without {option}\n" in status(store).stdout


def test_it_only_reads(store, tmp_path):
    begin(store)
    before = (tmp_path / "s.sqlite").read_bytes()
    status(store)
    assert (tmp_path / "s.sqlite").read_bytes() == before
    missing = CliRunner().invoke(
        cli, ["status", str(tmp_path / "none.sqlite")], standalone_mode=False
    )
    assert isinstance(missing.exception, StoreError)


def test_an_empty_store_says_so(store):
    assert status(store).stdout == "nothing was measured into this store yet\n"
