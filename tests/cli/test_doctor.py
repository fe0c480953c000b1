"""Reasons for noise are reported with a fix; the noise floor is measured and kept."""

import json
from dataclasses import replace

import psutil
import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.contract import Record
from harness.measure.machine.diagnostics import MachineFacts, diagnose
from harness.measure.machine.environment import environment_id, environment_record
from harness.measure.machine.hardware import conditions, cpu_settings, gpu_processes, gpus
from harness.plugins import load_plugins
from harness.sweep.noise import same_trials, split
from harness_numpy import NumpyBackend
from harness_results.store.store import Store

CPU = "sys/devices/system/cpu"


@pytest.fixture
def machine(tmp_path):
    """A root directory in which files can be set."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / CPU / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_governors_turbo_and_multithreading_are_read(machine):
    root = machine(
        cpu0__cpufreq__scaling_governor="powersave\n",
        cpu1__cpufreq__scaling_governor="performance\n",
        intel_pstate__no_turbo="0\n",
        smt__active="1\n",
    )
    expected = {"governors": ["performance", "powersave"], "turbo": True, "multithreading": True}
    assert cpu_settings(root) == expected


@pytest.mark.parametrize(("boost", "turbo"), [("1\n", True), ("0\n", False)])
def test_boost_is_turbo_by_another_name(machine, boost, turbo):
    assert cpu_settings(machine(cpufreq__boost=boost))["turbo"] is turbo


def test_what_a_machine_does_not_tell_is_unknown(tmp_path):
    assert cpu_settings(tmp_path) == {"governors": [], "turbo": None, "multithreading": None}


def test_gpus_and_their_processes_come_from_the_drivers_tool():
    answers = {"--query-gpu": ["H100, 580.1, 81559 MiB"], "--query-compute": ["17", "[N/A]", "23"]}
    ask = lambda arguments: next(
        lines for key, lines in answers.items() if arguments[0].startswith(key)
    )
    assert gpus(ask) == [{"name": "H100", "driver_version": "580.1", "memory.total": "81559 MiB"}]
    assert gpu_processes(ask) == [17, 23]


def test_a_machine_without_the_tool_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (gpus(), gpu_processes()) == ([], [])


def test_a_tool_that_fails_or_hangs_is_no_gpu(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho broken; exit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert gpus() == []


QUIET = MachineFacts(cores=4, usable=4, virtual=False)


def test_a_quiet_machine_gives_no_concern():
    assert diagnose(QUIET) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"settings": {"governors": ["powersave"]}}, "governor is powersave"),
        ({"settings": {"turbo": True}}, "turbo is on"),
        ({"settings": {"multithreading": True}}, "share a core"),
        ({"virtual": True}, "virtual machine"),
        ({"conditions": {"load_per_core": 0.5}}, "load is 0.50 per core"),
        ({"conditions": {"free_memory_bytes": 2**20}}, "1 MiB of memory"),
        ({"conditions": {"used_swap_bytes": 2**30}}, "1024 MiB are swapped out"),
        ({"foreign": [17]}, "compute on the GPU: 17"),
        ({"threads": 8}, "8 threads share 4 processors"),
        ({"threads": 4, "cores": 2}, "4 threads share 2 cores"),
        ({"launches": 2}, "2 launches prove no difference"),
        ({"variables": {"OMP_NUM_THREADS": "8"}}, "OMP_NUM_THREADS=8 is set; trials run with 1"),
        (
            {"variables": {"VECLIB_MAXIMUM_THREADS": "8"}},
            "VECLIB_MAXIMUM_THREADS=8 is set; trials run with 1",
        ),
        ({"floors": {"numpy:loop": 0.08}}, "differs by up to 8% with numpy:loop"),
    ],
)
def test_each_source_of_noise_is_told_with_a_fix(change, problem):
    (concern,) = diagnose(replace(QUIET, **change))
    assert problem in concern.problem
    assert concern.fix


def test_the_environments_id_depends_on_nothing_that_changes_by_itself():
    record = environment_record()
    busy = record | {
        "settings": {"governors": ["other"]},
        "cores": record["cores"] | {"available": 4097},
    }
    assert environment_id(busy) == environment_id(record)
    assert environment_id(
        record | {"cores": record["cores"] | {"physical": 999}}
    ) != environment_id(record)


def test_conditions_are_this_machines_own():
    now = conditions()
    assert 0 < now["free_memory_bytes"] <= psutil.virtual_memory().total
    assert now["load_per_core"] >= 0


def record(trial, seconds):
    return Record(trial, "ok", figures={"step_seconds_median": seconds})


def test_a_and_b_take_one_launch_each_of_every_pair_of_neighbours():
    (trial,), _ = same_trials(["numpy"], 1, load_plugins(block=("torch", "jax")))
    launches = [record(trial, float(number)) for number in range(1, 21)]
    a, b = split(launches, 0)
    assert [{*pair} for pair in zip(a, b, strict=True)] == [{n, n + 1} for n in range(1, 21, 2)]
    assert split(launches, 0) == (a, b)
    assert split(launches, 1) != (a, b)


def test_a_broken_engine_that_nobody_named_is_told_and_left_out(monkeypatch):
    loaded = load_plugins(("torch", "jax"))
    odd = type("Odd", (NumpyBackend,), {"name": "odd", "variants": lambda *_: 7})()
    monkeypatch.setattr(
        "harness.cli.work.doctor.load_plugins",
        lambda blocked: replace(loaded, backends={**loaded.backends, "odd": odd}),
    )
    result = CliRunner().invoke(cli, ["doctor", "--dry-run"], standalone_mode=False)
    assert "odd: backend 'odd' is broken: variants() returned 7. Fix: " in result.stdout
    assert "numpy: can run" in result.stdout
    named = CliRunner().invoke(cli, ["doctor", "--dry-run", "-b", "odd"], standalone_mode=False)
    assert "backend 'odd' is broken" in str(named.exception)


def test_what_keeps_every_engine_from_a_plan_is_the_error():
    result = CliRunner().invoke(
        cli, ["-p", "no:numpy", "doctor", "--dry-run"], standalone_mode=False
    )
    assert str(result.exception).startswith("every trial is proved against backend 'numpy'")
    assert not result.output


def doctor(*arguments):
    return CliRunner().invoke(
        cli, ["-p", "no:torch", "-p", "no:jax", "doctor", *arguments], standalone_mode=False
    )


def test_the_doctor_measures_the_floor_and_keeps_it(tmp_path):
    path = str(tmp_path / "s.sqlite")
    result = doctor("--launches", "2", "--store", path, "--format", "json", "-q")
    report = json.loads(result.stdout)
    assert result.return_value == 0
    (engine,) = report["engines"]
    assert engine["engine"].startswith("numpy:")
    assert engine["floors"]["5"] >= engine["floors"]["10"] >= 0
    assert engine["peak_flops_per_second"] > 0
    assert "2 launches prove no difference" in " ".join(
        concern["problem"] for concern in report["concerns"]
    )
    with Store.open(path, create=False) as store:
        kept = store.all_calibrations()[report["machine"]["environment_id"]]
        assert len(store.launches()) == 4
    assert len(kept[f"noise/{engine['engine']}"]["seconds_per_step_a"]) == 2
    assert any(name.startswith("peak/numpy") for name in kept)


def test_a_dry_run_measures_nothing(tmp_path):
    path = tmp_path / "s.sqlite"
    result = doctor("--dry-run", "--store", str(path))
    assert result.return_value == 0
    assert "machine" in result.stdout
    assert "numpy: can run" in result.stdout
    assert not path.exists()
