"""``harness compare``: a verdict for each trial, and what fails a build."""

import io
import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from scipy.stats import mannwhitneyu

from builders import trial_of
from harness.cli.main import cli
from harness.contract import Record, UnknownNameError, UsageError
from harness_results.compare import text as compare_text
from harness_results.compare.comparison import Comparison
from harness_results.compare.environments import different_facts
from harness_results.compare.gate import Rule, read_rule
from harness_results.compare.sides import Side, floors_of
from harness_results.compare.verdicts import compare, same_but
from harness_results.store.store import Store
from harness_results.study.verdicts.floors import Floor, measured_floors
from harness_results.study.verdicts.multiple import corrected, holm
from harness_results.study.verdicts.order import interleaved
from harness_results.study.verdicts.statistics import (
    ALPHA,
    FAMILY,
    Effect,
    compare_speed,
    enough_launches,
)

HERE = {"cpu": {"model": "one"}, "cores": {"physical": 2}, "python": {"version": "3.11"}}
STEADY = (1.00, 1.01, 0.99, 1.005, 0.995)
HOUR = 3600
PROCESSES = itertools.count()  # no two launches that are made here are the same


def plain(comparison, axis=None, width=120):
    return compare_text.to_table(comparison, axis).plain(width)


def markdown(comparison, axis=None):
    return compare_text.to_table(comparison, axis).markdown()


def trial(**fields):
    return trial_of(**fields)


def launches(
    which=None, factor=1.0, statuses=("ok",) * 5, place="here", environment=None, at=0, **figures
):
    made = []
    for round_, (seconds, status) in enumerate(zip(STEADY, statuses, strict=True)):
        speed = {
            "step_seconds_median": factor * seconds,
            "tokens_per_second": 640 / (factor * seconds),
        }
        others = {"loss_validation": 0.5, "gradient_norm_max": 2.0, **figures}
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at + 10 * round_)
        made.append(
            Record(
                which or trial(), status, None if status == "ok" else "no luck",
                figures=others | speed, details={"process": next(PROCESSES)},
                environment=HERE if environment is None else environment, environment_id=place,
                started_at=start.isoformat(),
            )
        )  # fmt: skip
    return made


def verdict(base, new, **options):
    (row,) = compare(base, new, **options).rows
    return row


def test_equal_launches_are_the_same():
    assert verdict(launches(), launches()).verdict == "same"


@pytest.mark.parametrize("kept", [slice(None), slice(3)])
def test_launches_that_are_on_both_sides_are_the_same_and_no_evidence(kept):
    seed, other, taken = trial(seed=1), launches(factor=3), launches(factor=2)
    found = compare(taken + launches(seed), [*taken[kept], *launches(seed, factor=1.25)])
    same, slower = found.rows
    assert (same.verdict, same.effect, same.reason) == (
        "same",
        None,
        "the same launches on both sides",
    )
    assert slower.verdict == "slower"
    assert found.geometric_mean == pytest.approx(0.8)
    assert verdict(taken, taken[:3] + other[3:]).verdict != "same"
    for text in (plain(found), markdown(found)):
        assert "throughput: 0.800 (n = 1)" in text
        assert "same: the same launches on both sides [" in text
    row, _, suite = compare_text.json_rows(found)
    assert (row["verdict"], row["change"], row["low"], row["interleaved"]) == (
        "same",
        None,
        None,
        None,
    )
    assert suite["suite"]["n"] == 1


def test_a_slowdown_is_slower_by_as_much_as_it_is():
    row = verdict(launches(), launches(factor=1.25))
    assert row.verdict == "slower"
    assert row.effect.change == pytest.approx(-0.2)
    assert row.effect.low <= -0.2 <= row.effect.high
    assert row.regressions == ("slower",)
    assert verdict(launches(factor=1.25), launches()).verdict == "faster"


def test_speeds_measured_beside_other_launches_are_compared_with_a_note():
    crowded = [replace(record, details={"jobs": 4}) for record in launches()]
    found = Comparison((verdict(launches(), crowded),))
    assert "base was measured with --jobs 1, new with --jobs 4" in plain(found)
    row = compare_text.json_rows(found)[0]
    assert (row["base_jobs"], row["new_jobs"]) == (1, 4)
    assert "--jobs" not in plain(Comparison((verdict(launches(), launches()),)))


def test_speeds_of_warm_processes_are_compared_with_a_note():
    warm = [replace(record, details={"isolation": "backend"}) for record in launches()]
    assert "--isolation backend" in plain(Comparison((verdict(warm, launches()),)))
    assert "--isolation" not in plain(Comparison((verdict(launches(), launches()),)))


def test_medians_of_an_earlier_version_are_compared_with_a_note():
    early, now = {"phase_seconds": {}}, {"phase_seconds": {}, "gradient_horizon_step": 150}
    base = [replace(record, details=record.details | early) for record in launches()]
    new = [replace(record, details=record.details | now) for record in launches()]
    told = plain(compare(base, new), width=200)
    assert "base's speeds are medians of blocks, by an earlier version" in told
    assert "earlier version" not in plain(compare(new, launches()), width=200)


