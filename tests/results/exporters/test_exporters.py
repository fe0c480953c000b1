"""``harness export``: TensorBoard and MLflow read back what the records say. Nothing is sent."""

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import harness_results.exporters as package
from harness.cli.main import OK, USAGE, cli
from harness.contract import (
    Record,
    StoreError,
    Trial,
    UnavailableError,
    UnknownNameError,
    UsageError,
)
from harness_results.exporters import TARGETS, exporter
from harness_results.exporters.conversion import shared
from harness_results.exporters.folder import MARK, replaced
from harness_results.store.store import Store
from harness_results.study.launches import of_each_environment

HOSTILE = (
    "</script><img src=x onerror=alert(1)> ![](http://evil.example/x.png) "
    "[bold] \x1b[31m \ud800 \x00\n# =cmd()"
)
STARTED = "2026-01-01T00:00:00+00:00"
EPOCH = 1767225600.0
FLOW = {
    "lags": [0, 1, 2],
    "median": [1.0, 0.5, None],
    "low": [0.9, 0.4, 1e-30],
    "high": [2.0, 1.0, 0.1],
    "layers": [[1.0, 0.5, 0.25]],
    "horizon": None,
    "censored": False,
    "decay": 0.5,
}
CURVES = {
    "loss": [2.5, 1.5, None, 0.1],
    "gradient_norm": [1e-42, 3.0, 4.0, 1e9],
    "evaluations": [
        {
            "step": 0,
            "loss_validation": 2.0,
            "loss_train_eval": None,
            "accuracy": 0.1,
            "extra": {"exact/<b>": 0.0},
        },
        {
            "step": 4,
            "loss_validation": 0.3,
            "loss_train_eval": 0.2,
            "accuracy": 0.9,
            "extra": {"exact/<b>": 0.75},
        },
        {"step": 4, "loss_validation": 0.4, "tokens_validation": 50},  # in full: other data
    ],
    "evaluation_sets": [
        {"step": 0, "name": "T=40", "length": 40, "loss_validation": 2.0},
        {"step": 4, "name": "T=40", "length": 40, "loss_validation": 1.5, "extra": {"every": 0.5}},
    ],
    "gradient_flow": {"initial": FLOW, "final": FLOW},
    "block_seconds": [0.5, 0.25],
    "block_steps": [2, 1],
}
FIGURES = {
    "loss_final": 1 / 3,
    "solved": True,
    "parameters": 310,
    "tokens_per_second": 123456.789,
    "accuracy": None,
}


def record(length=20, status="ok", *, environment_id="e1", **fields) -> Record:
    options = {"symbols": 8, "text": HOSTILE}
    trial = Trial(
        backend="numpy", variant="loop", task="copy", cell="lstm", length=length,
        task_options=options, steps=4, seed=2**62 + 1,
    )  # fmt: skip
    defaults = {
        "figures": FIGURES,
        "curves": CURVES,
        "started_at": STARTED,
        "harness_version": "0.1.0",
    }
    return Record(trial, status, environment_id=environment_id, **{**defaults, **fields})


def store_of(path: Path, *runs: list[Record]) -> Path:
    with Store.open(path) as store:
        for number, records in enumerate(runs):
            run_id = store.begin_run(f"harness run {number}")
            for each in records:
                store.add(each, run_id)
    return path


@pytest.fixture
def stored(tmp_path) -> Path:
    """A trial of two launches, one on two machines, a failed trial and one that was killed early.

    The reason of the failure is hostile.
    """
    faster = record(
        figures={**FIGURES, "tokens_per_second": 200000.0}, details={"flags": ["unsteady"]}
    )
    failed = record(
        50, "failed", reason=HOSTILE, figures={"loss_initial": 2.5}, details={"wall_seconds": 2.5}
    )
    killed = record(60, "interrupted", figures={}, curves={}, started_at=None)
    return store_of(
        tmp_path / "s.db",
        [record(30), record(), faster],
        [record(30, environment_id="other/\x1b"), failed, killed],
    )


def export(store, target, home, *more):
    arguments = ["export", store, "--to", target, "-o", home, *more]
    result = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == OK
    return result


