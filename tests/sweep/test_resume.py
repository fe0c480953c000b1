"""Resuming: stored launches are not measured again; differences are reported."""

import contextlib
from collections import Counter
from dataclasses import replace

import pytest

from builders import trial_of
from harness.cli.work.report import _records
from harness.contract import Record
from harness.contract.records.identity import Identity, differences
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots
from harness.plan.request import PlanRequest
from harness.plugins import load_plugins
from harness.sweep import work_plan
from harness.sweep.session import Session
from harness.sweep.work_plan import look
from harness_results.store.integrity import check_store
from harness_results.store.merge import merge
from harness_results.store.runs import DOCTOR
from harness_results.store.store import Store
from harness_results.study.launches import combine
from harness_results.study.reported import reported

PEERS = ("torch", "jax", "flax", "haiku", "equinox", "keras")


def trial(**changes):
    return trial_of("numpy:vectorised", **({"cell": "rnn", "length": 3} | changes))


TRIALS = [trial(seed=seed) for seed in range(4)]


class Silent:
    def event(self, trial, event):
        pass

    def finish(self, record):
        pass


class Fake:
    """An executor that runs nothing: every launch ends as ``statuses`` say, by default ``ok``."""

    def __init__(self, **statuses):
        self.statuses, self.begun = (
            {int(name.removeprefix("seed")): status for name, status in statuses.items()},
            [],
        )

    def __call__(self, trials, *, settings, on_event, stop, plugins):
        for one in trials:
            self.begun.append(one.seed)
            yield Record(
                one, self.statuses.get(one.seed, "ok"), started_at="2026-01-01T00:00:00+00:00"
            )


@pytest.fixture(scope="module")
def plugins():
    return load_plugins(block=PEERS)


@pytest.fixture
def sweep(location, plugins):
    """Return a function that sweeps on one store: (seeds as begun, work plan, records)."""
    path = location

    def run(
        trials=TRIALS,
        *,
        launches=1,
        mode="resume",
        settings=LocalSettings(),  # noqa: B008
        stop_after=None,
        fake=None,
    ):
        fake = fake or Fake()
        found = look(path, trials, settings, plugins, launches=launches, mode=mode)
        with Store.open(path, create=bool(found.left)) as store:
            session = Session(store, "harness run", plugins, executor=fake)
            records = session.carry_out(found, settings, Silent())
            for _ in range(stop_after or 0):
                next(records)
            (list if stop_after is None else lambda it: it.close())(records)
            return fake.begun, found, session.results(found)

    run.path = path
    return run


def execute(path, *statements):
    with Store.open(path, create=False) as store:
        store.database.run(lambda c: [c.exec_driver_sql(one) for one in statements], write=True)


def runs(sweep):
    with Store.open(sweep.path, create=False) as store:
        return {
            run.run_id: [(r.trial.seed, r.status) for r in store.launches(run.run_id)]
            for run in store.runs()
        }


def latest(sweep):
    with Store.open(sweep.path, create=False) as store:
        return sorted((record.trial.seed, record.status) for record in store.launches())


def test_the_same_plan_again_measures_nothing_and_gives_the_same_records(sweep):
    begun, _, first = sweep()
    assert begun == [0, 1, 2, 3]
    begun, found, again = sweep()
    assert (begun, again) == ([], first)
    assert next(found.notes("s.sqlite")).startswith("all 4 trials are in s.sqlite from ")
    assert list(runs(sweep)) == [1]


def test_a_report_has_the_order_of_the_plan_however_its_launches_end(sweep):
    class Backwards(Fake):
        def __call__(self, trials, **others):
            return super().__call__(list(trials)[::-1], **others)

    order = [2, 0, 3, 1]
    for launches in (1, 3):
        sweep([TRIALS[seed] for seed in order], launches=launches, fake=Backwards())
        with Store.open(sweep.path, create=False) as store:
            assert [record.trial.seed for record in reported(store)] == order
        shown = _records(str(sweep.path), None, with_curves=False)
        assert [record.trial.seed for record in shown] == order


