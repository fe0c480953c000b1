"""``harness plan``, ``harness run --dry-run`` and the JSON schema of plans."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import cli
from harness.cli.output.listing import print_trials
from harness.contract import Record, Trial, UsageError
from harness.measure.machine.environment import machine_id
from harness.plan.file import PlanFile
from harness.plan.request import AXES
from harness.plan.schema import plan_schema
from harness_results.store.store import Store

PUBLISHED = paths.ROOT / "docs" / "plan.schema.json"
PEERS = [
    word
    for name in ("torch", "jax", "flax", "haiku", "equinox", "keras")
    for word in ("-p", f"no:{name}")
]
PLAN = """
launches = 2
timeout = "1m"
[matrix]
backend = ["numpy:loop", "numpy:vectorised"]
task = "copy"
cell = "lstm"
length = [3, 4]
seed = [0, 1]
steps = 5
[backend."numpy:loop"]
dtype = "float64"
"""


@pytest.fixture
def harness(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)
    return lambda *arguments: CliRunner().invoke(cli, [*PEERS, *arguments], standalone_mode=False)


def test_the_published_schema_is_that_of_the_models(harness):
    assert json.loads(PUBLISHED.read_text()) == plan_schema(), (
        "harness plan schema > docs/plan.schema.json"
    )
    assert json.loads(harness("plan", "schema").stdout) == plan_schema()


def test_the_schema_knows_every_key_and_axis_with_its_range():
    schema = plan_schema()
    assert set(schema["properties"]) == set(PlanFile.model_fields)
    assert set(schema["$defs"]["axes"]["properties"]) == set(AXES)
    assert schema["$defs"]["combination"]["properties"]["length"] == {
        "maximum": 1_000_000, "minimum": 1, "type": "integer",
    }  # fmt: skip
    assert {"const": "none"}.items() <= schema["$defs"]["combination"]["properties"]["clip_norm"][
        "anyOf"
    ][1].items()


def test_show_prints_the_settings_in_which_the_trials_differ(harness):
    lines = harness("plan", "show", "plan.toml").stdout.splitlines()
    assert lines[-1] == "8 trials, 2 launches each"
    assert [line.partition("  ")[2] for line in lines[:2]] == [
        "copy lstm T=3 numpy:loop seed=0 dtype=float64",
        "copy lstm T=3 numpy:loop seed=1 dtype=float64",
    ]
    assert "dtype=float32" in lines[-2]


def test_validate_counts_one_trial_in_the_singular(harness, tmp_path):
    (tmp_path / "one.toml").write_text(
        '[matrix]\nbackend = "numpy:loop"\ntask = "copy"\ncell = "lstm"\nlength = 3\n'
    )
    assert harness("plan", "validate", "one.toml").stdout == "one.toml: 1 trial\n"
    assert harness("plan", "show", "one.toml").stdout.endswith("\n1 trial\n")


def test_validate_tells_the_size_of_a_good_plan(harness):
    assert (
        harness("plan", "validate", "plan.toml").stdout == "plan.toml: 8 trials, 2 launches each\n"
    )


def test_validate_shows_a_name_that_a_terminal_would_obey_as_escapes(harness):
    Path("a\x1b[31m.toml").write_text(PLAN)
    assert harness("plan", "validate", "a\x1b[31m.toml").stdout.startswith(
        "a\\x1b[31m.toml: 8 trials"
    )


BAD = """
launchs = 2
timeout = "10x"
[matrix]
backend = "numpy"
task = "cpy"
lenght = [3]
hidden = true
[backend.numpi]
steps = 3
[[include]]
cel = "gru"
"""
PROBLEMS = (
    "bad.toml: unknown option 'launchs'. Did you mean launches?",
    "bad.toml: timeout = '10x'",
    "bad.toml: matrix.hidden = True: no axis takes true or false",
    "matrix: unknown axis 'lenght'. Did you mean length",
    "include.1: unknown axis 'cel'. Did you mean cell",
    "unknown task 'cpy'. Did you mean copy?",
    "backend.numpi: unknown option of a backend 'steps'",
    "backend.numpi: unknown backend 'numpi'. Did you mean numpy?",
)


@pytest.mark.parametrize("verb", [("plan", "validate"), ("plan", "show"), ("run",)])
def test_all_that_is_wrong_is_told_at_once_with_the_place_and_the_nearest_name(
    harness, tmp_path, verb
):
    (tmp_path / "bad.toml").write_text(BAD)
    result = harness(*verb, "bad.toml")
    assert isinstance(result.exception, UsageError)
    assert [problem for problem in PROBLEMS if problem not in str(result.exception)] == []


def test_options_of_a_backend_that_the_plan_does_not_run_are_refused_unless_a_flag_chose_it(
    harness, tmp_path
):
    (tmp_path / "plan.toml").write_text(
        PLAN.replace('["numpy:loop", "numpy:vectorised"]', '"numpy:vectorised"')
    )
    assert "the plan does not run 'numpy:loop'" in str(
        harness("plan", "show", "plan.toml").exception
    )
    shown = harness("run", "plan.toml", "-b", "numpy:vectorised", "--dry-run")
    assert shown.exception is None


@pytest.mark.parametrize("asked", ['["numpy", "numpy:loop"]', '"numpy:all"'])
def test_options_of_a_variant_hold_for_it_however_the_plan_came_to_it(harness, tmp_path, asked):
    matrix = f'[matrix]\nbackend = {asked}\ntask = "copy"\ncell = "lstm"\nlength = 8\n'
    (tmp_path / "plan.toml").write_text(
        matrix + '[backend."numpy:vectorised"]\ndtype = "float64"\n'
    )
    lines = harness("plan", "show", "plan.toml").stdout.splitlines()
    chosen = [line for line in lines if "numpy:vectorised" in line]
    assert len(chosen) == 1
    assert "float64" in chosen[0]
    assert [line for line in lines if "float64" in line] == chosen


def test_a_flag_takes_the_place_of_a_backends_own_option(harness):
    shown = harness("run", "plan.toml", "--dtype", "float32", "--dry-run").stdout
    assert "dtype" not in shown


def test_a_dry_run_tells_what_is_done_and_how_long_the_rest_may_take(harness, tmp_path):
    rows = json.loads(harness("run", "plan.toml", "--dry-run", "--format", "json").stdout)
    assert {(row["launches"], row["launches_done"]) for row in rows} == {(2, 0)}
    assert not (tmp_path / "harness.sqlite").exists()
    trial = {name: value for name, value in rows[0].items() if name in Trial.model_fields}
    with Store.open("harness.sqlite") as store:
        record = Record(
            Trial(**trial), "ok", details={"wall_seconds": 30.0}, environment_id=machine_id()
        )
        store.add(record, store.begin_run("x"))
    lines = harness("run", "plan.toml", "--dry-run").stdout.splitlines()
    assert lines[-2:] == [
        "about 2 min for 4 launches; 12 more are like none that was measured here",
        "8 trials, 2 launches each",
    ]


def test_one_launch_that_is_done_is_counted_in_the_singular(capsys):
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=3)
    print_trials([trial], 1, "text", {trial.trial_id: 1})
    assert capsys.readouterr().out.endswith("  done\n1 of 1 launch is done\n1 trial\n")