def expected(stored) -> dict[str, object]:
    """Return name -> trial of all that a report of the store shows."""
    with Store.open(stored, create=False) as store:
        shown = of_each_environment(
            store.launches(run.run_id, with_curves=True) for run in store.runs()
        )
    number = Counter(each.trial.trial_id for each in shown)
    trials = [shared(each, alone=number[each.trial.trial_id] == 1) for each in shown]
    return {trial.name: trial for trial in trials}


def test_a_trial_has_all_that_its_record_has_and_nothing_that_is_unknown():
    trial = shared(record(), alone=True)
    assert trial.name == f"copy-lstm-T20-numpy-loop-{record().trial.trial_id}"
    assert trial.figures == {
        "loss_final": 1 / 3,
        "solved": 1.0,
        "parameters": 310.0,
        "tokens_per_second": 123456.789,
    }
    assert (trial.settings["hidden"], trial.settings["task_options.symbols"]) == (128, 8)
    assert "clip_norm" not in trial.settings
    series = {each.name: list(zip(each.steps, each.values, strict=True)) for each in trial.series}
    assert series == {
        "curves/loss": [(1, 2.5), (2, 1.5), (4, 0.1)],
        "curves/gradient_norm": [(1, 1e-42), (2, 3.0), (3, 4.0), (4, 1e9)],
        "evaluations/exact_2f__3c_b_3e_": [(0, 0.0), (4, 0.75)],
        "evaluations/loss_validation": [(0, 2.0), (4, 0.3)],
        "evaluations/loss_train_eval": [(4, 0.2)],
        "evaluations/accuracy": [(0, 0.1), (4, 0.9)],
        "evaluations/T_3d_40/loss_validation": [(0, 2.0), (4, 1.5)],
        "evaluations/T_3d_40/every": [(4, 0.5)],
        **{
            f"gradient_flow/{moment}/{name}": points
            for moment in ("initial", "final")
            for name, points in {
                "median": [(0, 1.0), (1, 0.5)],
                "low": [(0, 0.9), (1, 0.4), (2, 1e-30)],
                "high": [(0, 2.0), (1, 1.0), (2, 0.1)],
                "layer_0": [(0, 1.0), (1, 0.5), (2, 0.25)],
            }.items()
        },
    }


def test_further_scores_are_figures_by_their_names():
    figures = shared(
        record(details={"scores": {"exact_match": 0.5, "odd": None}}), alone=True
    ).figures
    assert figures["scores.exact_match"] == 0.5
    assert "scores.odd" not in figures


def test_times_are_those_of_the_timed_blocks():
    loss = shared(record(), alone=True).series[0]
    assert loss.seconds == [EPOCH, EPOCH + 0.25, EPOCH + 0.75]  # step 1 is before the first block
    evaluations = shared(record(), alone=True).series[3]
    assert evaluations.seconds == [EPOCH, EPOCH + 0.75]
    assert shared(record(curves={"loss": [1.0]}), alone=True).series[0].seconds == [EPOCH]
    assert shared(record(started_at="soon"), alone=True).started == 0.0
    assert shared(record(details={"wall_seconds": 2.0}), alone=True).ended == EPOCH + 2


@pytest.mark.parametrize(
    "curves",
    [
        {"loss": "text", "evaluations": {"step": 1}, "gradient_flow": [1], "block_steps": 3},
        {
            "loss": [True, "x", 10**400, math.inf],
            "evaluations": [3, {"step": "x", "loss_validation": 1.0}, {}],
        },
        {
            "gradient_flow": {
                "initial": {"lags": [0, -1, "x", 2**70], "median": [1.0, 1.0, 1.0, 1.0]}
            }
        },
        {"loss": [1.0], "block_steps": [-1, 0, 1e300], "block_seconds": [-1, None, 1]},
    ],
)
def test_odd_curves_of_a_foreign_store_do_no_harm(curves):
    trial = shared(record(curves=curves, figures={"loss_final": "odd"}), alone=True)
    assert trial.figures == {}
    assert all(
        math.isfinite(value) for each in trial.series for value in (*each.values, *each.seconds)
    )
    assert all(
        type(step) is int and 0 <= step < 2**63 for each in trial.series for step in each.steps
    )