def test_a_change_below_the_noise_floor_is_not_called():
    content = {
        "seconds_per_step_a": [1.0, 1.5, 1.0, 0.6],
        "seconds_per_step_b": [1.0, 0.7, 1.4, 1.0],
    }
    floors = measured_floors({"noise/numpy:loop": content, "peak/numpy": 3.0}, 5)
    assert floors["numpy:loop"].measured
    assert floors["numpy:loop"].value > 0.25
    row = verdict(launches(), launches(factor=1.25), floors=floors)
    assert (row.verdict, "noise floor" in row.reason) == ("cannot_tell", True)


def test_an_engine_without_a_floor_takes_the_median_of_the_others_and_says_that_it_is_assumed():
    known = {f"noise/torch:{n}": {"seconds_per_step_a": [1.0, b], "seconds_per_step_b": [1.0, 0.7]}
             for n, b in (("x", 1.5), ("y", 1.2), ("z", 1.1))}  # fmt: skip
    floors = measured_floors(known, 5)
    row = verdict(launches(), launches(), floors=floors)
    assert row.floor == Floor(floors["torch:y"].value, measured=False)
    assert f" ~{row.floor.value:.1%} " in plain(Comparison((row,)))
    assert verdict(launches(), launches()).floor == Floor()


def test_two_engines_are_held_against_the_larger_of_their_noise_floors():
    other = launches(trial(backend="torch", variant="library"))
    floors = {"numpy:loop": Floor(0.02, measured=True), "torch:library": Floor(0.2, measured=True)}
    for sides in ((launches(), other), (other, launches())):
        assert (
            verdict(*sides, key=same_but("backend", "variant"), floors=floors).floor
            == floors["torch:library"]
        )


@pytest.mark.parametrize(("base", "new"), [(10, 5), (5, 10), (5, 5)])
def test_the_noise_floor_is_that_of_the_side_with_fewer_launches(base, new):
    known = {
        "here": {
            "noise/numpy:loop": {
                "seconds_per_step_a": [1.0, 1.5, 0.8],
                "seconds_per_step_b": [1.0, 0.7],
            }
        }
    }
    sides = [Side("", (launches() * 2)[:count], known) for count in (base, new)]
    assert floors_of(*sides) == measured_floors(known["here"], 5)
    assert floors_of(*sides) != measured_floors(known["here"], 10)


@pytest.mark.parametrize(("base", "new"), [(1, 1), (1, 5), (4, 4)])
def test_too_few_launches_prove_nothing(base, new):
    row = verdict(launches()[:base], launches(factor=2)[:new])
    assert (row.verdict, row.regressions) == ("cannot_tell", ())
    assert "--launches 5" in row.reason


BROKEN = ("ok", "ok", "crashed", "ok", "ok")
STOPPED = ("interrupted",) * 5


@pytest.mark.parametrize(
    ("base", "new", "expected"),
    [
        (launches(), launches(statuses=BROKEN), "newly_failing"),
        (launches(statuses=BROKEN), launches(), "fixed"),
        (launches(statuses=BROKEN), launches(statuses=BROKEN), "not_comparable"),
        (launches(), [], "missing"),
        (launches(), launches(statuses=STOPPED), "missing"),
        (launches(statuses=BROKEN), launches(statuses=STOPPED), "missing"),
        ([], launches(), "new"),
        (launches(statuses=STOPPED), launches(), "new"),
        (launches(statuses=STOPPED), launches(statuses=BROKEN), "new"),
        (launches(statuses=STOPPED), launches(statuses=STOPPED), "not_comparable"),
    ],
)
def test_what_failed_or_is_not_there_has_a_verdict_of_its_own(base, new, expected):
    row = verdict(base, new)
    assert row.verdict == expected
    assert bool(row.regressions) == (expected in {"newly_failing", "missing"})
    assert not verdict(base, new, allowed=("newly_failing", "missing")).regressions


def test_an_interrupted_trial_is_missing_with_the_fix(tmp_path):
    base = store(tmp_path / "base.sqlite", *launches())
    new = store(tmp_path / "new.sqlite", *launches(statuses=STOPPED))
    result = run(base, new)
    assert status(result) == 4
    assert "missing: interrupted in new: run it again" in result.stdout
    assert status(run(base, new, "--allow", "newly_failing")) == 4
    assert status(run(base, new, "--allow", "missing")) == 5


def test_a_trial_of_which_one_launch_was_interrupted_is_compared_by_the_others():
    assert (
        verdict(launches(), launches(statuses=("ok",) * 4 + ("interrupted",))).verdict
        == "cannot_tell"
    )


def test_trials_without_a_speed_cannot_be_compared():
    silent = [replace(record, figures={}) for record in launches()]
    assert verdict(silent, launches()).verdict == "not_comparable"


