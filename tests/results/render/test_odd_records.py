"""A store may hold any record: no verb fails on odd figures, curves, details or environments."""

import copy
import json
import sqlite3
import sys
import zlib
from contextlib import closing

import pytest

from chart_records import curves
from harness.cli import main
from harness.contract import Record, Trial
from harness.contract.records.columns import FIGURE_NAMES
from harness_results.store.store import Store
from harness_results.study.verdicts.faster import effect_of
from harness_results.study.verdicts.order import each_launch
from launched import in_turns

ODD = {
    "text": "x", "huge": 10**400, "minus": -5, "nan": float("nan"), "infinite": float("inf"),
    "true": True, "list": [1, "a", None], "dict": {"a": {"b": [1]}}, "zero": 0,
}  # fmt: skip
DETAILS = {
    "launches": 1, "jobs": 1, "isolation": "launch", "interval": "within-process",
    "deviation": None, "loss": "squared_error", "flags": ["a flag"], "notes": ["a note"],
    "tokens_per_step": 16.0, "recompilations": 0, "overfitting_gap": 0.1, "best_step": 2,
    "best_loss_validation": 0.2, "gradient_horizon_censored": True,
    "limits": {"peak_flops_per_second": 1e9, "chain_seconds": 1e-6, "reason": None},
    "wall_seconds": 2.0, "calibrations": {"peak": 0.1},
    "samples": [{"temperature": 0.5, "prime": "a", "text": "b"}],
    "task": {"ngram_losses": {"uniform": 4.5}}, "versions": {"numpy": "2.0"},
    "effective_threads": 1,
    "launch_figures": [{"tokens_per_second": 1000.0, "step_seconds_median": 0.01}], "affinity": [0],
    "rank_step_seconds_spread": {"min": 0.1, "median": 0.1, "max": 0.2},
    "attempts": [{"status": "failed"}], "warm_up": {"blocks": 2, "steps": 2, "flat": True},
    "phase_seconds": {"load": 1.0}, "log_tail": "end",
    "placement": {"device": "cpu", "dtype": "float32"}, "parity": {"error": 1e-7, "passed": True},
    "traceback": "t",
}  # fmt: skip
ENVIRONMENT = {
    "cpu": {"model": "A"}, "cores": {"physical": 2, "logical": 2}, "gpus": [{"name": "B"}],
    "memory_gibibytes": 24, "system": {"name": "Linux"}, "python": {"version": "3.11"},
    "libraries": {"numpy": "2.0"}, "variables": {"A": "b"},
}  # fmt: skip
VERBS = ("report", "report -f json", "report -f markdown", "report -f html -o page.html",
         "report --relative numpy:loop", "compare numpy:loop numpy:vectorised --store",
         "export --to tensorboard -o board", "status")  # fmt: skip


def parts(length):
    """Return the parts of a record that is right."""
    figures = dict.fromkeys(FIGURE_NAMES, 1.0 + length / 100) | {
        "solved": False,
        "steps_to_solve": None,
    }
    shown = curves(length, 0.9, 12, 0.5) | {"block_seconds": [0.1] * 3, "block_steps": [4] * 3}
    return {"figures": figures, "details": DETAILS, "curves": shown, "environment": ENVIRONMENT}


def paths(content):
    """Yield the path of each value, two levels deep."""
    for key, value in content.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, inner) for inner in value)
        elif isinstance(value, list) and value:
            yield key, 0


def odd_contents(odd):
    """Yield the parts of records with odd values, one in each part, and of some that are right."""
    paths_by_part = {part: list(paths(whole)) for part, whole in parts(8).items()}
    for number in range(max(map(len, paths_by_part.values()))):
        content = copy.deepcopy(parts(8))
        for part, several in paths_by_part.items():
            target = content[part]
            *above, last = several[number % len(several)]
            for key in above:
                target = target[key]
            target[last] = odd
        yield content
    yield from (parts(length) for length in (8, 16, 32))