def test_names_stay_names():
    hostile = record(environment_id=f"../../{HOSTILE}")
    assert set(shared(hostile, alone=False).name) <= set("abcdefghijklmnopqrstuvwxyzT0123456789-")
    dots = record().trial.model_copy(
        update={"task": "..", "cell": "." * 64, "backend": "x" * 64, "variant": "y" * 64}
    )
    name = shared(replace(record(), trial=dots), alone=True).name
    assert name.endswith(dots.trial_id)
    assert len(name) < 200


def tags_of(trial) -> set[str]:
    series = {each.name for each in trial.series}
    figures = {f"figures/{name}" for name in trial.figures}
    return series | figures


@pytest.mark.filterwarnings("ignore:::tensorboard")
def test_tensorboard_reads_back_every_number(stored, tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard"
    )
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    message = export(stored, "tensorboard", tmp_path / "tb").stderr
    assert (
        f"5 trials written to {tmp_path / 'tb'}. To look: tensorboard --logdir {tmp_path / 'tb'}"
        in message
    )
    wanted = expected(stored)
    assert len(wanted) == 5
    assert {path.name for path in (tmp_path / "tb").iterdir() if path.is_dir()} == set(wanted)
    for name, trial in wanted.items():
        events = accumulator.EventAccumulator(
            str(tmp_path / "tb" / name), size_guidance={"scalars": 0, "tensors": 0}
        )
        events.Reload()
        assert set(events.Tags()["scalars"]) == tags_of(trial)
        for tag, value in trial.figures.items():
            assert [event.value for event in events.Scalars(f"figures/{tag}")] == [
                np.float32(value)
            ]
        for series in trial.series:
            scalars = events.Scalars(series.name)
            read = [(scalar.step, scalar.value, scalar.wall_time) for scalar in scalars]
            values = map(np.float32, series.values)
            assert read == list(zip(series.steps, values, series.seconds, strict=True))
        texts = {
            tag: events.Tensors(f"tags/{tag}/text_summary")[0].tensor_proto.string_val[0]
            for tag in trial.tags
        }
        assert {tag: text.decode() for tag, text in texts.items()} == {
            tag: "\n".join(f"    {line}" for line in text.split("\n"))
            for tag, text in trial.tags.items()
        }


