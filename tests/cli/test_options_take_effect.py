"""Every option of a trial or a run reaches the worker and changes what it does."""

import os

import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import NOT_OK, OK, cli
from harness.cli.options.axes import AXES_IN_HELP
from harness.plan import presets
from harness.sweep.rounds import in_rounds
from harness_results.store.store import Store

FAULTY = paths.FAULTY

CHANGES = {
    "hidden": "6", "layers": "2", "dropout": "0.5", "initialisation": "glorot",
    "forget_bias": "1", "chrono": "9", "batch": "3", "steps": "7",
    "optimizer": "sgd", "learning_rate": "0.25", "momentum": "0.5", "decay": "0.5",
    "schedule": "cosine", "schedule_steps": "3", "schedule_factor": "0.5",
    "clip_norm": "0.125", "clip_value": "0.25", "evaluate_every": "2",
    "seed": "3", "data_seed": "4", "evaluation_seed": "5", "dtype": "float64", "threads": "2",
    "backend": "faulty:good", "task": "echo", "cell": "gru", "length": "4", "device": "cpu",
    "beta1": "0.5", "beta2": "0.5", "epsilon": "0.5", "epsilon_in_root": "True",
    "initial_square": "1", "weight_decay": "0.5", "warmup_steps": "4", "schedule_start": "4",
    "checkpoint": "2", "devices": "2", "evaluate_at": "6", "embedding": "5", "tied_readout": "True",
    "patience": "2",
}  # fmt: skip

NEEDS = {
    "momentum": ("--optimizer", "sgd"), "decay": ("--optimizer", "rmsprop"),
    "dropout": ("--layers", "2"), "tied_readout": ("--embedding", "5"),
    "initial_square": ("--optimizer", "rmsprop"), "schedule_start": ("--schedule", "cosine"),
    "patience": ("--evaluate-every", "2", "--learning-rate", "10"),  # it gets worse
    "schedule_steps": ("--schedule", "cosine"), "schedule_factor": ("--schedule", "exponential"),
}  # fmt: skip

WITHOUT_EFFECT = ("backend", "task", "device")  # here: there is only one of each

USUAL = (
    "-b",
    "faulty:good",
    "-t",
    "echo",
    "-c",
    "lstm",
    "-T",
    "3",
    "--hidden",
    "5",
    "--batch",
    "2",
    "--steps",
    "8",
)


def all_measured(tmp_path, *arguments, status=OK):
    """Return the record of every launch, in the order in which they ran."""
    runner, path = CliRunner(), str(tmp_path / "s.sqlite")
    result = runner.invoke(
        cli, ["run", *arguments, "--store", path, "-q", "--format", "json"], standalone_mode=False
    )
    assert result.return_value == status, (result.exception, result.stderr)
    with Store.open(path, create=False) as store:
        return store.launches(with_curves=True)


def measured(tmp_path, *arguments):
    return all_measured(tmp_path, *arguments)[-1]


