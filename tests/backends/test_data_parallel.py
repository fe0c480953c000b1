"""Data-parallel trials: several devices train what one does; bad splits fail; nothing hangs."""

import math
import os
import re
import signal
import time
from importlib.util import find_spec
from itertools import islice

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import OK, USAGE, main
from harness.contract import Batch, Rank, Record, Trial, UnsupportedError, UsageError
from harness.execute.local import run_trials
from harness.execute.process import thread_variables
from harness.execute.ray.needs import Wishes, needs_of
from harness.execute.slots import read_slots
from harness.execute.stop import StopRequest
from harness.measure.events import Progress
from harness.measure.proof.parity import measure_parity
from harness.measure.ranks import RankMeter
from harness.measure.setup import check_backend, prepare
from harness.plugins import load_plugins
from harness_results.render.terminal import plain_table
from harness_results.study.study import Study
from harness_results.study.tables.data_parallel import data_parallel_table, scaled

FAULTY = paths.FAULTY
# Of float32 losses near 1: a few roundings of 6e-8 each, and what the updates make of them.
SAME = 1e-6
GONE_SECONDS = 20.0  # generous: the machine may be busy
SMALL = {"length": 6, "hidden": 8, "batch": 4, "steps": 12, "clip_norm": 0.5, "learning_rate": 0.01}
TASKS = {
    "copy": {"symbols": 3, "validation_sequences": 6},
    "adding": {"validation_sequences": 6},
    "char": {"limit": 5000, "validation_characters": 200},
}


def marked(engine):
    missing = find_spec(engine.partition(":")[0]) is None
    return pytest.param(
        engine, marks=pytest.mark.skipif(missing, reason="its library is not installed")
    )