@pytest.mark.filterwarnings("ignore:::tensorboard")
def test_tensorboard_shows_settings_and_status_of_all_trials(stored, tmp_path):
    plugin_data = pytest.importorskip(
        "tensorboard.plugins.hparams.plugin_data_pb2", reason="needs tensorboard"
    )
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    export(stored, "tensorboard", tmp_path / "tb")

    def read(folder, name):
        events = accumulator.EventAccumulator(str(folder)).Reload()
        content = events.SummaryMetadata(f"_hparams_/{name}").plugin_data.content
        return plugin_data.HParamsPluginData.FromString(content)

    for name, trial in expected(stored).items():
        started = read(tmp_path / "tb" / name, "session_start_info").session_start_info
        values = {
            key: getattr(value, value.WhichOneof("kind")) for key, value in started.hparams.items()
        }
        assert values.pop("status") == trial.status
        assert values.pop("environment_id") == trial.tags["environment_id"]
        assert values == {**trial.settings, "seed": str(2**62 + 1)}
        ended = read(tmp_path / "tb" / name, "session_end_info").session_end_info
        assert ended.status == (1 if trial.status == "ok" else 2)
    experiment = read(tmp_path / "tb", "experiment").experiment
    infos = {info.name: list(info.domain_discrete) for info in experiment.hparam_infos}
    assert infos["length"] == [20, 30, 50, 60]
    assert infos["status"] == ["failed", "interrupted", "ok"]
    assert {info.name.tag for info in experiment.metric_infos} == {
        "figures/loss_final", "figures/solved", "figures/parameters", "figures/loss_initial",
        "figures/tokens_per_second", "figures/tokens_per_second_low",
        "figures/tokens_per_second_high",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:::tensorboard")
def test_texts_in_tensorboard_are_shown_as_they_are(stored, tmp_path):
    plugin_util = pytest.importorskip("tensorboard.plugin_util", reason="needs tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    export(stored, "tensorboard", tmp_path / "tb")
    (name,) = [name for name, trial in expected(stored).items() if trial.status == "failed"]
    events = accumulator.EventAccumulator(str(tmp_path / "tb" / name)).Reload()
    shown = plugin_util.markdown_to_safe_html(
        events.Tensors("tags/reason/text_summary")[0].tensor_proto.string_val[0]
    )
    assert shown.startswith("<pre><code>")
    assert shown.count("<") == 4
    assert "evil.example" in shown
    assert "\\x1b[31m \\ud800 \\x00" in shown


def test_an_event_file_is_the_same_each_time(stored, tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")

    def content():
        export(stored, "tensorboard", tmp_path / "tb")
        return {path: path.read_bytes() for path in (tmp_path / "tb").rglob("*") if path.is_file()}

    assert content() == content()


@pytest.fixture
def mlflow():
    pytest.importorskip("alembic", reason="needs alembic")
    return pytest.importorskip("mlflow", reason="needs mlflow-skinny")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_back_every_number(stored, tmp_path, mlflow, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    message = export(stored, "mlflow", tmp_path / "ml").stderr
    uri = f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}"
    assert f"To look: mlflow ui --backend-store-uri {uri}" in message
    assert not list((tmp_path / "elsewhere").iterdir())
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("copy")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    wanted = expected(stored)
    assert set(runs) == set(wanted)
    for name, trial in wanted.items():
        run = runs[name]
        assert run.data.params == {key: str(value) for key, value in trial.settings.items()}
        assert run.data.tags == {**trial.tags, "mlflow.runName": name}
        assert set(run.data.metrics) == {*trial.figures, *(series.name for series in trial.series)}
        for tag, value in trial.figures.items():
            assert run.data.metrics[tag] == value
        for series in trial.series:
            history = client.get_metric_history(run.info.run_id, series.name)
            read = sorted((metric.step, metric.value, metric.timestamp) for metric in history)
            times = [round(1000 * seconds) or 1 for seconds in series.seconds]
            assert read == list(zip(series.steps, series.values, times, strict=True))
        wanted_status = {"ok": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}[
            trial.status
        ]
        assert run.info.status == wanted_status
        ended = trial.started if trial.ended is None else trial.ended
        assert (run.info.start_time, run.info.end_time) == (
            1000 * trial.started or 1,
            1000 * ended or 1,
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_repeating_an_export_to_mlflow_doubles_nothing(stored, tmp_path, mlflow):
    for _ in range(2):
        export(stored, "mlflow", tmp_path / "ml")
    assert sorted(path.name for path in (tmp_path / "ml").iterdir()) == [MARK, "mlflow.db"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}")
    assert len(client.search_runs([client.get_experiment_by_name("copy").experiment_id])) == 5


LISTENER = """
import sys
def hear(event, arguments):
    names = ("connect", "getaddrinfo", "gethostbyname", "sendto", "sendmsg")
    if event in ["socket." + name for name in names]:
        sys.stderr.write(f"HEARD {event} {arguments[1:]}\\n")
sys.addaudithook(hear)
from harness.__main__ import main
main()
"""


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_sends_nothing(stored, tmp_path, target):
    pytest.importorskip(
        {"tensorboard": "tensorboardX", "mlflow": "alembic"}[target], reason="its library lacks"
    )
    quiet = (
        "CI",
        "GITHUB_ACTIONS",
        "PYTEST_CURRENT_TEST",
        "MLFLOW_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
    )
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    command = [
        sys.executable,
        "-c",
        LISTENER,
        "export",
        stored,
        "--to",
        target,
        "-o",
        tmp_path / "out",
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == OK, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("5 trials written to ")


def test_an_export_replaces_its_own_and_nothing_else(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    stored, home = (
        store_of(tmp_path / "s.db", [record(), record(30)], [record(40)]),
        tmp_path / "tb",
    )
    export(stored, "tensorboard", home)
    export(stored, "tensorboard", home, "--run", "last")
    assert [path.name for path in home.iterdir() if path.is_dir()] == [
        shared(record(40), alone=True).name
    ]
    other = store_of(tmp_path / "other.db", [record()])
    with pytest.raises(
        UsageError,
        match=r"holds another export \(store \w+ to tensorboard\): choose another --output",
    ):
        export(other, "tensorboard", home)
    (home / "notes.txt").write_text("mine")
    with pytest.raises(
        UsageError, match=r"holds 'notes.txt', which no export put there: move it away"
    ):
        export(stored, "tensorboard", home)
    assert (home / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", ["readme.txt", MARK])
def test_a_folder_that_holds_something_else_is_refused(tmp_path, content):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    home = tmp_path / "tb"
    home.mkdir()
    (home / content).write_text("[1]")
    with pytest.raises(UsageError, match="holds something that is not an export"):
        export(store_of(tmp_path / "s.db", [record()]), "tensorboard", home)
    assert [path.name for path in home.iterdir()] == [content]


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    stored, home = store_of(tmp_path / "s.db", [record(), record(30)]), tmp_path / "tb"
    export(stored, "tensorboard", home)
    before = sorted(path for path in home.rglob("*"))
    with Store.open(stored) as store, store.database.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE records SET figures = '[]' WHERE record_id = 2")
    with pytest.raises(StoreError, match="record 2"):
        export(stored, "tensorboard", home)
    assert sorted(path for path in home.rglob("*")) == before
    with pytest.raises(StoreError, match="record 2"):
        export(stored, "tensorboard", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_export_that_was_killed_is_completed_by_the_next(tmp_path):
    home = tmp_path / "tb"
    with replaced(home, "x") as part:
        (part / "first").mkdir()
    (home / ".part").mkdir()
    (home / MARK).write_text(json.dumps({"origin": "x", "entries": [".part", "first", "second"]}))
    with replaced(home, "x") as part:
        assert list(part.iterdir()) == []
        (part / "second").mkdir()
    assert sorted(path.name for path in home.iterdir()) == [MARK, "second"]


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX only")
def test_two_exports_at_once_to_one_folder_do_not_disturb_each_other(tmp_path):
    home = tmp_path / "tb"
    with replaced(home, "x") as part:
        (part / "first").mkdir()
        with (
            pytest.raises(UsageError, match=r"another export is writing to .*tb: wait for it"),
            replaced(home, "x"),
        ):
            pass
    assert sorted(path.name for path in home.iterdir()) == ["first", MARK]
    with replaced(home, "x"):
        pass


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    stored = store_of(tmp_path / "s.db", [record()])
    with pytest.raises(UsageError, match=r"cannot write .*absent/tb: No such file"):
        export(stored, "tensorboard", tmp_path / "absent" / "tb")
    with pytest.raises(UsageError, match="is not a folder"):
        export(stored, "tensorboard", stored)


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from harness.__main__ import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
@pytest.mark.parametrize(
    ("target", "module"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")]
)
@pytest.mark.slow
def test_a_disk_that_is_full_is_told_and_nothing_is_left(tmp_path, target, module):
    pytest.importorskip(module, reason=f"needs {module}")
    long = {"loss": [1.0] * 3000}
    stored, home = store_of(tmp_path / "s.db", [record(curves=long)]), tmp_path / "out"
    command = [sys.executable, "-c", FULL_DISK, "export", stored, "--to", target, "-o", home]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == USAGE, done.stderr
    assert re.fullmatch(r"error: .*cannot write .*out.*; choose another --output\n", done.stderr)
    assert not home.exists()


def test_a_store_without_records_is_refused(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    with pytest.raises(UsageError, match="holds no record"):
        export(store_of(tmp_path / "s.db", []), "tensorboard", tmp_path / "tb")
    assert not (tmp_path / "tb").exists()


@pytest.mark.parametrize(
    ("target", "module"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")]
)
def test_without_its_library_an_export_says_what_to_install(tmp_path, monkeypatch, target, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=r'pip install "rnn-harness\[share\]"'):
        export(store_of(tmp_path / "s.db", [record()]), target, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_target_has_a_module_and_the_command_knows_it():
    from harness.cli.verbs.export import command

    helpers = {"__init__", "contract", "conversion", "export", "folder"}
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - helpers
    assert modules == set(TARGETS)
    (choice,) = [each.type.choices for each in command.params if each.name == "target"]
    assert set(choice) == set(TARGETS)
    with pytest.raises(UnknownNameError, match="Did you mean mlflow"):
        exporter("mlflw")
