"""Launches of a trial become one record, and every view of a store shows that record once."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.contract import Record, Trial
from harness_results.render.terminal import plain_table
from harness_results.results import Results
from harness_results.store.store import Store
from harness_results.study.launches import by_settings, combine, latest
from harness_results.study.verdicts.statistics import median_of_launches
from harness_results.text.format import quantity

SPEEDS = (100e3, 104e3, 98e3, 110e3, 101e3)


def launch(speed=100e3, status="ok", reason=None, *, details=None, trial=None, **figures) -> Record:
    asked = {
        "backend": "numpy",
        "variant": "loop",
        "task": "copy",
        "cell": "lstm",
        "length": 20,
    } | (trial or {})
    known = {
        "loss_validation": 0.25, "loss_baseline": 0.5, "loss_ratio": 0.5, "solved": False,
        "gradient_norm_max": 2.0, "tokens_per_second": speed,
        "tokens_per_second_low": 0.9 * speed, "tokens_per_second_high": 1.1 * speed,
        "step_seconds_median": 3200 / speed, "peak_memory_bytes": round(speed),
    }  # fmt: skip
    details = {"interval": "within-process"} | (details or {})
    curves = {"loss": [1.0, 0.5], "block_seconds": [3200 / speed]}
    return Record(
        Trial(**asked),
        status,
        reason,
        known | figures,
        curves,
        details,
        started_at="2026-01-01T00:00:00",
    )


def test_a_single_launch_stays_as_it_is():
    assert combine([launch()]) == [launch()]


def test_several_launches_become_one_record_with_medians_over_them():
    (record,) = combine(map(launch, SPEEDS))
    middle, found = median_of_launches(SPEEDS)
    names = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
    assert [record.figures[name] for name in names] == [middle, found.low, found.high]
    assert record.figures["step_seconds_median"] == 3200 / 101e3
    assert record.figures["peak_memory_bytes"] == 101_000
    assert (record.columns()["launches"], record.columns()["interval"]) == (
        5,
        f"launches-{found.kind}",
    )
    assert record.curves == launch().curves | {"launch_tokens_per_second": list(SPEEDS)}
    assert [one["tokens_per_second"] for one in record.details["launch_figures"]] == list(SPEEDS)


def test_figures_of_even_launches_keep_their_type_and_unknown_ones_stay_unknown():
    (record,) = combine([launch(100), launch(103)])
    assert record.figures["peak_memory_bytes"] == 102  # bytes are whole
    assert record.figures["compile_seconds"] is None
    (record,) = combine([launch(tokens_per_second=None)] * 2)
    assert record.figures["tokens_per_second"] is None
    assert record.details["interval"] is None


def test_learning_that_differs_between_launches_is_flagged():
    (same,) = combine([launch(), launch(loss_validation=0.25 * (1 + 1e-9))])
    assert "flags" not in same.details
    (record,) = combine([launch(), launch(loss_validation=0.26, gradient_norm_max=None)])
    (flag,) = record.details["flags"]
    names = "loss_validation, gradient_norm_max"
    assert flag == f"launches disagree on {names}: the engine is not deterministic"
    assert record.figures["loss_validation"] == 0.25


def test_a_trial_is_ok_only_if_every_launch_is_and_then_has_no_speed():
    failed = launch(1.0, "timeout", "timeout after 3 s")
    (record,) = combine([launch(), failed, launch(), launch(status="crashed", reason="SIGSEGV")])
    assert (record.status, record.reason) == (
        "timeout",
        "2 of 4 launches failed: timeout after 3 s",
    )
    assert record.figures.get("tokens_per_second") is None
    assert record.figures["loss_validation"] == 0.25
    assert record.details["launch_figures"][2]["tokens_per_second"] == 100e3
    assert [one["status"] for one in record.details["launch_figures"]] == [
        "ok",
        "timeout",
        "ok",
        "crashed",
    ]
    assert record.columns()["launches"] == 4


def test_flags_are_told_once_with_how_many_launches_have_them():
    slow, all_ = (
        {"flags": ["warm-up", "slow"], "notes": ["masks differ"]},
        {"flags": ["slow"], "notes": ["masks differ"]},
    )
    (record,) = combine([launch(details=slow), launch(details=all_), launch(details=slow)])
    assert record.details["flags"] == ["2 of 3 launches: warm-up", "slow"]
    assert record.details["notes"] == ["masks differ"]


def test_trials_whose_launches_were_shuffled_are_sorted_and_others_are_left_in_their_order():
    def trials(count):
        order = [("torch", 20), ("numpy", 100), ("torch", 100), ("numpy", 20)]
        return combine([launch(trial={"backend": b, "length": n}) for b, n in order * count])

    assert trials(1)[0].trial.backend == "torch"
    wanted = [("numpy", 20), ("torch", 20), ("numpy", 100), ("torch", 100)]
    assert [(r.trial.backend, r.trial.length) for r in trials(2)] == wanted
    combine(
        [launch(trial={"python": name}) for name in ("a", None, "a")]
    )  # what is set and what is not can be sorted


VALUES = {
    **dict.fromkeys(
        ("backend", "variant", "task", "cell", "optimizer", "schedule", "initialisation"),
        ("a", "b"),
    ),
    **dict.fromkeys(("dtype", "device"), ("a", "b")),
    **dict.fromkeys(
        ("length", "layers", "hidden", "batch", "steps", "schedule_steps", "threads", "devices"),
        (1, 20, 100),
    ),
    **dict.fromkeys(("evaluate_every", "seed", "warmup_steps", "schedule_start"), (0, 20, 100)),
    **dict.fromkeys(
        ("learning_rate", "schedule_factor", "momentum", "decay", "dropout"), (0.25, 0.5, 1)
    ),
    **dict.fromkeys(("beta1", "beta2", "initial_square", "weight_decay"), (0.25, 0.5)),
    **dict.fromkeys(("clip_norm", "clip_value", "forget_bias", "epsilon"), (None, 1, 2.5)),
    **dict.fromkeys(
        ("chrono", "data_seed", "evaluation_seed", "embedding", "patience"), (None, 2, 10)
    ),
    **dict.fromkeys(("tied_readout", "epsilon_in_root"), (False, True)),
    "task_options": ({"symbols": "many"}, {"symbols": 8}, {}),
    "checkpoint": (8, 64, "auto", "off"),
    "evaluate_at": ((), (60,), (60, 80)),
    "python": (None, "base", "conda"),
}


@pytest.mark.parametrize("name", Trial.model_fields)
def test_trials_that_differ_in_any_one_setting_can_be_sorted_by_it(name):
    trials = [launch().trial.model_copy(update={name: value}) for value in VALUES[name]]
    for order in (trials, trials[::-1], trials[1:] + trials[:1]):
        assert sorted(order, key=by_settings) == trials


@pytest.mark.parametrize(
    ("speeds", "words"),
    [
        (SPEEDS, "tokens/s: median of 5 launches, 95 % bootstrap interval ·"),
        (SPEEDS[:2], "tokens/s: median of 2 launches, their range ·"),
        (SPEEDS[:1], "tokens/s: mean, 95 % interval (within-process) ·"),
    ],
)
def test_the_table_says_what_its_interval_is(speeds, words):
    assert words in plain_table(combine(map(launch, speeds)), 200)


def test_interpreters_that_differ_are_a_row_label():
    text = plain_table([launch(trial={"python": name}) for name in (None, "conda")])
    assert "python" in text
    assert {"own", "conda"} <= set(text.split())
    assert "python conda" in plain_table([launch(trial={"python": "conda"})])
    assert "python" not in plain_table([launch()])


def stored(path, *runs):
    with Store.open(path) as store:
        for records in runs:
            run_id = store.begin_run("x")
            for record in records:
                store.add(record, run_id)
    return str(path)


def report(*arguments):
    result = CliRunner().invoke(cli, ["report", *arguments], standalone_mode=False)
    assert result.exception is None, result.output
    return result.stdout


def test_results_and_report_read_every_launch_of_the_latest_run(tmp_path):
    path = stored(tmp_path / "store.db", [launch(1.0)] * 3, map(launch, SPEEDS))
    (record,) = Results.from_store(path)
    assert (record.figures["tokens_per_second"], record.details["launches"]) == (101e3, 5)
    assert record.curves["launch_tokens_per_second"] == list(SPEEDS)
    (row,) = json.loads(report(path, "-f", "json"))
    assert (row["tokens_per_second"], row["launches"]) == (101e3, 5)
    (row,) = json.loads(report(path, "-f", "json", "--run", "1"))
    assert (row["tokens_per_second"], row["launches"]) == (1.0, 3)


def test_a_trial_in_two_stores_is_shown_by_its_latest_record(tmp_path):
    newer = replace(launch(2e3), started_at="2026-01-02T00:00:00")
    first, second = stored(tmp_path / "a.db", [newer]), stored(tmp_path / "b.db", [launch(1e3)])
    for places in ((first, second), (second, first), (first, first)):
        (row,) = json.loads(report(*places, "-f", "json"))
        assert row["tokens_per_second"] == 2e3


def test_a_trial_on_two_machines_keeps_both_records_and_the_table_tells_them_apart(tmp_path):
    cpu = {"cpu": {"model": "Slow"}, "python": {"version": "3.11"}}
    here = replace(launch(1e3), environment_id="e1", environment=cpu)
    there = replace(launch(2e3), environment_id="e2")
    assert latest([here, there, here]) == [here, there]
    places = stored(tmp_path / "a.db", [here]), stored(tmp_path / "b.db", [there])
    text = report(*places)
    assert all(word in text.split() for word in ("machine", "e1", "e2", "1.00k", "2.00k"))
    assert "machine e1: Slow, Python 3.11\n" in text
    assert "machine" not in report(places[0])


def test_a_trial_on_two_machines_in_one_store_is_shown_once_for_each_by_its_latest_run_there(
    tmp_path,
):
    def runs(speed, environment_id, reason=None):
        status = "ok" if reason is None else "crashed"
        return [replace(launch(speed, status, reason), environment_id=environment_id)] * 2

    def shown(*runs):
        path.unlink(missing_ok=True)
        rows = json.loads(report(stored(path, *runs), "-f", "json"))
        return [(row["environment_id"], row["status"], row["tokens_per_second"]) for row in rows]

    path = tmp_path / "store.db"
    here, there, again = runs(1e3, "e1"), runs(2e3, "e2"), runs(3e3, "e1")
    assert shown(here, there) == [("e1", "ok", 1e3), ("e2", "ok", 2e3)]
    assert shown(here, there, again) == [("e1", "ok", 3e3), ("e2", "ok", 2e3)]
    early = runs(1.0, None, "no such module")  # failed before it could tell where
    assert shown(early, here) == [("e1", "ok", 1e3)]
    assert shown(here, early) == [(None, "crashed", None)]
    assert shown(here, early, there) == [(None, "crashed", None), ("e2", "ok", 2e3)]


def test_an_interrupted_run_hides_no_other_in_a_report(tmp_path):
    stopped = launch(status="interrupted", reason="interrupted on request", tokens_per_second=None)
    newer = replace(stopped, started_at="2026-01-02T00:00:00", environment_id="e2")
    first, second = (
        stored(tmp_path / "a.db", map(launch, SPEEDS), [newer]),
        stored(tmp_path / "b.db", [newer]),
    )
    for places in ((first,), (first, second), (second, first)):
        (row,) = json.loads(report(*places, "-f", "json"))
        assert (row["status"], row["launches"]) == ("ok", 5)
    (record,) = Results.from_store(first)
    assert record.status == "ok"
    (row,) = json.loads(report(second, "-f", "json"))
    assert row["status"] == "interrupted"


def test_show_takes_the_curves_from_the_launch_that_gives_the_figures(tmp_path):
    def numbered(number, status="ok"):
        one = launch(status=status, reason=None if status == "ok" else "SIGSEGV", loss_final=number)
        return replace(one, curves={"loss": [9.0, number]})

    for records, first in (
        ([numbered(1.0), numbered(2.0), numbered(3.0)], 1.0),
        ([numbered(1.0), numbered(2.0, "crashed"), numbered(3.0, "crashed"), numbered(4.0)], 2.0),
        ([numbered(1.0, "interrupted"), numbered(2.0), numbered(3.0)], 2.0),
    ):
        path = stored(tmp_path / "store.db", records)
        arguments = ["show", launch().trial.trial_id, "--store", path, "--format", "json"]
        shown = json.loads(CliRunner().invoke(cli, arguments, standalone_mode=False).stdout)
        assert (shown["figures"]["loss_final"], shown["curves"]["loss"]) == (first, [9.0, first])


def test_show_tells_every_launch(tmp_path):
    path = stored(tmp_path / "store.db", map(launch, SPEEDS))
    arguments = ["show", launch().trial.trial_id[:6], "--all", "--store", path]
    shown = CliRunner().invoke(cli, arguments, standalone_mode=False).stdout
    assert "launches-bootstrap-bca" in shown
    assert "launch_figures" not in shown
    assert all(f" {quantity(speed)} " in shown for speed in SPEEDS)
    whole = json.loads(
        CliRunner().invoke(cli, [*arguments, "--format", "json"], standalone_mode=False).stdout
    )
    assert whole["curves"]["launch_tokens_per_second"] == list(SPEEDS)
    assert whole["curves"]["loss"] == [1.0, 0.5]


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_id_is_refused(tmp_path, empty):
    path = stored(tmp_path / "store.db", [launch()])
    result = CliRunner().invoke(cli, ["show", empty, "--store", path], standalone_mode=False)
    assert "the trial's id is empty" in str(result.exception)


def test_what_is_said_below_a_table_names_the_interpreter_that_it_is_about():
    slow = {"flags": ["warm-up was short"]}
    base = launch(status="crashed", reason="SIGSEGV", trial={"python": "base"})
    told = plain_table([base, launch(details=slow, trial={"python": "candidate"})], 200)
    assert "n/a: lstm numpy:loop python=base T=20: crashed: SIGSEGV" in told
    assert "flag: lstm numpy:loop python=candidate T=20: warm-up was short" in told


def test_an_interrupted_launch_is_noted_and_takes_nothing_from_those_that_ended():
    stopped = launch(status="interrupted", reason="interrupted on request", tokens_per_second=None)
    (record,) = combine([launch(1e3), stopped, launch(3e3)])
    assert (record.status, record.figures["tokens_per_second"], record.details["launches"]) == (
        "ok",
        2e3,
        2,
    )
    assert record.details["notes"] == ["1 of 3 launches: interrupted, not counted"]
    (record,) = combine([stopped, launch(1e3)])
    assert (record.status, record.details["interval"]) == ("ok", "within-process")
    assert record.details["notes"] == ["1 of 2 launches: interrupted, not counted"]
    (record,) = combine([launch(), stopped, launch(status="crashed", reason="SIGSEGV")])
    assert (record.status, record.reason) == ("crashed", "1 of 2 launches failed: SIGSEGV")


def test_a_trial_of_which_every_launch_was_interrupted_is_interrupted():
    (record,) = combine([launch(status="interrupted", reason="interrupted on request")] * 2)
    assert record.status == "interrupted"