def write(path, contents):
    """Make a store whose rows hold these parts, as JSON that ``Store.add`` would not write."""
    with Store.open(path) as store:
        run = store.begin_run("harness run")
        for seed in range(len(contents)):
            for variant in ("loop", "vectorised"):
                trial = Trial(
                    backend="numpy", variant=variant, task="adding", cell="lstm", seed=seed,
                    length=(8, 16, 32)[seed % 3],
                )  # fmt: skip
                store.add(
                    Record(trial, "ok", environment={"n": f"{seed} {variant}"}, environment_id="e"),
                    run,
                )
    with closing(sqlite3.connect(path)) as file, file:
        rows = file.execute(
            "SELECT record_id, environment FROM records ORDER BY record_id"
        ).fetchall()
        for (record, environment), content in zip(
            rows, [content for content in contents for _ in range(2)], strict=True
        ):
            texts = {name: json.dumps(value) for name, value in content.items() if name != "curves"}
            file.execute("UPDATE records SET figures = ?, details = ? WHERE record_id = ?",
                         (texts["figures"], texts["details"], record))  # fmt: skip
            file.execute(
                "UPDATE environments SET content = ? WHERE digest = ?",
                (texts["environment"], environment),
            )
            for name, values in content["curves"].items():
                packed = zlib.compress(json.dumps(values).encode())
                file.execute("INSERT INTO curves VALUES (?, ?, ?)", (record, name, packed))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "huge", "minus", "list"])
def test_no_odd_value_ends_a_verb(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    contents = list(odd_contents(ODD[kind]))
    write(tmp_path / "odd.sqlite", contents)
    verbs = [[*verb.split(), "odd.sqlite"] for verb in VERBS]
    with Store.open(tmp_path / "odd.sqlite", create=False) as store:
        some = [record.trial.trial_id for record in store.launches()][::8]
    verbs += [["show", trial, "--store", "odd.sqlite"] for trial in some]
    for arguments in verbs:
        status = main._status(arguments)
        output = capsys.readouterr()
        assert status in {0, 3, 4, 5}, (arguments, output.err[-2000:])
        assert "Traceback" not in output.err


@pytest.mark.parametrize("figure", ["peak_memory_bytes", "tokens_per_second"])
@pytest.mark.parametrize("kind", ["text", "huge", "minus", "nan", "list", "true"])
def test_a_figure_that_is_no_such_figure_is_unknown_and_a_flag_says_so(kind, figure):
    whole = Record(Trial(backend="a", variant="b", task="c", cell="d", length=3), "ok").to_json()
    record = Record.from_json(whole | {"figures": {figure: ODD[kind], "parameters": 7}})
    assert record.figures == {"parameters": 7}
    assert record.details["flags"] == [
        f"the stored record holds values that cannot be read: figures.{figure}"
    ]
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["started_at", "wall_seconds", "status"])
def test_an_odd_value_of_a_launch_ends_no_comparison_and_its_speed_counts_only_with_a_status(
    name, odd
):
    trial = Trial(backend="a", variant="b", task="c", cell="d", length=3)
    base, new = in_turns(
        [Record(trial, "ok", figures={"tokens_per_second": speed}) for speed in (1.0, 2.0)]
    )
    content = new.to_json()
    content["details"]["launch_figures"][0][name] = ODD[odd]
    read = Record.from_json(content)
    assert effect_of(base, read).verdict in {"faster", "cannot_tell"}
    assert [launch.status for launch in each_launch(read)] == [
        "failed" if name == "status" else "ok",
        *["ok"] * 4,
    ]
    good = {"started_at": {"text"}, "wall_seconds": {"zero"}, "status": set()}[name]
    assert (f"details.launch_figures.{name}" in str(read.details.get("flags"))) == (odd not in good)


@pytest.mark.parametrize(
    "name", ["gradient_norm_max", "gradient_norm_median", "loss_validation", "loss_final"]
)
def test_a_loss_or_gradient_norm_is_kept_up_to_the_largest_float(name):
    trial, largest = (
        Trial(backend="a", variant="b", task="c", cell="d", length=3),
        sys.float_info.max,
    )
    kept = Record(trial, "ok", figures={name: largest})
    assert Record.from_json(kept.to_json()) == kept
    beyond = Record.from_json(kept.to_json() | {"figures": {name: 10 * int(largest)}})
    assert name not in beyond.figures


@pytest.mark.slow
def test_the_largest_figures_end_no_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    largest = [parts(length) for length in (8, 16, 32)]
    for part in largest:
        wide = [name for name in FIGURE_NAMES if name.startswith(("loss_", "gradient_norm_"))]
        part["figures"] |= dict.fromkeys(wide, sys.float_info.max)
    write(tmp_path / "odd.sqlite", largest)
    for verb in VERBS:
        status = main._status([*verb.split(), "odd.sqlite"])
        output = capsys.readouterr()
        assert status in {0, 4, 5}, (verb, output.err[-2000:])
        assert "cannot be read" not in output.out


def test_a_record_that_is_right_is_read_as_it_was_written():
    whole = Record(
        Trial(backend="a", variant="b", task="c", cell="d", length=3), "ok", **parts(8)
    ).to_json()
    assert Record.from_json(whole).to_json() == whole