each_engine = pytest.mark.parametrize(
    "engine", [marked(name) for name in ("torch:library", "torch:fused", "jax:fused")]
)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture
def plugins(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.syspath_prepend(FAULTY)
    return load_plugins()


def trial(engine, **changes):
    backend, _, variant = engine.partition(":")
    task = changes.get("task", "copy")
    asked = SMALL | {"backend": backend, "variant": variant, "task": task, "cell": "rnn"}
    return Trial(**(asked | {"task_options": TASKS.get(task, {})} | changes))


def setup_of(plugins, engine, **changes):
    asked = trial(engine, **changes)
    return prepare(asked, plugins, plugins.backend(asked.backend), "here")


def losses(setup):
    """Return loss and gradient norm of each training step."""
    trainer = setup.trainer()
    results = [
        trainer.train_step(trainer.put(batch))
        for batch in islice(setup.training(), setup.trial.steps)
    ]
    trainer.synchronize()
    return [(float(result.loss), float(result.gradient_norm)) for result in results]


# Each cell and each task; the others are for the full run.
PAIRS = {("rnn", "copy"), ("lstm", "char"), ("lstm", "copy"), ("gru", "adding")}


# Copy masks most positions; char carries its state from batch to batch; adding has values, and
# scores the last step.
@each_engine
@pytest.mark.parametrize(
    ("cell", "task"),
    [
        pytest.param(cell, task, marks=() if (cell, task) in PAIRS else pytest.mark.full)
        for cell in ("rnn", "lstm", "gru")
        for task in TASKS
    ],
)
def test_two_devices_train_to_the_losses_of_one(plugins, engine, cell, task):
    one, two = (losses(setup_of(plugins, engine, cell=cell, task=task, devices=n)) for n in (1, 2))
    assert len(two) == 12
    assert two == [pytest.approx(step, abs=SAME) for step in one]
    assert len({loss for loss, _ in two}) > 1


@each_engine
def test_two_devices_train_checkpointed_layers_in_float64_to_the_losses_of_one(plugins, engine):
    changes = {"checkpoint": 4, "layers": 2, "dtype": "float64", "cell": "lstm"}
    one, two = (losses(setup_of(plugins, engine, devices=n, **changes)) for n in (1, 2))
    assert two == [pytest.approx(step, abs=1e-12) for step in one]


@each_engine
def test_dropout_masks_are_each_shares_own(plugins, engine):
    setup = setup_of(plugins, engine, devices=2, layers=2, dropout=0.5)
    found, again = losses(setup), losses(setup)
    assert found == [pytest.approx(step, abs=SAME) for step in again]
    assert found != losses(setup_of(plugins, engine, devices=2, layers=2))
    for dropout in (0.0, 0.5):
        _, top = last_states(setup_of(plugins, engine, devices=2, layers=2, dropout=dropout))
        assert np.allclose(top[0], top[1]) == (dropout == 0)


def last_states(setup):
    """Return h (layers, B, H) after a step on one sequence twice, a copy on each device."""
    batch, trainer = setup.first_batch(1), setup.trainer()
    both = Batch(
        *(np.repeat(part, 2, axis=1) for part in (batch.inputs, batch.targets, batch.mask))
    )
    trainer.train_step(trainer.put(both))
    return trainer.state()[0]


@each_engine
def test_parity_is_proved_on_so_many_devices(plugins, engine):
    setup = setup_of(plugins, engine, devices=2)
    parts = (
        setup.backend,
        setup.reference,
        setup.model,
        setup.parameters,
        setup.first_batch(4),
        setup.execution,
    )
    assert measure_parity(*parts).passed


def run(asked, plugins=None, on_event=None, stop=None):
    (record,) = run_trials([asked], plugins=plugins, on_event=on_event, stop=stop)
    return record


@pytest.mark.parametrize("engine", [marked("torch:library"), marked("jax:fused")])
def test_a_record_says_on_how_many_devices_it_trained(engine):
    record = run(trial(engine, devices=2, steps=40))
    assert (record.status, record.reason) == ("ok", None)
    assert (record.details["devices"], record.details["placement"]["devices"]) == (2, 2)
    assert record.details["effective_threads"] == 1
    assert record.figures["tokens_per_second"] > 0
    assert record.figures["parity_error"] < record.figures["parity_tolerance"]
    if engine.startswith("torch"):
        assert record.details["rank_devices"] == ["cpu", "cpu"]
        assert record.details["rank_threads"] == [1, 1]
        spread = record.details["rank_step_seconds_spread"]
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
    assert ranks_below(psutil.Process()) == []


def ranks_below(process):
    """Return the ranks that are children of a process, except those of its own trainers."""
    from harness_torch.parallel.ranks import _running

    own = {ranks._torchrun.pid for ranks in _running.values()}
    found = [
        one for one in process.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE
    ]
    return [
        one
        for one in found
        if one.ppid() not in own and "harness_torch.parallel.rank" in one.cmdline()[:4]
    ]


def struck(number, then=lambda: None):
    """Return a function that signals one rank once training has begun, and the ranks it saw."""
    seen = []

    def strike(_, event):
        if isinstance(event, Progress) and not seen:
            seen.extend(ranks_below(psutil.Process()))
            os.kill(seen[-1].pid, number)
            then()

    return strike, seen


def assert_gone(processes):
    deadline = time.monotonic() + GONE_SECONDS
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < deadline, processes
        time.sleep(0.05)


@needs_torch
def test_a_rank_that_is_killed_fails_the_trial_and_leaves_no_process():
    strike, seen = struck(signal.SIGKILL)
    record = run(trial("torch:library", devices=2, steps=100_000), on_event=strike)
    assert record.status == "failed"
    assert re.search(r"rank [01] of 2 ended in the middle of its work", record.reason)
    assert "SIGKILL" in record.details["log_tail"]  # torchrun says so
    assert len(seen) == 2
    assert_gone(seen)


@needs_torch
def test_a_rank_that_hangs_is_ended_with_the_trial():
    with StopRequest() as stop:
        strike, seen = struck(signal.SIGSTOP, then=lambda: (stop.request(), stop.request()))
        record = run(trial("torch:library", devices=2, steps=100_000), on_event=strike, stop=stop)
    assert record.status == "interrupted"  # as at the end of a --timeout
    assert len(seen) == 2
    assert_gone(seen)


@needs_torch
def test_ranks_end_with_a_worker_that_is_killed():
    seen = []

    def strike(_, event):
        if isinstance(event, Progress) and not seen:
            seen.extend(ranks_below(psutil.Process()))
            next(
                one
                for one in psutil.Process().children()
                if "harness.measure.worker" in one.cmdline()
            ).kill()

    record = run(trial("torch:library", devices=2, steps=100_000), on_event=strike)
    assert record.status == "crashed"
    assert record.reason.startswith("crashed (SIGKILL)")
    assert len(seen) == 2
    assert_gone(seen)


def test_a_backend_that_trains_on_one_device_only_is_unsupported(plugins):
    for engine in ("numpy:vectorised", "flax:linen"):
        backend = plugins.backend(engine.partition(":")[0])
        with pytest.raises(
            UnsupportedError, match="does not train on several devices: leave --devices out"
        ):
            check_backend(backend, trial(engine, devices=2), plugins)


def test_more_devices_than_there_are_is_unsupported(plugins, monkeypatch):
    backend = plugins.backend("faulty")
    monkeypatch.setattr(type(backend), "devices", lambda _: ("gpu", "gpu:1", "cpu"))
    check_backend(backend, trial("faulty:good", device="gpu", devices=2), plugins)
    with pytest.raises(
        UnsupportedError, match=r"4 devices were asked for, .* finds 2 of gpu .* give --devices 2"
    ):
        check_backend(backend, trial("faulty:good", device="gpu", devices=4), plugins)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "5"], "batch = 5 cannot be split evenly over devices = 2"),
        (["--device", "cuda:1"], "device"),
        (["--devices", "0"], "devices = 0"),
    ],
)
def test_what_cannot_be_split_is_refused_before_anything_runs(options, words, tmp_path, capsys):
    store = ["--store", str(tmp_path / "s.sqlite")]
    with pytest.raises(SystemExit) as ended:
        main(["run", "-b", "numpy", "-t", "copy", "--devices", "2", *options, *store])
    assert ended.value.code == USAGE
    assert words in capsys.readouterr().err
    assert not (tmp_path / "s.sqlite").exists()


