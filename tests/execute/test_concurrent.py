"""Several launches at once: in real workers, and with fake launches if the order matters."""

import os
import shlex
import threading
import time

import pytest
from click.testing import CliRunner

from builders import small_trial
from harness.cli.main import OK, cli
from harness.contract import Record, UsageError
from harness.execute.concurrent import AtOnce
from harness.execute.local import run_trials
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots
from harness.execute.stop import StopRequest
from harness.measure.events import Finished, Phase, Progress
from harness_results.store.store import Store

LAST = max(os.sched_getaffinity(0))
TWO = LocalSettings(slots=Slots(((), ())), kill_seconds=0.5)  # side by side even on one processor
WAIT_SECONDS = 60.0


def trial(variant="good", **changes):
    return small_trial(f"faulty:{variant}", **({"task": "echo"} | changes))


def test_launches_run_side_by_side_and_records_come_as_they_end(plugins):
    seen, threads = [], set()

    def note(which, event):
        seen.append((which.variant, type(event)))
        threads.add(threading.get_ident())

    trials = [trial("slow", steps=100), trial(seed=1), trial(seed=2)]
    records = list(run_trials(trials, settings=TWO, plugins=plugins, on_event=note))
    assert [record.status for record in records] == ["ok"] * 3
    assert records[-1].trial.variant == "slow"
    assert seen.index(("good", Phase)) < seen.index(("slow", Finished))
    assert threads == {threading.get_ident()}


def test_a_launch_is_bound_to_the_processors_of_its_place(plugins):
    settings = LocalSettings(slots=Slots(((LAST,), (LAST,))))
    (record,) = run_trials([trial()], settings=settings, plugins=plugins)
    assert (record.status, record.details["affinity"]) == ("ok", [LAST])


def test_a_record_says_that_others_ran_beside_it(plugins):
    (record,) = run_trials([trial()], settings=TWO, plugins=plugins)
    assert record.details["jobs"] == 2
    assert record.details["notes"] == [
        "measured while others ran (--jobs 2): its speed does not compare with one measured alone"
    ]
    (alone,) = run_trials([trial()], plugins=plugins)
    assert not {"jobs", "card", "notes"} & alone.details.keys()