def test_a_sweep_that_was_cut_goes_on_in_its_own_run_with_what_is_left(sweep):
    sweep(stop_after=2)
    begun, found, records = sweep()
    assert begun == [2, 3]
    assert [record.trial.seed for record in records] == [0, 1, 2, 3]
    assert runs(sweep) == {1: [(seed, "ok") for seed in range(4)]}
    assert "2 of 4 launches are taken from s.sqlite; --fresh measures all again" in list(
        found.notes("s.sqlite")
    )


@pytest.mark.parametrize(
    "status",
    [
        "unsupported", "diverged", "parity_failed", "failed", "crashed", "timeout", "out_of_memory",
    ],
)  # fmt: skip
def test_what_ended_badly_is_a_result_and_measured_again_only_on_request(sweep, status):
    sweep(fake=Fake(seed1=status))
    begun, found, records = sweep()
    assert (begun, records[1].status) == ([], status)
    assert "1 of those did not end ok; --retry-failed measures it again" in list(found.notes("x"))
    begun, _, records = sweep(mode="retry_failed")
    assert (begun, [record.status for record in combine(records)]) == ([1], ["ok"] * 4)
    assert (sorted(runs(sweep)[2]), runs(sweep)[1][1]) == (
        [(seed, "ok") for seed in range(4)],
        (1, status),
    )
    assert sweep()[0] == []


def test_what_was_interrupted_is_measured_again_in_the_same_run(sweep):
    sweep(fake=Fake(seed2="interrupted"))
    begun, _, records = sweep()
    assert begun == [2]
    assert [record.status for record in combine(records)] == ["ok"] * 4
    assert list(runs(sweep)) == [1]


def test_launches_count_and_new_ones_join_the_earlier(sweep):
    sweep(TRIALS[:2], launches=5, stop_after=7)
    sweep(TRIALS[:2], launches=5)
    begun, _, records = sweep(TRIALS[:2], launches=7)
    assert sorted(begun) == [0, 0, 1, 1]
    assert Counter(record.trial.seed for record in records) == {0: 7, 1: 7}
    assert Counter(latest(sweep)) == {(0, "ok"): 7, (1, "ok"): 7}
    with Store.open(sweep.path, create=False) as store:
        (run,) = store.runs()
    assert run.settings["launches"] == 7


def test_fewer_launches_than_there_are_measure_nothing(sweep):
    sweep(launches=3)
    assert sweep(launches=2)[0] == []


def test_a_plan_that_grew_is_a_run_of_its_own_that_has_the_earlier_launches_too(sweep):
    sweep(TRIALS[:3], fake=Fake(seed2="failed"))
    begun, _, records = sweep(TRIALS)
    assert begun == [3]
    assert [record.trial.seed for record in records] == [0, 1, 2, 3]
    assert sorted(runs(sweep)[2]) == [(0, "ok"), (1, "ok"), (2, "failed"), (3, "ok")]
    assert latest(sweep) == sorted(runs(sweep)[2])


def test_a_plan_that_shrank_measures_nothing_and_begins_no_run(sweep):
    sweep()
    begun, _, records = sweep(TRIALS[1:2])
    assert (begun, [record.trial.seed for record in records]) == ([], [1])
    assert list(runs(sweep)) == [1]


def test_launches_beyond_a_grown_plan_count_those_of_the_run_before(sweep):
    sweep(TRIALS[:1], launches=2)
    begun, _, _ = sweep(TRIALS[:2], launches=3)
    assert sorted(begun) == [0, 1, 1, 1]
    assert Counter(runs(sweep)[2]) == {(0, "ok"): 3, (1, "ok"): 3}
    assert Counter(latest(sweep)) == {(0, "ok"): 3, (1, "ok"): 3}


