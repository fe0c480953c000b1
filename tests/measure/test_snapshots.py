"""Training that goes on from a snapshot equals training at once, to the last bit."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from builders import small_trial
from harness.contract import StoreError
from harness.execute.settings import LocalSettings
from harness.measure import checkpoint
from harness.measure.events import Finished
from harness.measure.runner import Settings, run_trial
from harness.measure.snapshots.file import family, load, snapshot_file
from harness.plugins import load_plugins
from harness_results.store.store import Store

pytestmark = pytest.mark.slow
ENGINES = ("numpy:vectorised", "torch:fused", "jax:scan")
TEXT = {"corpus": "grammar", "limit": 2000}
CHAR = {"task": "char", "task_options": TEXT, "length": 6, "evaluate_every": 3}
OF_SPEED = ("seconds", "tokens_per_second", "flops", "fraction", "peak_memory")


@pytest.fixture(scope="module")
def plugins():
    return load_plugins()


def measure(folder, trial, plugins, *earlier, **settings):
    """Return the record of a launch that leaves its checkpoint and its snapshot in ``folder``."""
    folder.mkdir(exist_ok=True)
    files = {
        "checkpoint": str(checkpoint.checkpoint_file(folder, trial)),
        "snapshot": str(snapshot_file(folder, trial)),
        "snapshot_seconds": 1e9,
        "fingerprint": "code",
        "earlier_snapshots": tuple(str(snapshot_file(folder, other)) for other in earlier),
    }
    events = run_trial(trial, Settings(**files | settings), plugins=plugins)
    (record,) = [event.record for event in events if isinstance(event, Finished)]
    assert record.status == "ok", record.reason
    return record


def learning(record):
    """Return everything that training decides, and nothing that the clock does."""
    figures = {
        name: value
        for name, value in record.figures.items()
        if not any(word in name for word in OF_SPEED)
    }
    curves = {name: record.curves[name] for name in ("loss", "gradient_norm", "evaluations")}
    names = ("best_step", "best_loss_validation", "overfitting_gap", "scores", "solved_lost_at")
    return figures, curves, {name: record.details[name] for name in names}


def weights(folder, trial):
    return checkpoint.load(checkpoint.checkpoint_file(folder, trial)).parameters


@pytest.mark.parametrize("engine", ENGINES)
def test_going_on_equals_training_at_once(engine, tmp_path, plugins):
    """With dropout, a carried state, moments, a schedule that goes on, and other lengths."""
    settings = CHAR | {"layers": 2, "dropout": 0.3, "cell": "lstm", "clip_norm": 1.0}
    settings |= {"schedule": "cosine", "schedule_steps": 20, "evaluate_at": "2T"}
    short = small_trial(engine, **settings, steps=6)
    long = small_trial(engine, **settings, steps=12)
    measure(tmp_path / "twice", short, plugins, follow_lengths=True)
    continued = measure(tmp_path / "twice", long, plugins, short, follow_lengths=True)
    at_once = measure(tmp_path / "once", long, plugins, follow_lengths=True)
    assert [each["step"] for each in at_once.curves["evaluation_sets"]] == [0, 3, 6, 9, 12]
    assert continued.curves["evaluation_sets"] == at_once.curves["evaluation_sets"]
    origin = {"trial_id": short.trial_id, "step": 6}
    assert continued.details["continued_from"] == origin
    assert any("continued at step 6" in note for note in continued.details["notes"])
    assert "continued_from" not in at_once.details
    assert learning(continued) == learning(at_once)
    first, second = weights(tmp_path / "twice", long), weights(tmp_path / "once", long)
    assert all(np.array_equal(first[name], second[name]) for name in first)


REASONS = {
    "schedule": ({"schedule": "cosine", "schedule_steps": 6}, {"schedule_steps": 12}, "schedule_s"),
    "evaluations": ({"evaluate_every": 4}, {"evaluate_every": 3}, "not evaluated at step 3"),
    "batches": (
        {"evaluate_every": 50, "steps": 100},
        {"evaluate_every": 100, "steps": 200},
        "its evaluations read 8 batches",
    ),
    "patience": ({"patience": 1, "learning_rate": 100.0}, {}, "it stopped at step"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_would_not_be_equal_begins_again_and_says_why(reason, tmp_path, plugins):
    settings, changes, words = REASONS[reason]
    settings = CHAR | {"optimizer": "sgd", "steps": 8} | settings
    short = small_trial(**settings)
    long = small_trial(**settings | {"steps": 12} | changes)
    assert family(short) == family(long)
    measure(tmp_path, short, plugins)
    record = measure(tmp_path, long, plugins, short)
    assert words in record.details["not_continued"]
    assert short.trial_id in record.details["not_continued"]
    assert "continued_from" not in record.details


def test_of_several_snapshots_that_do_not_fit_the_reason_is_that_of_the_longest(tmp_path, plugins):
    settings = CHAR | {"optimizer": "sgd", "schedule": "cosine"}
    first, second = (small_trial(**settings, steps=n, schedule_steps=n) for n in (4, 8))
    for trial in (first, second):
        measure(tmp_path, trial, plugins)
    long = small_trial(**settings, steps=12, schedule_steps=12)
    reason = measure(tmp_path, long, plugins, first, second).details["not_continued"]
    assert second.trial_id in reason
    assert "give --schedule-steps 8 to keep it" in reason


def test_other_code_and_damaged_files_begin_again(tmp_path, plugins):
    short, long = small_trial(steps=8), small_trial(steps=12)
    measure(tmp_path, short, plugins)
    record = measure(tmp_path, long, plugins, short, fingerprint="other")
    assert "other code" in record.details["not_continued"]
    path = snapshot_file(tmp_path, short)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match="cannot be read"):
        load(path)
    record = measure(tmp_path, long, plugins, short)
    assert "cannot be read" in record.details["not_continued"]


def test_an_engine_without_snapshots_begins_again_and_says_so(tmp_path, plugins, monkeypatch):
    monkeypatch.setattr("harness_numpy.trainer.NumpyTrainer.snapshot", lambda _: None)
    short, long = small_trial(steps=8), small_trial(steps=12)
    measure(tmp_path, short, plugins)
    record = measure(tmp_path, long, plugins, short)
    assert "the engine gives no snapshot" in record.details["not_continued"]


def test_a_snapshot_that_cannot_be_written_costs_a_flag(tmp_path, plugins):
    record = measure(tmp_path, small_trial(), plugins, snapshot=str(tmp_path / "no" / "folder"))
    assert any("no snapshot was written" in flag for flag in record.details["flags"])


def test_patience_stops_and_says_so(tmp_path, plugins):
    """A learning rate of 100 makes the loss worse: no evaluation improves on the first."""
    settings = CHAR | {"optimizer": "sgd", "learning_rate": 100.0, "evaluate_every": 2}
    trial = small_trial(**settings, steps=40, patience=3)
    record = measure(tmp_path, trial, plugins)
    steps = [evaluation["step"] for evaluation in record.curves["evaluations"]]
    assert record.details["stopped_at"] == len(record.curves["loss"]) == 6
    assert sorted(set(steps)) == [0, 2, 4, 6]
    note = "stopped at step 6: no improvement in 3 evaluations (--patience)"
    assert note in record.details["notes"]


def test_a_launch_knows_the_snapshots_of_its_family_unless_it_begins_anew(tmp_path):
    short, long = small_trial(steps=8), small_trial(steps=12)
    other = small_trial(steps=8, seed=1)
    for trial in (short, other):
        snapshot_file(tmp_path, trial).touch()
    settings = LocalSettings(
        checkpoints=tmp_path, snapshot_seconds=60.0, fingerprints={long.trial_id: "code"}
    )
    worker = settings.of_worker(long)
    assert worker.snapshot == str(snapshot_file(tmp_path, long))
    assert worker.earlier_snapshots == (str(snapshot_file(tmp_path, short)),)
    assert (worker.snapshot_seconds, worker.fingerprint) == (60.0, "code")
    assert replace(settings, begins_anew=True).of_worker(long).earlier_snapshots == ()
    assert replace(settings, snapshot_seconds=0.0).of_worker(long).snapshot is None


def test_a_killed_launch_goes_on_when_the_command_is_typed_again(tmp_path):
    """A process is really killed while it trains; what the second one stores is the whole."""
    others = ("torch", "jax", "flax", "haiku", "equinox", "keras")
    blocked = [word for name in others for word in ("-p", f"no:{name}")]
    settings = "-b numpy:vectorised -t copy -c rnn -T 5 --hidden 8 --batch 4 --steps 4000"

    def command(store):
        options = [*settings.split(), "--snapshot-every", "0.05", "--store", str(tmp_path / store)]
        return [sys.executable, "-m", "harness", *blocked, "run", *options]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen(command("killed.sqlite"), **quiet)
    folder = tmp_path / "killed.sqlite.checkpoints"
    deadline = time.monotonic() + 300
    while not list(folder.glob("*.snapshot")):
        assert driver.poll() is None, driver.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    again = subprocess.run(command("killed.sqlite"), check=True, **quiet)
    assert "continued from its own snapshot at step" in again.stderr
    subprocess.run(command("whole.sqlite"), check=True, **quiet)
    records = []
    for name in ("killed", "whole"):
        with Store.open(tmp_path / f"{name}.sqlite", create=False) as store:
            records += store.launches(with_curves=True)
    continued, at_once = records
    assert continued.details["continued_from"]["trial_id"] == continued.trial.trial_id
    assert learning(continued) == learning(at_once)
    first, second = (
        weights(tmp_path / f"{name}.sqlite.checkpoints", at_once.trial)
        for name in ("killed", "whole")
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
