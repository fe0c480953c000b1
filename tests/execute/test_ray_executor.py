"""Launches on a real cluster: two nodes of Ray on this machine. One dies in the end."""

import json
import os
import platform
import secrets
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from textwrap import dedent

import psutil
import pytest

import paths
from builders import small_trial
from harness.execute.local import run_trials
from harness.execute.ray.executor import RayExecutor
from harness.execute.ray.needs import Wishes
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.checkpoint import load
from harness.measure.events import Finished, Phase
from harness.plugins import load_plugins
from harness.sweep.session import Session
from harness_results.store.store import Store

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("ray") is None, reason="Ray is not installed: pip install 'rnn-harness[ray]'"
    ),
]

HERE = paths.TESTS
FAULTY = paths.FAULTY
WAIT_SECONDS = 60.0  # generous: the machine may be busy
BLOCK = ("torch", "jax", "flax", "haiku", "equinox", "keras")
# Ray reads these once in a process, but the fixtures of this module may be made twice in it: a
# worker of pytest-xdist that takes over tests of another comes back to a module.
CLOSED = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(16),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}


class Nodes:
    """The cluster of ``ray_nodes.py``: its address, and the raylet of each node."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "ray_nodes.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, "the cluster did not start"
        told = json.loads(line)
        self.address, self.nodes, self.orphans = told["address"], told["nodes"], []

    def id(self, name):
        return self.nodes[name]["id"]

    def raylet(self, name):
        return self.nodes[name]["raylet"]

    def kill(self, name):
        """Kill a node, and return the pids of our workers there."""
        pids = workers(self.raylet(name))
        self.orphans += children(self.raylet(name))
        os.kill(self.raylet(name), signal.SIGKILL)
        return pids

    def close(self):
        family = [*self.orphans, *children(self.process.pid)]
        self.process.communicate(timeout=WAIT_SECONDS)
        assert_gone(family)


@pytest.fixture(scope="module")
def environment():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CLOSED.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")]))
        patch.syspath_prepend(FAULTY)
        yield patch


@pytest.fixture(scope="module")
def nodes(environment):
    cluster = Nodes()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def connection(nodes):
    """One connection for all tests of this process: a new one starts Ray's processes again."""
    import ray

    ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def plugins(environment):
    return load_plugins(BLOCK)


@pytest.fixture
def run(connection, plugins, nodes):
    def run(*trials, wishes=None, **options):
        executor = RayExecutor(nodes.address, Wishes(**(wishes or {})))
        return list(executor(trials, plugins=plugins, **options))

    return run


def trial(**changes):
    return small_trial("faulty:good", **({"task": "echo"} | changes))