def test_fresh_measures_all_again_in_a_new_run_and_goes_on_by_itself_when_it_was_cut(sweep):
    sweep()
    begun, found, _ = sweep(mode="fresh", stop_after=1)
    assert begun == [0]
    assert list(found.notes("x")) == []
    assert sweep()[0] == [1, 2, 3]  # although the run before has them
    assert len(runs(sweep)[2]) == 4
    assert sweep()[0] == []


def test_launches_from_before_a_trial_was_measured_anew_no_longer_count(sweep):
    sweep(TRIALS[:1], launches=3)
    sweep(TRIALS[:1], mode="fresh")
    begun, _, records = sweep(TRIALS[:2], launches=2)
    assert sorted(begun) == [0, 1, 1]
    assert [record.trial.seed for record in records] == [0, 0, 1, 1]


def test_launches_of_the_doctor_are_never_taken(sweep, plugins):
    with Store.open(sweep.path) as store:
        list(
            Session(store, DOCTOR, plugins, executor=Fake()).measure(
                TRIALS, LocalSettings(), Silent()
            )
        )
    assert sweep()[0] == [0, 1, 2, 3]


def test_measuring_without_resuming_measures_every_launch(location, plugins):
    with Store.open(location) as store:
        for _ in range(2):
            session = Session(store, "x", plugins, executor=Fake(), launches=2)
            assert len(list(session.measure(TRIALS, LocalSettings(), Silent()))) == 8
        assert len(store.runs()) == 2


@pytest.fixture
def versions(monkeypatch):
    """The versions of the engine, to be changed."""
    from harness_numpy import NumpyBackend

    found = {"numpy": "2.0", "native": "1"}
    monkeypatch.setattr(NumpyBackend, "versions", lambda self: dict(found))
    return found


def test_an_upgraded_library_is_measured_again_and_told(sweep, versions):
    sweep()
    versions["numpy"] = "2.1"
    begun, found, records = sweep()
    assert begun == [0, 1, 2, 3]
    assert list(found.notes("x")) == ["measured again: numpy 2.0 -> 2.1 (4 trials)"]
    assert len(records) == 4
    versions["numpy"] = "2.0"
    assert sweep()[0] == []  # those of the first run are of this version
    assert len(runs(sweep)) == 2


def test_a_trial_that_the_store_has_as_another_variant_is_told_if_the_backend_chose(sweep, plugins):
    sweep(
        [
            trial(variant="native", seed=0),
            trial(variant="native", seed=1),
            trial(variant="loop", seed=2),
        ]
    )

    def told(trials, **options):
        return [
            one
            for one in look(sweep.path, trials, LocalSettings(), plugins, **options).notes("s")
            if "-b" in one
        ]

    start = "-b numpy is numpy:vectorised here, and s has"
    lines = [
        f"{start} 1 trial as numpy:loop: to go on with it, name numpy:loop",
        f"{start} 2 trials as numpy:native: to go on with them, name numpy:native",
    ]
    for mode in ("resume", "retry_failed", "fresh"):
        assert told(TRIALS, chosen={"numpy"}, mode=mode)[::-1] == lines
    assert told(TRIALS) == told(TRIALS, chosen={"torch"}) == []  # named by its variant
    assert told([trial(seed=9), trial(seed=0, length=9)], chosen={"numpy"}) == []
    sweep()
    assert told(TRIALS, chosen={"numpy"}) == []


def test_a_plan_says_which_backends_chose_their_variants():
    request = PlanRequest(
        {"backend": ["torch", "numpy:loop"]}, include=[{"backend": "jax"}, {"seed": 3}]
    )
    assert request.left_to_backends() == {"torch", "jax"}
    assert PlanRequest(cases=[{"backend": ["peers"]}, {"seed": [1]}]).left_to_backends() == {
        "peers"
    }
    assert PlanRequest({"backend": ["torch", "torch:native", "jax"]}).left_to_backends() == {"jax"}
    assert PlanRequest().left_to_backends() == set()