def test_engines_match_by_everything_but_the_engine():
    other = launches(trial(backend="torch", variant="library"), factor=0.5)
    assert verdict(launches(), other, key=same_but("backend", "variant")).verdict == "faster"
    assert [row.verdict for row in compare(launches(), other).rows] == ["missing", "new"]


def test_two_trials_that_look_the_same_are_refused():
    both = launches() + launches(trial(variant="fused"))
    with pytest.raises(UsageError, match="cannot be told apart"):
        compare(both, both, key=same_but("backend", "variant"))


def test_the_suite_has_a_geometric_mean_with_its_n():
    base = launches() + launches(trial(length=30)) + launches(trial(length=40))
    new = launches(factor=2) + launches(trial(length=30), factor=0.5)
    found = compare(base, new)
    assert (found.geometric_mean, len(found.ratios)) == (pytest.approx(1.0), 2)
    assert found.counts == {"faster": 1, "slower": 1, "missing": 1}


@pytest.mark.parametrize(
    ("rule", "change", "broken"),
    [
        ("loss_validation:0.02", {"loss_validation": 0.53}, True),
        ("loss_validation:0.02", {"loss_validation": 0.51}, False),
        ("loss_validation:0.02", {"loss_validation": 0.3}, False),
        ("gradient_norm_max:10%", {"gradient_norm_max": 2.3}, True),
        ("gradient_norm_max:10%", {"gradient_norm_max": 2.1}, False),
        ("accuracy:0.1", {"accuracy": 0.7}, True),
        ("accuracy:0.1", {"accuracy": 0.95}, False),
        ("loss_validation:0.02", {"loss_validation": None}, True),
    ],
)
def test_figures_may_get_worse_only_so_far(rule, change, broken):
    row = verdict(
        launches(accuracy=0.9), launches(**{"accuracy": 0.9} | change), rules=[read_rule(rule)]
    )
    assert row.regressions == ((rule,) if broken else ())


def test_a_throughput_fails_only_where_the_launches_prove_it():
    rule = read_rule("throughput:10%")
    assert verdict(launches(), launches(factor=1.25), rules=[rule]).regressions == (
        "throughput:10%",
    )
    assert verdict(launches(), launches(factor=1.08), rules=[rule]).regressions == ()
    assert verdict(launches()[:2], launches(factor=1.25)[:2], rules=[rule]).regressions == ()


def test_rules_that_mean_nothing_are_refused():
    assert read_rule("throughput:5%") == Rule("throughput", 0.05, relative=True)
    for text in ("throughput", "throughput:", "throughput:-1", "throughput:5 %"):
        with pytest.raises(UsageError, match="write METRIC:5%"):
            read_rule(text)
    with pytest.raises(UsageError, match="would never fail"):
        read_rule("throughput:100%")
    with pytest.raises(UsageError, match="as a fraction: throughput:5%"):
        read_rule("throughput:0.05")
    assert read_rule("loss_validation:100%").threshold == 1.0
    for text in (
        "throughputs:5%",
        "gradient_decay:5%",
    ):  # neither a smaller nor a larger decay is worse
        with pytest.raises(UnknownNameError, match="throughput"):
            read_rule(text)


def test_environments_differ_by_their_stable_facts():
    elsewhere = HERE | {"cpu": {"model": "two"}}
    newer = HERE | {"python": {"version": "3.12"}}
    assert different_facts(launches(), launches()) == []
    (told,) = different_facts(launches(), launches(place="there", environment=elsewhere))
    assert told.startswith("cpu:")
    assert (
        different_facts(launches(), launches(place="newer", environment=newer), ignored=("python",))
        == []
    )
    assert different_facts(launches(), launches(place="newer", environment=newer))


def test_machines_that_differ_in_their_cards_alone_are_told_apart():
    card, other = (
        {"gpus": [{"name": name, "driver_version": "1"}]} for name in ("One 80GB", "Two 40GB")
    )
    one = launches(place="one", environment=HERE | card)
    (told,) = different_facts(one, launches(place="two", environment=HERE | other))
    assert told == "cards: ['One 80GB'] against ['Two 40GB']"
    (told,) = different_facts(launches(), one)
    assert told == "cards: None against ['One 80GB']"


def test_a_trial_measured_on_another_machine_is_seen_although_both_sides_know_both_machines():
    elsewhere = {"place": "there", "environment": HERE | {"cpu": {"model": "two"}}}
    short, long = trial(length=20), trial(length=30)
    base = launches(short) + launches(long, **elsewhere)
    assert different_facts(base, launches(short) + launches(long, **elsewhere)) == []
    assert different_facts(base, launches(short, **elsewhere) + launches(long))
    assert (
        different_facts(base, launches(trial(length=40), **elsewhere)) == []
    )  # nothing in common is not compared


def store(path, *records, runs=1):
    with Store.open(path) as opened:
        for _ in range(runs):
            run_id = opened.begin_run("test")
            for record in records:
                opened.add(record, run_id)
    return str(path)