def test_launches_at_once_have_processors_for_every_device_and_no_card_is_split():
    assert read_slots(2, None, [trial("torch:fused", devices=2)], range(4)).jobs == 2
    with pytest.raises(UsageError, match="need 4 processors, there are 3"):
        read_slots(2, None, [trial("torch:fused", devices=2)], range(3))
    with pytest.raises(
        UsageError, match="--gpus gives each launch one GPU, --devices 2 asks for more"
    ):
        read_slots(1, "0", [trial("torch:fused", device="cuda", devices=2)], range(4))


def test_a_cluster_is_asked_for_the_processors_and_cards_of_every_device():
    found = [
        needs_of(trial("torch:fused", device=device, devices=2), Wishes())
        for device in ("cpu", "cuda")
    ]
    assert [(needs.cpus, needs.gpus) for needs in found] == [(2, 0), (2, 2)]


def test_a_numbered_device_is_a_single_one():
    with pytest.raises(
        ValueError, match="device cuda:1 is a single one, and devices = 2 asks for several"
    ):
        trial("torch:fused", device="cuda:1", devices=2)


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("one_device", "2 devices were asked for, the batch was split over 1"),
        ("silent", "2 devices were asked for, the batch was split over 1"),
        ("rank_lost", "2 devices were asked for, 1 ranks train"),
        ("rank_threads", "1 threads were asked for, rank 0 uses 7"),
    ],
)
def test_a_worker_that_does_not_train_as_it_was_asked_to_fails_the_trial(variant, reason, plugins):
    record = run(
        trial(f"faulty:{variant}", task="echo", length=3, batch=2, steps=8, devices=2), plugins
    )
    assert record.status == "failed"
    assert reason in record.reason
    assert "faulty" in record.reason