def test_settings_and_variables_that_change_a_record_are_measured_again(sweep, monkeypatch):
    sweep()
    begun, found, _ = sweep(settings=LocalSettings(affinity=(0,)))
    assert len(begun) == 4
    assert list(found.notes("x")) == ["measured again: affinity none -> 0 (4 trials)"]
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    _, found, _ = sweep(TRIALS[:1])
    assert list(found.notes("x")) == [
        "measured again: affinity 0 -> none, variable OMP_PROC_BIND none -> true (1 trial)"
    ]


def test_a_store_from_before_identities_is_kept_and_measured_again(sweep):
    sweep()
    tables = ("claims", "drivers", "taken", "record_identities", "identities")
    execute(
        sweep.path,
        *(f"drop table {name}" for name in tables),
        "update meta set value = '2' where name = 'schema_version'",
        "update run_settings set content = '{}'",
    )
    assert len(latest(sweep)) == 4
    begun, found, _ = sweep()
    assert begun == [0, 1, 2, 3]
    assert list(found.notes("x")) == [f"measured again: {work_plan.NO_IDENTITY} (4 trials)"]
    assert list(runs(sweep)) == [1, 2]


def test_records_without_an_identity_are_measured_again_and_told(sweep):
    with Store.open(sweep.path) as store:
        store.add(Record(TRIALS[0], "ok"), store.begin_run("old"))
    begun, found, _ = sweep()
    assert begun == [0, 1, 2, 3]
    assert list(found.notes("x")) == [f"measured again: {work_plan.NO_IDENTITY} (1 trial)"]


def two_sessions(store, plugins, found):
    fakes = Fake(), Fake()
    sessions = [
        Session(store, name, plugins, executor=fake) for name, fake in zip("ab", fakes, strict=True)
    ]
    return (
        fakes,
        sessions,
        [
            one.carry_out(each, LocalSettings(), Silent())
            for one, each in zip(sessions, found, strict=True)
        ],
    )


@pytest.mark.parametrize("plans", [(TRIALS, TRIALS), (TRIALS, TRIALS[::-1]), (TRIALS[:3], TRIALS)])
def test_two_sweeps_at_once_share_the_launches_and_double_none(sweep, plugins, plans):
    found = [look(sweep.path, plan, LocalSettings(), plugins, launches=3) for plan in plans]
    with Store.open(sweep.path) as store:
        fakes, sessions, generators = two_sessions(store, plugins, found)
        left = list(generators)
        while left:
            for one in list(left):
                if next(one, None) is None:
                    left.remove(one)
        assert all(fake.begun for fake in fakes)
        assert Counter(fakes[0].begun + fakes[1].begun) == dict.fromkeys(range(4), 3)
        assert Counter(record.trial.seed for record in store.launches()) == dict.fromkeys(
            range(4), 3
        )
        assert (
            sum(len(session.results(one)) for session, one in zip(sessions, found, strict=True))
            > 12
        )
        assert store.ledger.drivers() == []


def test_what_another_process_measures_is_left_to_it_and_told(sweep, plugins):
    found = look(sweep.path, TRIALS[:1], LocalSettings(), plugins)
    with Store.open(sweep.path) as store:
        fakes, sessions, (first, second) = two_sessions(store, plugins, (found, found))
        with contextlib.closing(first):
            claimed = sessions[0]
            handle = store.ledger.join(
                "a", {"plan": found.plan, "launches": 1}, found.wanted, "resume"
            )
            assert (
                store.ledger.claim(
                    handle, TRIALS[0].trial_id, found.wanted[TRIALS[0].trial_id], 1, {}
                )
                == "mine"
            )
            assert list(second) == []
        assert (fakes[1].begun, sessions[1].elsewhere, claimed.elsewhere) == ([], 1, 0)