def run(*arguments):
    return CliRunner().invoke(cli, ["compare", *arguments], standalone_mode=False)


def status(result):
    return result.exception or result.return_value


@pytest.fixture
def base(tmp_path):
    records = [record for length in (20, 30, 40, 50) for record in launches(trial(length=length))]
    return store(tmp_path / "base.sqlite", *records)


def test_a_failing_a_missing_a_slower_and_an_unchanged_trial_get_four_verdicts_and_status_4(
    base, tmp_path
):
    failing = launches(trial(length=20), statuses=BROKEN)
    slower, unchanged = launches(trial(length=40), factor=1.3), launches(trial(length=50))
    new = store(tmp_path / "new.sqlite", *failing, *slower, *unchanged)
    result = run(base, new, "--format", "json")
    rows = json.loads(result.stdout)
    found = {row["length"]: row["verdict"] for row in rows[:-1]}
    assert found == {20: "newly_failing", 30: "missing", 40: "slower", 50: "same"}
    assert rows[-1]["suite"]["regressions"] == 3
    assert status(result) == 4
    assert status(run(base, new, "--allow", "newly-failing,missing,slower")) == 0


def test_stores_of_two_machines_are_refused_with_status_5(base, tmp_path):
    other = HERE | {"cpu": {"model": "two"}}
    new = store(tmp_path / "new.sqlite", *launches(place="there", environment=other))
    result = run(base, new)
    assert (status(result), result.stdout) == (5, "")
    assert "the environments differ" in result.stderr
    assert "--allow-mixed" in result.stderr
    assert status(run(base, new, "--allow-mixed", "--allow", "missing")) == 0


def test_stores_without_a_common_trial_end_with_status_5(base, tmp_path):
    new = store(tmp_path / "new.sqlite", *launches(trial(length=99)))
    result = run(base, new)
    assert (status(result), "no trial in common" in result.stderr) == (5, True)


def test_runs_of_one_store_are_compared(tmp_path):
    path = store(tmp_path / "s.sqlite", *launches(), runs=2)
    for pair in (("1", "2"), ("last~1", "last"), (f"{path}@1", f"{path}@2"), (f"{path}@all", path)):
        result = run(*pair, "--store", path, "--format", "json")
        assert (status(result), json.loads(result.stdout)[0]["verdict"]) == (
            0,
            "same",
        ), pair


def test_runs_of_one_store_on_two_machines_are_refused_and_all_takes_the_latest_run_of_each_trial(
    tmp_path,
):
    path = tmp_path / "s.sqlite"
    there = launches(place="there", environment=HERE | {"cpu": {"model": "two"}}, factor=2)
    for records in (launches(), there, launches(trial(length=30))):
        store(path, *records)
    result = run("1", "2", "--store", str(path))
    assert (status(result), "the environments differ" in result.stderr) == (5, True)
    assert status(run(f"{path}@all", f"{path}@1")) == 5
    rows = json.loads(run(f"{path}@all", f"{path}@2", "-f", "json").stdout)
    assert {row["length"]: row["verdict"] for row in rows[:-1]} == {20: "same", 30: "missing"}


@pytest.mark.parametrize("pair", [("3", "1"), ("last~7", "last")])
def test_a_run_that_is_not_there_is_named_with_those_that_are(tmp_path, pair):
    path = store(tmp_path / "s.sqlite", *launches(), runs=2)
    error = status(run(*pair, "--store", path))
    assert isinstance(error, UsageError)
    assert "its runs: 1, 2" in str(error)


def test_engines_and_interpreters_of_one_run_are_compared(tmp_path):
    engines = launches() + launches(trial(backend="torch", variant="library"), factor=0.5)
    path = store(tmp_path / "engines.sqlite", *engines)
    for pair in (("numpy", "torch"), ("numpy:loop", "torch:library")):
        assert (
            json.loads(run(*pair, "--store", path, "-f", "json").stdout)[0]["verdict"] == "faster"
        )
    named = launches(trial(python="base")) + launches(trial(python="candidate"))
    path = store(tmp_path / "pythons.sqlite", *named)
    result = run("--by", "python", "base", "candidate", "--store", path, "-f", "json")
    assert json.loads(result.stdout)[0]["verdict"] == "same"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("numpy", "tensorflow"), "unknown backend in this run 'tensorflow'"),
        (("numpy", "tensorflow"), ". Fix: --by backend --run N reads another run"),
        (("a", "b", "--by", "colour"), "unknown axis of --by 'colour'"),
        (("a", "b", "--by", "task_options"), "unknown axis of --by 'task_options'"),
        (("numpy", "numpy", "--allow", "everything"), "unknown verdict"),
        (("1", "1", "--run", "1"), "--run chooses the run for --by"),
    ],
)
def test_bad_input_says_what_is_known(tmp_path, arguments, told):
    error = status(run(*arguments, "--store", store(tmp_path / "s.sqlite", *launches())))
    assert isinstance(error, UsageError)
    assert told in str(error)