def behaviour(record):
    """Return what a trial did, apart from what it was asked for."""
    return {name: record.curves[name] for name in ("loss", "gradient_norm", "evaluations")} | {
        "sets": record.details.get("evaluation_sets"),
        "threads": record.details["effective_threads"], "placement": record.details["placement"]
    }  # fmt: skip


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What a trial does without the option in question, by what that option needs."""
    known = {}

    def behaviour_with(needs):
        if needs not in known:
            known[needs] = behaviour(measured(tmp_path_factory.mktemp("usual"), *USUAL, *needs))
        return known[needs]

    return behaviour_with


@pytest.fixture(autouse=True)
def _faulty_plugin(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAULTY))
    monkeypatch.syspath_prepend(FAULTY)


OF_PLANS = ("tokens", "seeds")  # they set other options


@pytest.mark.parametrize("name", [name for name in AXES_IN_HELP if name not in OF_PLANS])
def test_every_option_of_a_trial_reaches_the_worker_and_changes_what_it_does(name, tmp_path, usual):
    if name == "threads" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two threads need two processors")
    option, needs = f"--{name.replace('_', '-')}", NEEDS.get(name, ())
    record = measured(tmp_path, *USUAL, *needs, option, CHANGES[name])
    assert record.status == "ok"
    found = record.trial.engine if name == "backend" else getattr(record.trial, name)
    assert str(found) in {CHANGES[name], f"{CHANGES[name]}.0", f"({CHANGES[name]},)"}
    before = usual(
        () if name == "schedule_factor" else needs
    )  # which that schedule cannot be without
    assert (behaviour(record) == before) == (name in WITHOUT_EFFECT)


def test_tokens_reach_the_worker_as_steps(tmp_path, usual):
    *others, _, _ = USUAL  # all but --steps
    record = measured(tmp_path, *others, "--tokens", "48")
    assert record.trial.steps == 8  # of 2 x 3 tokens
    assert behaviour(record) == usual(())


def test_seeds_reach_the_worker_as_the_seeds_from_zero(tmp_path):
    records = all_measured(tmp_path, *USUAL, "--seeds", "2")
    assert [record.trial.seed for record in records] == [0, 1]
    again = all_measured(tmp_path, *USUAL, "--seeds", "3")
    assert len(again) == 3


def test_fast_is_one_launch_without_evaluations_in_between_and_without_a_sample(tmp_path):
    (tmp_path / "plan.toml").write_text("launches = 2", encoding="utf-8")
    arguments = [str(tmp_path / "plan.toml"), *USUAL[:-1], "160"]
    (tmp_path / "fast").mkdir()
    slow, again = all_measured(tmp_path, *arguments)
    (fast,) = all_measured(tmp_path / "fast", *arguments, "--fast")
    steps = [
        [one["step"] for one in record.curves["evaluations"]] for record in (slow, again, fast)
    ]
    assert steps == [[0, 150, 160], [0, 150, 160], [0, 160]]
    assert ["samples" in record.details for record in (slow, again, fast)] == [True, True, False]


def test_rigorous_is_several_launches_of_each_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "RIGOROUS_LAUNCHES", 3)  # ten would prove no more here
    records = all_measured(tmp_path, *USUAL, "--rigorous")
    assert len(records) == 3
    assert len({record.trial.trial_id for record in records}) == 1


def test_the_order_seed_shuffles_the_launches(tmp_path):
    records = all_measured(
        tmp_path, *USUAL, "--seed", "0,1,2", "--launches", "2", "--order-seed", "7"
    )
    trials = sorted({record.trial for record in records}, key=lambda trial: trial.seed)
    assert (
        [record.trial for record in records] == in_rounds(trials, 2, 7) != in_rounds(trials, 2, 0)
    )


def test_a_launch_that_takes_longer_than_the_timeout_is_ended(tmp_path):
    slow = ["faulty:slow" if word == "faulty:good" else word for word in USUAL]
    (record,) = all_measured(tmp_path, *slow[:-1], "4000", "--timeout", "4s", status=NOT_OK)
    assert (record.status, record.reason) == ("timeout", "timeout after 4 s")
    assert record.trial.variant == "slow"


def test_a_launch_that_holds_more_than_the_memory_limit_is_ended(tmp_path):
    glutton = ["faulty:glutton" if word == "faulty:good" else word for word in USUAL]
    (record,) = all_measured(tmp_path, *glutton, "--memory-limit", "400MiB", status=NOT_OK)
    assert record.status == "out_of_memory"
    assert record.reason.startswith("out of memory: more than the limit of 400 MiB")


def test_a_card_is_given_to_the_launch_that_needs_one(tmp_path):
    record = measured(tmp_path, *USUAL, "--device", "card", "--gpus", "7")
    assert (record.status, record.details["card"]) == ("ok", "7")
    assert record.environment["variables"]["CUDA_VISIBLE_DEVICES"] == "7"


def test_trials_share_a_process_where_that_is_asked_for(tmp_path):
    telling = ["faulty:tells_process" if word == "faulty:good" else word for word in USUAL]
    records = all_measured(tmp_path, *telling, "--seed", "0,1", "--isolation", "backend")
    assert [record.details["isolation"] for record in records] == ["backend"] * 2
    logs = [(tmp_path / "s.sqlite.logs" / record.details["log"]).read_text() for record in records]
    assert len(set("".join(logs).splitlines())) == 1