def test_one_device_leaves_the_identity_of_a_trial_as_it_was():
    alone, several = trial("torch:fused"), trial("torch:fused", devices=2)
    assert "devices" not in alone.content()
    assert alone.trial_id == trial("torch:fused", devices=1).trial_id != several.trial_id
    assert (several.processors, Trial(**several.content())) == (2, several)


def test_only_a_data_parallel_backend_is_told_of_devices(plugins):
    assert thread_variables(plugins.backend("faulty"), 1, 2)["FAULTY_DEVICES"] == "2"
    assert thread_variables(plugins.backend("jax"), 3, 2)["NPROC"] == "6"
    assert thread_variables(plugins.backend("flax"), 3, 2)["NPROC"] == "3"


def test_ranks_are_averaged_over_the_steps_that_count():
    meter = RankMeter()
    for seconds, steps in (((1.0, 1.0), 0), ((5.0, 9.0), 0), ((7.0, 12.0), 2), ((8.0, 13.0), 2)):
        meter.add([Rank("cpu", 1, each) for each in seconds], steps)
    details = meter.details(2)
    assert details["rank_step_seconds"] == [0.75, 1.0]
    assert details["rank_step_seconds_spread"] == {"min": 0.75, "median": 0.875, "max": 1.0}
    assert (details["devices"], details["rank_threads"]) == (2, [1, 1])
    assert meter.details(1) == {}


def measured(speed, devices=1, status="ok", loss=0.5, **changes):
    figures = {"tokens_per_second": speed, "loss_final": loss}
    details = {}
    if devices > 1:
        details["rank_step_seconds_spread"] = {"min": 0.001, "median": 0.002, "max": 0.003}
    asked = trial("torch:fused", **{"devices": devices, "cell": "lstm"} | changes)
    return Record(asked, status, figures=figures, details=details, environment_id="here")


def test_efficiency_is_the_speedup_per_device_over_the_same_trial_on_one():
    records = [
        measured(100.0),
        measured(150.0, 2, loss=0.5001),
        measured(300.0, 4),
        measured(90.0, cell="gru"),
    ]
    two, four = scaled(records)
    assert (two.speedup, two.efficiency, four.efficiency) == (1.5, 0.75, 0.75)
    assert math.isclose(two.loss_difference, 1e-4, rel_tol=1e-6)


@pytest.mark.parametrize(
    "other", [measured(100.0, hidden=9), measured(100.0, status="failed"), measured(9.0, seed=3)]
)
def test_efficiency_is_unknown_without_the_same_trial_on_one_device(other):
    (found,) = scaled([other, measured(150.0, 2)])
    assert (found.speedup, found.efficiency, found.loss_difference) == (None, None, None)


def test_the_report_has_a_table_of_its_own_where_devices_vary():
    records = [measured(100.0), measured(150.0, 2)]
    table = data_parallel_table(Study(records))
    assert table.axes == ("cell", "devices", "engine", "T")
    ((labels, cells),) = table.rows
    assert labels == ("lstm", "2", "torch:fused", "6")
    assert cells == ("150", "1.50", "75.0 %", "1.00 ms", "2.00 ms", "3.00 ms", "0.0e+00")
    assert "copy: data parallel" in plain_table(records)
    assert data_parallel_table(Study(records[:1])) is None
    assert data_parallel_table(Study(records[1:])).axes == ("cell", "engine", "T", "devices")
    assert "2 devices" in plain_table(records[1:])


def test_the_option_reaches_the_plan(tmp_path):
    asked = "run -b numpy -t copy -c lstm -T 5 --devices 1,2 --dry-run --format json"
    found = CliRunner().invoke(main_command(), asked.split(), standalone_mode=False)
    assert found.return_value == OK
    assert [line.count('"devices": 2') for line in found.stdout.splitlines()] == [0, 1]


def main_command():
    from harness.cli.main import cli

    return cli