def test_the_table_tells_verdicts_reasons_and_the_mean(base):
    found = compare(
        launches() + launches(trial(length=30)), launches(factor=1.3, statuses=("ok",) * 5)
    )
    told = plain(found)
    assert "copy lstm T=20 numpy:loop" in told
    assert "slower ✗" in told
    assert "geometric mean of new / base throughput: 0.769 (n = 1)" in told
    assert "verdicts: 1 slower, 1 missing" in told
    assert max(map(len, told.splitlines())) <= 120
    assert markdown(found).startswith("| trial | base |")


def test_lengths_are_compared_by_their_throughput_and_not_by_the_time_of_a_step(tmp_path):
    long = [
        replace(
            record, trial=trial(length=40), figures=record.figures | {"step_seconds_median": 2.0}
        )
        for record in launches()
    ]
    path = store(tmp_path / "s.sqlite", *launches(), *long)
    result = run("--by", "length", "20", "40", "--store", path, "-f", "json")
    assert json.loads(result.stdout)[0]["verdict"] == "same"
    assert "T=" not in run("--by", "length", "20", "40", "--store", path).stdout


def test_the_change_is_that_of_the_throughputs_shown():
    base, new = launches()[:2], [*launches(factor=0.5)[:1], *launches(factor=4)[:1]]
    row = verdict(base, new)
    shown = row.new.figures["tokens_per_second"] / row.base.figures["tokens_per_second"] - 1
    assert row.effect.change == pytest.approx(shown)


def test_rows_of_shuffled_launches_are_in_the_order_of_their_settings():
    both = [*launches(trial(length=50)), *launches(trial(length=20)), *launches(trial(length=30))]
    assert [row.trial.length for row in compare(both, both).rows] == [20, 30, 50]
    single = [both[0], both[5], both[10]]
    assert [row.trial.length for row in compare(single, single).rows] == [50, 20, 30]


def test_plain_and_checkpointed_launches_are_compared_in_one_table():
    both = [
        one for checkpoint in ("off", 64, "auto") for one in launches(trial(checkpoint=checkpoint))
    ]
    assert [row.trial.checkpoint for row in compare(both, both).rows] == [64, "auto", "off"]


def test_rules_hold_for_trials_without_a_speed_too():
    speeds = {"step_seconds_median", "tokens_per_second"}
    silent, worse = (
        [
            replace(one, figures={k: v for k, v in one.figures.items() if k not in speeds} | change)
            for one in launches()
        ]
        for change in ({}, {"loss_validation": 0.9})
    )
    rule = read_rule("loss_validation:0.02")
    row = verdict(silent, worse, rules=[rule])
    assert (row.verdict, row.regressions) == ("not_comparable", ("loss_validation:0.02",))
    assert verdict(silent, silent, rules=[rule]).regressions == ()
    assert verdict(launches(), silent, rules=[read_rule("throughput:5%")]).regressions == (
        "throughput:5%",
    )


def test_where_nothing_can_be_told_of_any_trial_the_status_is_5(tmp_path):
    failing = store(tmp_path / "failing.sqlite", *launches(statuses=BROKEN))
    result = run(failing, failing)
    assert (status(result), "fails on both sides" in result.stdout) == (5, True)
    silent = [replace(record, figures={"loss_validation": 0.5}) for record in launches()]
    path = store(tmp_path / "silent.sqlite", *silent)
    assert status(run(path, path)) == 5
    assert status(run(path, path, "--fail-on", "loss_validation:0.02")) == 0


def test_a_rule_on_a_figure_that_base_lacks_is_told_and_is_no_judgement(tmp_path):
    rules = [read_rule("accuracy:0.1"), read_rule("loss_validation:0.02")]
    found = compare(launches(), launches(), rules=rules)
    assert found.rows[0].unchecked == ("accuracy:0.1",)
    assert "not checked (accuracy:0.1): base has no such figure [copy lstm" in plain(found)
    assert compare_text.json_rows(found)[0]["unchecked"] == ["accuracy:0.1"]
    path = store(
        tmp_path / "silent.sqlite",
        *[replace(one, figures={"loss_validation": 0.5}) for one in launches()],
    )
    assert status(run(path, path, "--fail-on", "throughput:5%")) == 5
    assert (
        status(run(path, path, "--fail-on", "throughput:5%", "--fail-on", "loss_validation:0.02"))
        == 0
    )


def test_the_last_run_is_never_one_of_the_doctors(tmp_path):
    path = store(
        tmp_path / "s.sqlite", *launches(), *launches(trial(backend="torch", variant="library"))
    )
    with Store.open(path) as opened:
        run_id = opened.begin_run("harness doctor")
        opened.add(launches(trial(length=99))[0], run_id)
    rows = json.loads(run("numpy", "torch", "--store", path, "-f", "json").stdout)
    assert (rows[0]["verdict"], rows[0]["length"]) == ("same", 20)
    assert status(run("1", "last", "--store", path)) == 0
    assert status(run("1", "2", "--store", path)) == 5  # by its number it can be had
    reported = CliRunner().invoke(
        cli, ["report", path, "--run", "last", "-f", "json"], standalone_mode=False
    )
    assert {row["length"] for row in json.loads(reported.stdout)} == {20}