def is_worker(process):
    try:
        return (
            "harness.measure.worker" in process.cmdline()
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def workers(pid):
    """Return the pids of our worker processes below a process."""
    try:
        return [
            child.pid for child in psutil.Process(pid).children(recursive=True) if is_worker(child)
        ]
    except psutil.NoSuchProcess:
        return []


def children(pid):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def wait_until(condition, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(pids):
    wait_until(lambda: not any(map(alive, pids)), f"still alive of {pids}")


def test_a_launch_on_a_node_gives_what_it_gives_here(run, plugins, nodes):
    seen = []
    (there,) = run(trial(), on_event=lambda which, event: seen.append((which, type(event))))
    (here,) = run_trials([trial()], plugins=plugins)
    assert (there.status, there.trial) == ("ok", trial())
    assert there.curves["loss"] == here.curves["loss"]
    assert there.figures["loss_validation"] == here.figures["loss_validation"]
    hidden = {"CUDA_VISIBLE_DEVICES": ""}  # Ray hides the gpus from a task that asked for none
    assert there.environment["variables"] == here.environment["variables"] | hidden
    assert there.details["node_id"] in {nodes.id("one"), nodes.id("two")}
    assert there.details["node"] == platform.node()
    assert there.details["wall_seconds"] > 0
    assert "attempts" not in there.details
    assert seen == [(trial(), Phase), (trial(), Finished)]


def test_a_plugin_that_crashes_costs_one_record(run):
    records = run(
        *(
            trial(variant=variant, seed=seed)
            for seed, variant in enumerate(["good", "segfault", "good"])
        )
    )
    ended = {record.trial.seed: record for record in records}
    assert [ended[seed].status for seed in range(3)] == ["ok", "crashed", "ok"]
    assert ended[1].reason == "crashed (SIGSEGV)"
    assert "faulty_plugin.py" in ended[1].details["log_tail"]


def test_a_crash_is_tried_again_where_retries_are_left(run):
    (record,) = run(trial(variant="segfault"), settings=LocalSettings(retries=1))
    assert record.status == "crashed"
    assert record.details["attempts"] == [{"status": "crashed", "reason": "crashed (SIGSEGV)"}]


def test_weights_come_back(run, plugins, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    list(run_trials([trial()], plugins=plugins, settings=LocalSettings(checkpoints=here)))
    (record,) = run(trial(), settings=LocalSettings(checkpoints=there))
    name = f"{trial().trial_id}.safetensors"
    assert record.details["checkpoint"] == str(there / name)
    from_node, from_here = load(there / name), load(here / name)
    assert from_node.trial == trial()
    assert from_node.parameters.keys() == from_here.parameters.keys()
    assert all(
        (from_node.parameters[key] == from_here.parameters[key]).all()
        for key in from_here.parameters
    )


def test_weights_that_cannot_be_written_are_flagged(run, tmp_path):
    (record,) = run(trial(), settings=LocalSettings(checkpoints=tmp_path / "missing"))
    assert record.status == "ok"
    assert "checkpoint" not in record.details
    assert any(flag.startswith("cannot write the checkpoint") for flag in record.details["flags"])


def test_limits_that_are_known_are_not_measured_again(run):
    (first,) = run(trial())
    assert first.details["calibrations"]
    known = {first.environment_id: first.details["calibrations"]}
    (second,) = run(trial(), settings=LocalSettings(calibrations=known))
    assert not second.details.get("calibrations")
    assert second.figures["fraction_of_peak"]


def test_a_launch_runs_where_its_needs_are_met(run, nodes):
    (threads,) = run(trial(threads=3))
    (resource,) = run(trial(), wishes={"resources": {"special": 1}})
    (label,) = run(trial(), wishes={"labels": {"zone": "a"}})
    places = [record.details["node_id"] for record in (threads, resource, label)]
    assert places == [nodes.id("two"), nodes.id("one"), nodes.id("one")]


def test_a_launch_that_no_node_can_hold_is_told_and_costs_no_other(run):
    records = run(trial(threads=4), trial(), wishes={"patience_seconds": 0.1})
    ended = {record.trial.threads: record for record in records}
    assert ended[1].status == "ok"
    assert ended[4].status == "failed"
    assert "no node of the cluster can hold it: it needs 4 CPU; the nodes have: " in ended[4].reason
    assert "2 CPU" in ended[4].reason


def test_a_plugin_that_a_node_lacks_is_a_failed_record(run):
    (record,) = run(trial(backend="absent"))
    assert record.status == "failed"
    assert "lacks a plugin: unknown backend 'absent'." in record.reason
    assert "Install the same plugins on every node" in record.reason


def test_plugins_that_are_blocked_here_are_blocked_on_the_nodes(connection, plugins, nodes):
    (record,) = RayExecutor(nodes.address)(
        [trial()], plugins=replace(plugins, blocked=(*BLOCK, "faulty"))
    )
    assert "is blocked" in record.reason


def test_a_first_interrupt_gives_the_running_launch_a_while_and_starts_no_other(run):
    settings = LocalSettings(interrupt_seconds=0.5)
    with StopRequest() as stop:
        trials, one = (
            [trial(variant="hang", seed=seed) for seed in range(3)],
            {"resources": {"special": 1}},
        )
        records = run(
            *trials,
            wishes=one,
            stop=stop,
            settings=settings,
            on_event=lambda *_: stop.count or stop.request(),
        )
    assert [(record.status, record.reason) for record in records] == [
        ("interrupted", "interrupted on request")
    ]


def test_a_second_interrupt_stops_at_once(run, nodes):
    def twice(which, event):
        if not stop.count:
            stop.request()
            stop.request()

    with StopRequest() as stop:
        settings = LocalSettings(interrupt_seconds=600)
        (record,) = run(trial(variant="hang"), stop=stop, settings=settings, on_event=twice)
    assert record.status == "interrupted"
    for name in ("one", "two"):
        wait_until(
            lambda name=name: not workers(nodes.raylet(name)), "a worker outlives its launch"
        )


def kill_rays_process(nodes, times):
    """Return a callback that kills the Ray process of the running launch, some times."""
    killed = []

    def callback(which, event):
        if isinstance(event, Phase) and len(killed) < times:
            wait_until(lambda: workers(nodes.raylet("one")), "no worker has started")
            lent = psutil.Process(workers(nodes.raylet("one"))[0]).ppid()
            killed.append(lent)
            os.kill(lent, signal.SIGKILL)

    return callback


def test_a_launch_whose_process_of_rays_is_lost_runs_again(run, nodes):
    callback = kill_rays_process(nodes, times=1)
    (record,) = run(
        trial(variant="slow", steps=40), wishes={"labels": {"zone": "a"}}, on_event=callback
    )
    assert record.status == "ok"
    (attempt,) = record.details["attempts"]
    assert attempt["status"] == "crashed"
    assert "was lost: WorkerCrashedError" in attempt["reason"]


def test_a_launch_that_is_lost_again_and_again_is_a_record(run, nodes):
    callback = kill_rays_process(nodes, times=3)
    (record,) = run(trial(variant="hang"), wishes={"labels": {"zone": "a"}}, on_event=callback)
    assert record.status == "crashed"
    assert "was lost: WorkerCrashedError" in record.reason
    assert len(record.details["attempts"]) == 2


def harness(*arguments):
    return [
        sys.executable,
        "-m",
        "harness",
        *(word for name in BLOCK for word in ("-p", f"no:{name}")),
        *arguments,
    ]


def sweep(variant, store, address):
    axes = [
        "-b",
        f"faulty:{variant}",
        *shlex.split("-t echo -c rnn -T 3 --hidden 4 --batch 2"),
    ]
    where = ["--executor", "ray", "--address", address, "--store", str(store)]
    return harness(
        "run", *axes, "--steps", "40", "--seed", "0,1", "--fast", "--format", "json", *where
    )


@contextmanager
def driver(command):
    """Run a sweep in a session of its own, which ends here in any case."""
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, start_new_session=True, **out) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_workers(process, *pids):
    """Wait for a driver's workers below these processes; return them and their children."""
    wait_until(
        lambda: any(map(workers, pids)) or process.poll() is not None, "no worker has started"
    )
    assert process.poll() is None, process.communicate()[1]
    found = [worker for pid in pids for worker in workers(pid)]
    return [*found, *(child for pid in found for child in children(pid))]


def test_a_killed_driver_leaves_no_worker(nodes, tmp_path):
    with driver(sweep("hang", tmp_path / "store.sqlite", nodes.address)) as process:
        family = wait_for_workers(process, nodes.raylet("one"), nodes.raylet("two"))
        process.kill()
        assert_gone(family)
    with Store.open(tmp_path / "store.sqlite") as store:
        assert store.launches() == []


def test_an_interrupted_sweep_on_a_cluster_of_its_own_leaves_nothing(environment, tmp_path):
    with driver(sweep("slow", tmp_path / "store.sqlite", "local")) as process:
        wait_for_workers(process, process.pid)
        family = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130, err
    assert {row["status"] for row in json.loads(out)} == {"ok"}
    assert "go on: the same command" in err
    assert_gone(family)


@pytest.mark.full
def test_a_process_starts_a_cluster_of_its_own_twice():
    lines = """
        from harness.execute.ray.cluster import connected
        for _ in range(2):
            with connected("local") as ray:
                print(len(ray.nodes()))
    """
    command = [sys.executable, "-c", dedent(lines)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.stdout.split() == ["1", "1"], done.stderr


def test_a_sweep_outlives_a_node(connection, nodes, plugins, tmp_path, capfd):
    trials = [trial(seed=seed, variant="slow", steps=8) for seed in range(40)]
    with Store.open(tmp_path / "store.sqlite") as store:
        session = Session(store, "a sweep", plugins, executor=RayExecutor(nodes.address))
        for number, _ in enumerate(session.measure(trials, LocalSettings(), Silent())):
            if number == 5:
                wait_until(lambda: workers(nodes.raylet("two")), "the node does nothing")
                lost = nodes.kill("two")
    assert_gone(lost)
    with Store.open(tmp_path / "store.sqlite") as store:
        records = store.launches(with_curves=True)
    assert [record.status for record in records] == ["ok"] * 40
    assert sorted(record.trial.seed for record in records) == list(range(40))
    attempts = [attempt for record in records for attempt in record.details.get("attempts", ())]
    assert attempts
    assert all("was lost" in attempt["reason"] for attempt in attempts)
    assert capfd.readouterr().out == ""
    for here in run_trials(trials[:2], plugins=plugins):
        (there,) = [record for record in records if record.trial == here.trial]
        assert there.curves["loss"] == here.curves["loss"]


class Silent:
    def event(self, trial, event):
        pass

    def finish(self, record):
        pass