def test_a_worker_sees_its_own_card_alone(plugins):
    settings = LocalSettings(slots=Slots(gpus=("3",)))
    on_card, on_host = run_trials(
        [trial(device="card"), trial()], settings=settings, plugins=plugins
    )
    assert (on_card.status, on_card.details["card"]) == ("ok", "3")
    assert on_card.environment["variables"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert "card" not in on_host.details
    assert "CUDA_VISIBLE_DEVICES" not in on_host.environment["variables"]


def test_one_bad_launch_does_not_cost_the_one_beside_it(plugins):
    records = list(run_trials([trial("segfault"), trial()], settings=TWO, plugins=plugins))
    assert sorted(record.status for record in records) == ["crashed", "ok"]


def test_the_parent_of_several_waits_without_using_the_processor(plugins):
    begin = time.process_time()
    records = list(
        run_trials(
            [trial("slow", seed=seed, steps=40) for seed in (1, 2)], settings=TWO, plugins=plugins
        )
    )
    assert [record.status for record in records] == ["ok", "ok"]
    assert time.process_time() - begin < 0.5  # busy waiting would cost more than two


def stopping(stop, times):
    """Return a callback that asks to stop when both launches have begun to train."""
    training = set()

    def callback(which, event):
        if isinstance(event, Progress):
            training.add(which.seed)
        while len(training) == 2 and stop.count < times:
            stop.request()

    return callback


def test_a_first_interrupt_lets_all_that_runs_finish_and_starts_no_other(plugins):
    with StopRequest() as stop:
        trials = [trial("slow", seed=seed, steps=20) for seed in (1, 2, 3)]
        records = list(
            run_trials(trials, settings=TWO, plugins=plugins, stop=stop, on_event=stopping(stop, 1))
        )
    assert sorted((record.trial.seed, record.status) for record in records) == [
        (1, "ok"),
        (2, "ok"),
    ]


def test_a_second_interrupt_ends_all_that_runs(plugins, children):
    with StopRequest() as stop:
        trials = [trial("hang", seed=seed) for seed in (1, 2, 3)]
        records = list(
            run_trials(trials, settings=TWO, plugins=plugins, stop=stop, on_event=stopping(stop, 2))
        )
    assert [record.status for record in records] == ["interrupted"] * 2
    assert children() == []


def test_a_caller_that_goes_away_takes_all_workers_along(plugins, children):
    def leave(which, event):
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(
            run_trials(
                [trial("hang", seed=seed) for seed in (1, 2)],
                settings=TWO,
                plugins=plugins,
                on_event=leave,
            )
        )
    assert children() == []


class Stage:
    """Stand-ins for launches: each waits until it is let go."""

    def __init__(self):
        self.begun, self.go, self.gpus = [], threading.Event(), {}

    def run(self, trial, settings, on_event, stop):
        self.begun.append(trial.seed)
        self.gpus[trial.seed] = settings.gpu
        on_event(trial, Phase("load"))
        assert self.go.wait(WAIT_SECONDS)
        return Record(trial, "ok")


def test_a_gpu_is_used_by_one_launch_at_a_time():
    stage, alone = Stage(), []
    slots = Slots(((0,), (1,), (2,)), gpus=("5",))
    trials = [
        trial(seed=seed, device=device) for seed, device in ((1, "card"), (2, "cpu"), (3, "card"))
    ]

    def let_go(which, event):
        if len(stage.begun) == 2:
            alone.extend(stage.begun)
            stage.go.set()

    with StopRequest() as stop:
        at_once = AtOnce(stage.run, LocalSettings(slots=slots), let_go, stop)
        records = list(at_once.records(trials))
    assert sorted(alone[:2]) == [1, 2]
    assert len(records) == 3
    assert stage.gpus == {1: "5", 2: None, 3: "5"}


def test_what_goes_wrong_in_a_thread_reaches_the_caller():
    def fail(*_):
        raise UsageError("no such interpreter")

    with StopRequest() as stop, pytest.raises(UsageError, match="no such interpreter"):
        list(AtOnce(fail, TWO, lambda *_: None, stop).records([trial()]))


def test_who_follows_a_request_to_stop_learns_of_earlier_and_later_ones():
    with StopRequest() as stop:
        stop.request()
        with stop.follower() as one, stop.follower() as other:
            assert (one.count, other.count) == (1, 1)
            stop.request()
            assert (one.count, other.count) == (2, 2)
        stop.request()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two launches need two processors")
def test_the_command_line_runs_several_on_disjoint_processors(plugins, tmp_path):
    store = str(tmp_path / "s.sqlite")
    words = shlex.split("-b faulty:good -t echo -T 3 --hidden 4 --batch 2 --steps 8")
    arguments = ["run", *words, "--seed", "0,1,2,3", "--jobs", "2", "--store", store, "-q"]
    result = CliRunner().invoke(
        cli, ["-p", "no:torch", "-p", "no:jax", *arguments], standalone_mode=False
    )
    assert result.return_value == OK
    with Store.open(store, create=False) as opened:
        records, (run,) = opened.launches(), opened.runs()
    assert len({tuple(record.details["affinity"]) for record in records}) == 2
    assert run.settings["jobs"] == 2


def test_more_jobs_than_processors_are_refused_before_anything_runs(plugins, tmp_path):
    arguments = ["run", "-b", "faulty:good", "-t", "echo", "-T", "3", "--jobs", "4096"]
    store = tmp_path / "s.sqlite"
    result = CliRunner().invoke(cli, [*arguments, "--store", str(store)], standalone_mode=False)
    assert "--jobs 4096 x 1 thread need 4096 processors" in str(result.exception)
    assert not store.exists()