def test_a_store_that_is_not_there_is_no_engine(tmp_path):
    for pair in (("gone.sqlite", "gone.db"), (str(tmp_path / "a"), str(tmp_path / "b"))):
        assert f"there is no store {pair[0]}" in str(status(run(*pair)))


def test_a_folder_of_an_engines_name_hides_no_engine(tmp_path, monkeypatch):
    path = store(
        tmp_path / "s.sqlite", *launches(), *launches(trial(backend="torch", variant="library"))
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch").mkdir()
    assert status(run("numpy", "torch", "--store", path)) == 0


def test_sides_without_a_common_trial_are_told_what_else_differs(tmp_path):
    cosine = launches(trial(schedule="cosine", schedule_steps=9))
    path = store(tmp_path / "s.sqlite", *launches(), *cosine)
    result = run("--by", "schedule", "constant", "cosine", "--store", path)
    assert (status(result), "they differ in schedule_steps too" in result.stderr) == (5, True)


def test_a_broken_rule_is_told_as_it_was_written():
    found = compare(
        launches(), launches(loss_validation=0.9), rules=[read_rule("loss_validation:0.02")]
    )
    assert "regression (loss_validation:0.02)" in plain(found)


def test_runs_that_hold_nothing_have_nothing_to_compare(tmp_path):
    path = store(tmp_path / "s.sqlite", runs=2)
    result = run("1", "2", "--store", path)
    assert (status(result), "no trial in common" in result.stderr) == (5, True)


def test_in_80_columns_no_name_and_no_interval_is_cut():
    found = compare(
        launches() + launches(trial(length=30)), launches(factor=1.3, loss_validation=0.75)
    )
    lines = plain(found, width=80).splitlines()
    assert lines[2] == "copy lstm T=20 numpy:loop  slower ✗"
    assert "-24.2% .. -21.9%" in lines[3]
    assert lines[3].endswith("0.500 → 0.750")
    assert "copy lstm T=30 numpy:loop  missing ✗" in lines
    assert max(map(len, lines)) <= 80


def test_a_terminal_that_has_ascii_only_gets_ascii():
    found = compare(launches(), launches(factor=1.3, loss_validation=0.75))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=stream, width=100).print(compare_text.to_table(found))
    stream.flush()
    told = stream.buffer.getvalue().decode("ascii")
    assert "slower x" in told
    assert "0.500 > 0.750" in told


def test_sides_measured_one_after_the_other_need_more_than_the_machines_drift():
    later = {"at": HOUR}
    equal, little, much = (
        verdict(launches(), launches(factor=f, **later)) for f in (1.0, 1.08, 1.3)
    )
    assert [row.verdict for row in (equal, little, much)] == [
        "cannot_tell",
        "cannot_tell",
        "slower",
    ]
    assert "may drift by 10.0% between sides that are not interleaved" in equal.reason
    assert (equal.drift, verdict(launches(), launches()).drift) == (0.10, None)
    assert equal.effect.low < -0.09
    assert equal.effect.high > 0.09


def test_a_drift_that_is_known_takes_the_place_of_the_assumed_one():
    steady = {"drift": 0.01}
    assert verdict(launches(), launches(factor=1.08, at=HOUR), **steady).verdict == "slower"
    assert verdict(launches(), launches(at=HOUR), **steady).verdict == "same"


def test_the_drift_is_blamed_only_where_it_hides_something():
    noisy = [replace(one, figures=one.figures | {"tokens_per_second": 640 / (1 + 0.3 * n)})
             for n, one in enumerate(launches(at=HOUR))]  # fmt: skip
    assert "scatter too widely" in verdict(launches(), noisy).reason
    floors = {"*": Floor(0.5)}
    assert "noise floor" in verdict(launches(), launches(factor=1.3, at=HOUR), floors=floors).reason


def test_launches_take_turns_or_they_do_not():
    early, late = launches(), launches(at=HOUR)
    assert interleaved(early, early)
    assert interleaved(early[::2] + late[1::2], early[1::2] + late[::2])
    assert not interleaved(early, late)
    assert not interleaved(late, early)
    assert not interleaved(early, [])


def test_a_run_between_the_halves_of_another_took_no_turns():
    halves, between = launches() + launches(at=2 * HOUR), launches(at=HOUR) + launches(at=HOUR + 60)
    assert not interleaved(halves, between)
    assert not interleaved(between, halves)
    slower = launches(factor=1.08) * 2
    pairs = zip(between, slower, strict=True)
    row = verdict(halves, [replace(launch, figures=other.figures) for launch, other in pairs])
    assert (row.verdict, row.drift) == ("cannot_tell", 0.10)