@pytest.mark.parametrize(
    ("had", "note"), [(1, "1 of 4 launches is taken"), (2, "2 of 4 launches are taken")]
)
def test_notes_count_in_singular_and_plural(sweep, had, note):
    sweep(stop_after=had)
    assert any(told.startswith(note) for told in sweep()[1].notes("s.sqlite"))
    which = {1: "the trial is in", 2: "both trials are in"}[had]
    assert next(sweep(TRIALS[:had])[1].notes("s.sqlite")).startswith(which)


def test_a_driver_names_trials_by_what_varies(location, plugins):
    found = look(location, TRIALS, LocalSettings(), plugins)
    with Store.open(location) as store:
        session = Session(store, "a", plugins, executor=Fake(seed0="crashed"))
        with contextlib.closing(session.carry_out(found, LocalSettings(), Silent())) as records:
            next(records)
            (driver,) = store.ledger.drivers()
    assert driver.progress["failure"].startswith("copy rnn T=3 numpy:vectorised seed=0: crashed")


@pytest.mark.parametrize("gone", [True, False])
def test_what_a_process_that_is_gone_had_begun_is_begun_again(sweep, plugins, monkeypatch, gone):
    found = look(sweep.path, TRIALS[:1], LocalSettings(), plugins)
    with Store.open(sweep.path) as store:
        handle = store.ledger.join("a", {"plan": found.plan, "launches": 1}, found.wanted, "resume")
        store.ledger.claim(handle, TRIALS[0].trial_id, found.wanted[TRIALS[0].trial_id], 1, {})
        if gone:
            execute(
                sweep.path,
                'update drivers set process = replace(process, \'"began":"\', \'"began":"9\')',
            )
        assert sweep(TRIALS[:1])[0] == ([0] if gone else [])


def test_a_driver_on_another_machine_is_given_half_an_hour(sweep, plugins, monkeypatch):
    found = look(sweep.path, TRIALS[:1], LocalSettings(), plugins)
    with Store.open(sweep.path) as store:
        store.ledger.join("a", {"plan": found.plan, "launches": 1}, found.wanted, "resume")
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        (driver,) = store.ledger.drivers()
        assert driver.is_alive
        assert not replace(driver, updated_at="2026-01-01T00:00:00+00:00").is_alive


def test_differences_are_told_in_words():
    before = {"torch": "2.12", "code of x": "a", "machine": "m"}
    now = {"torch": "2.13", "code of x": "b", "machine": "m", "affinity": "0"}
    assert differences(before, now) == "affinity none -> 0, code of x changed, torch 2.12 -> 2.13"


def test_a_fingerprint_depends_on_every_fact_and_not_on_their_order():
    facts = {"a": "1", "b": "2"}
    assert Identity(facts).fingerprint == Identity({"b": "2", "a": "1"}).fingerprint
    assert Identity(facts).fingerprint != Identity(facts | {"b": "3"}).fingerprint


def test_launches_beside_others_and_in_warm_processes_are_other_measurements(sweep):
    sweep(TRIALS[:1])
    beside = LocalSettings(slots=Slots(((0,), (1,))))
    assert sweep(TRIALS[:1], settings=beside)[0] == [0]
    begun, found, _ = sweep(TRIALS[:1], settings=LocalSettings(isolation="backend"))
    assert (begun, list(found.notes("x"))) == (
        [0], ["measured again: isolation none -> backend, jobs 2 -> none (1 trial)"],
    )  # fmt: skip


def test_a_merged_store_is_gone_on_with_as_the_one_it_came_from(sweep, tmp_path, plugins):
    sweep(TRIALS[:2])
    sweep(TRIALS)  # this run takes two records of the first
    target = tmp_path / "merged.sqlite"
    for _ in range(2):
        with Store.open(target) as into, Store.open(sweep.path, create=False) as source:
            merge(into, [source])
    assert not look(target, TRIALS, LocalSettings(), plugins).left
    with Store.open(target, create=False) as merged:
        assert sorted(record.trial.seed for record in merged.launches(2)) == [0, 1, 2, 3]
        assert not check_store(merged).damages