def test_launches_added_to_many_earlier_ones_took_turns_for_a_part_only():
    earlier, beside = launches() + launches(at=100), launches(at=HOUR + 5)
    assert interleaved(launches(at=HOUR), beside)
    assert not interleaved(earlier + launches(at=HOUR), beside)


def test_launches_that_all_began_in_one_second_may_have_taken_turns():
    both = [
        [replace(record, started_at="2026-01-01T00:00:00+00:00") for record in launches()]
        for _ in range(2)
    ]
    assert interleaved(*both)


def test_launches_on_two_machines_took_no_turns_and_those_of_two_pythons_may_have():
    elsewhere = launches(place="there", environment=HERE | {"cpu": {"model": "two"}})
    newer = launches(place="newer", environment=HERE | {"python": {"version": "3.12"}})
    assert not interleaved(launches(), elsewhere)
    assert interleaved(launches(), newer)


@pytest.mark.parametrize(
    ("details", "after", "turns"),
    [
        ({"wall_seconds": 9.0}, 3, False),  # for 6 seconds of 9 both run
        ({"wall_seconds": 4.5}, 3, True),  # for less than starts are rounded by
        ({"wall_seconds": 9.0, "jobs": 2}, 3, True),
        ({"wall_seconds": 9.0, "node": "one"}, 3, True),
        ({}, 3, True),
    ],
)
def test_launches_of_two_runs_at_once_took_no_turns_though_they_alternate(details, after, turns):
    base, new = ([replace(one, details=details) for one in launches(at=at)] for at in (0, after))
    assert interleaved(base, new) == turns


@pytest.mark.parametrize("start", [None, "", "yesterday", "2026-13-01T00:00:00"])
def test_a_start_that_cannot_be_read_took_no_turns(start):
    assert not interleaved(launches(), [replace(record, started_at=start) for record in launches()])


def test_a_start_without_a_time_zone_is_in_utc():
    naive = [
        replace(record, started_at=record.started_at.removesuffix("+00:00"))
        for record in launches()
    ]
    assert interleaved(launches(), naive)


def test_only_launches_that_count_take_turns():
    def stopped(at):
        return [replace(record, status="interrupted", figures={}) for record in launches(at=at)]

    assert verdict(launches(), launches() + stopped(HOUR)).drift is None
    assert verdict(launches(at=HOUR), stopped(2 * HOUR) + launches(at=0)).drift == 0.10


def test_of_single_launches_nothing_is_said_about_turns(tmp_path):
    single = launches()[:1] + launches(trial(backend="torch", variant="library"), at=9)[:1]
    result = run("numpy", "torch", "--store", store(tmp_path / "s.sqlite", *single), "-f", "json")
    found = json.loads(result.stdout)[0]
    assert (found["verdict"], found["interleaved"], found["drift"]) == ("cannot_tell", None, None)


def test_runs_one_after_the_other_are_told_and_their_drift_can_be_given(tmp_path):
    path = store(tmp_path / "s.sqlite", *launches())
    store(path, *launches(factor=1.08, at=HOUR))
    table = run("1", "2", "--store", path)
    assert (status(table), "not interleaved: the machine may drift by 10.0%" in table.stdout) == (
        0,
        True,
    )
    still = run("1", "2", "--store", path, "--drift", "0%").stdout
    assert "stood still between runs (--drift 0%)" in " ".join(still.split())
    found = json.loads(run("1", "2", "--store", path, "--drift", "2.5%", "-f", "json").stdout)[0]
    assert (found["verdict"], found["interleaved"], found["drift"]) == ("slower", False, 0.025)
    assert "not interleaved" not in run("1", "1", "--store", path).stdout


@pytest.mark.parametrize("text", ["3", "-1%", "100%", "nan%", "three"])
def test_a_drift_is_a_percentage(text):
    assert "is not a percentage from 0% to below 100%" in str(
        status(run("1", "2", "--drift", text))
    )


def separate(count, factor=1.25, **fields):
    """Two sides of ``count`` trials; one side is ahead in every launch: p = 0.008 in each trial."""
    trials = [trial(seed=seed, **fields) for seed in range(count)]
    return [one for t in trials for one in launches(t)], [
        one for t in trials for one in launches(t, factor)
    ]


def test_holms_method_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )  # Holm (1979), by hand
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("count", "told"), [(1, "slower"), (6, "slower"), (7, "cannot_tell"), (40, "cannot_tell")]
)
def test_the_more_trials_a_table_has_the_more_it_takes(count, told):
    found = compare(*separate(count))
    assert found.counts == {told: count}
    p = found.rows[0].effect
    assert (p.p_value, p.p_adjusted) == (
        pytest.approx(2 / 252),
        pytest.approx(min(1, count * 2 / 252)),
    )
    text = plain(found)
    assert ("by Holm's method" in text) == (count > 1)
    if told == "cannot_tell":
        assert f"measure with --launches {enough_launches(count)} or more" in text.replace(
            "\n", " "
        )
        assert enough_launches(count) == (6 if count == 7 else 7)
    row, *_, suite = compare_text.json_rows(found)
    assert row["p_adjusted"] == pytest.approx(min(1, count * row["p_value"]))
    assert suite["suite"]["tests"] == count


def test_as_many_launches_as_are_asked_for_are_enough():
    for count in (1, 2, 6, 7, 40, 1000):
        launched = enough_launches(count)
        base, new = (
            [1 + 0.001 * n for n in range(launched)],
            [2 + 0.001 * n for n in range(launched)],
        )
        assert {one.verdict for one in corrected([compare_speed(base, new, 0.03)] * count)} == {
            "slower"
        }
        few = (base[:-1], new[:-1])
        assert {one.verdict for one in corrected([compare_speed(*few, 0.03)] * count)} == {
            "cannot_tell"
        }


def test_tables_of_equal_code_rarely_show_a_difference():
    """A thousand tables of twenty comparisons: uncorrected, over a fifth would show one."""
    base, new = np.random.default_rng(3).lognormal(0, 0.2, (2, 1000, 20, 6))
    p_values = mannwhitneyu(base, new, axis=-1, method="exact").pvalue
    tables = [
        [Effect("faster", 0.2, 0.1, 0.3, p_value=float(p)) for p in table] for table in p_values
    ]
    shown = [any(one.verdict == "faster" for one in corrected(table)) for table in tables]
    assert (p_values <= ALPHA).any(axis=1).mean() > 0.2
    assert sum(shown) / len(tables) <= FAMILY + 4 * (FAMILY * (1 - FAMILY) / len(tables)) ** 0.5
    assert any(shown)


def test_a_difference_that_is_lost_to_the_number_of_comparisons_may_still_be_surely_small():
    near = Effect("faster", 0.035, 0.031, 0.039, p_value=0.01)
    assert [one.verdict for one in corrected([near] * 6)] == ["same"] * 6


def test_a_build_may_fail_where_nothing_can_be_told(base, tmp_path):
    few = [record for length in (20, 30, 40, 50) for record in launches(trial(length=length))[:2]]
    new = store(tmp_path / "new.sqlite", *few)
    assert status(run(base, new)) == 0
    for name in ("cannot-tell", "cannot_tell"):
        result = run(base, new, "--fail-on", name)
        assert (status(result), "regression (cannot tell)" in result.stdout) == (4, True)
    assert status(run(base, base, "--fail-on", "cannot-tell")) == 0
    mixed = run(
        base, new, "--fail-on", "throughput:5%", "--fail-on", "cannot-tell", "--format", "json"
    )
    assert json.loads(mixed.stdout)[0]["regressions"] == ["cannot_tell"]
    slower = store(tmp_path / "slower.sqlite", *launches(trial(length=20), factor=1.3))
    assert status(run(base, slower, "--fail-on", "cannot-tell", "--allow", "missing")) == 4
    assert "or cannot-tell" in str(run(base, new, "--fail-on", "cannot-say").exception)


def software(numpy, **libraries):
    return HERE | {
        "libraries": {"numpy": numpy, "pluggy": "1.7"} | libraries,
        "plugins": {"rnn-harness": "0.1"},
    }


def test_versions_that_differ_stand_beside_the_names_of_the_sides(tmp_path):
    sides = ((trial(python="base"), "2.4.6", 1), (trial(python="cand"), "2.2.6", 1.3))
    made = [
        one
        for t, numpy, factor in sides
        for one in launches(t, factor, environment=software(numpy))
    ]
    path = store(tmp_path / "s.sqlite", *made)
    result = run("base", "cand", "--by", "python", "--store", path, "--allow", "slower")
    assert "versions: base: numpy 2.4.6 · cand: numpy 2.2.6\n" in result.stdout
    assert "pluggy" not in result.stdout
    result = run("base", "cand", "--by", "python", "--store", path, "-f", "json")
    suite = json.loads(result.stdout)[-1]["suite"]
    assert suite["versions"] == {"numpy": {"base": "2.4.6", "new": "2.2.6"}}
    table = CliRunner().invoke(cli, ["report", path, "-f", "markdown"]).stdout
    assert "- python base: numpy 2.4.6\n- python cand: numpy 2.2.6\n" in table


def test_of_two_engines_only_what_both_have_can_differ():
    jax = launches(trial(backend="jax"), environment=software("2.4.6", jax="0.10"))
    own = launches(environment=software("2.4.6", numba="0.68"))
    assert compare(own, jax, key=same_but("backend")).versions == {}
    without = launches(environment=software("2.2.6"))
    assert compare(own, without).versions == {
        "numpy": ("2.4.6", "2.2.6"),
        "numba": ("0.68", "none"),
    }


def test_a_warm_up_that_was_cut_short_is_told():
    details = {"flags": ["warm-up ended before block times were flat"]}
    flagged = [replace(record, details=record.details | details) for record in launches()]
    assert "warm-up ended before block times were flat" in plain(compare(launches(), flagged))
    assert "warm-up" not in plain(compare(launches(), launches()))
