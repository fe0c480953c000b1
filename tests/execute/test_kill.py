"""Driver and workers of a sweep are killed repeatedly: nothing is lost, doubled or left."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

import paths
from harness_results.store.store import Store

FAULTY = paths.FAULTY
# A few kills in every run, many in the full one: (kills, trials).
MANY = int(os.environ.get("HARNESS_TEST_KILLS", "20"))
SCALES = [(5, 15), pytest.param(MANY, 60, marks=pytest.mark.full)]
LAUNCH_SECONDS = 1.0  # about what a launch takes, so that a moment within it is as likely as any
GONE_SECONDS = 30.0  # generous: the machine may be busy
PEERS = ("torch", "jax", "flax", "haiku", "equinox", "keras")
ACKNOWLEDGED = re.compile(r"^\[\d+/\d+\] ", re.MULTILINE)


class Sweep:
    """One command on one store, started and killed."""

    def __init__(self, folder, *options, trials):
        self.folder, self.store, self.diary = folder, folder / "s.sqlite", folder / "diary"
        blocked = [word for name in PEERS for word in ("-p", f"no:{name}")]
        seeds = ",".join(map(str, range(trials)))
        small = {
            "-b": "faulty:good",
            "-t": "echo",
            "-c": "rnn",
            "-T": 3,
            "--hidden": 4,
            "--batch": 2,
            "--steps": 2,
        }
        axes = [str(word) for pair in small.items() for word in pair]
        self.command = [
            sys.executable,
            "-m",
            "harness",
            *blocked,
            "run",
            *axes,
            "--seed",
            seeds,
            "--fast",
            "--per-seed",
        ]
        self.command += ["--format", "json", "--store", str(self.store), *options]
        path = os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")])
        self.environment = os.environ | {"PYTHONPATH": path, "FAULTY_DIARY": str(self.diary)}

    def start(self):
        self.told = self.folder / f"stderr-{time.monotonic_ns()}"
        with self.told.open("w") as stderr, (self.folder / "stdout").open("w") as stdout:
            self.driver = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=stdout, stderr=stderr
            )

    def acknowledged(self):
        """Count the records that this driver has reported."""
        return len(ACKNOWLEDGED.findall(self.told.read_text()))

    def wait_for(self, records, at_most=120):
        deadline = time.monotonic() + at_most
        while self.acknowledged() < records and self.driver.poll() is None:
            assert time.monotonic() < deadline, self.told.read_text()
            time.sleep(0.02)

    def kill(self):
        """Kill the driver; return whether it still ran."""
        self.driver.send_signal(signal.SIGKILL)
        return self.driver.wait() == -signal.SIGKILL

    def kill_worker(self):
        """Kill the running worker; return whether there was one."""
        try:
            family = psutil.Process(self.driver.pid).children()
            workers = [
                process for process in family if "harness.measure.worker" in process.cmdline()
            ]
            for worker in workers:
                worker.kill()
        except psutil.Error:
            return False
        return bool(workers)

    def processes(self):
        """Return the processes of this sweep: all that inherited its diary."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("FAULTY_DIARY") == str(self.diary)
                    and process.status() != "zombie"
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def assert_nothing_runs(self):
        deadline = time.monotonic() + GONE_SECONDS
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def begun(self):
        """Return the seeds that workers have begun to measure, in order."""
        return [int(line) for line in self.diary.read_text().split()] if self.diary.exists() else []

    def stored(self):
        """Return seed -> statuses of every record there is."""
        found: dict[int, list[str]] = {}
        if (store := Store.find(self.store)) is not None:
            with store:
                for run in store.runs():
                    for record in store.launches(run.run_id, with_curves=True):
                        assert record.status != "ok" or len(record.curves["loss"]) == 2
                        found.setdefault(record.trial.seed, []).append(record.status)
        return found


@pytest.mark.slow
@pytest.mark.timeout(60 * MANY + 600)
@pytest.mark.parametrize(("kills", "trials"), SCALES)
def test_a_sweep_that_is_killed_again_and_again_measures_every_trial_once(tmp_path, kills, trials):
    rng = random.Random(5)  # of the moments; what they meet differs from run to run
    sweep = Sweep(tmp_path, trials=trials)
    told, kept = 0, {}
    for left in range(kills, 0, -1):
        before = len(sweep.begun())
        sweep.start()
        sweep.wait_for(rng.randint(0, max(0, 2 * (trials - 5 - len(kept)) // left)))
        time.sleep(rng.uniform(0, 2 * LAUNCH_SECONDS if len(kept) < trials - 5 else 0))
        assert sweep.kill(), "it had ended before it could be killed"
        told += sweep.acknowledged()
        sweep.assert_nothing_runs()
        assert not kept.keys() & set(sweep.begun()[before:]), "measured although it was stored"
        kept = sweep.stored()
        assert told <= len(kept)
    sweep.start()
    assert sweep.driver.wait(600) == 0, sweep.told.read_text()
    assert sweep.stored() == {seed: ["ok"] for seed in range(trials)}
    assert (tmp_path / "stdout").read_text().count('"status": "ok"') == trials
    sweep.assert_nothing_runs()
    with Store.open(sweep.store, create=False) as store:
        assert [run.run_id for run in store.runs()] == [1]
        assert store.ledger.drivers() == []


@pytest.mark.slow
@pytest.mark.timeout(60 * MANY + 600)
@pytest.mark.parametrize(("kills", "trials"), SCALES)
def test_workers_that_are_killed_cost_a_try_each_and_no_trial(tmp_path, kills, trials):
    rng = random.Random(6)
    sweep = Sweep(tmp_path, "--retries", str(min(100, max(50, kills))), trials=trials)
    sweep.start()
    done = 0
    while done < kills and sweep.driver.poll() is None:
        time.sleep(rng.uniform(0, LAUNCH_SECONDS))
        done += sweep.kill_worker()
    assert sweep.driver.wait(600) == 0, sweep.told.read_text()
    assert done == kills
    assert sweep.stored() == {seed: ["ok"] for seed in range(trials)}
    sweep.assert_nothing_runs()
    with Store.open(sweep.store, create=False) as store:
        attempts = [
            one for record in store.launches() for one in record.details.get("attempts", ())
        ]
    assert 0 < len(attempts) <= kills  # one that comes when the record is written costs nothing
    assert Counter(one["status"] for one in attempts) == {"crashed": len(attempts)}
    assert all(one["reason"].startswith("crashed (SIGKILL)") for one in attempts)


def test_two_drivers_on_one_store_share_a_sweep_and_double_nothing(tmp_path):
    trials = 8
    sweeps = [Sweep(tmp_path, trials=trials), Sweep(tmp_path, trials=trials)]
    for sweep in sweeps:
        sweep.start()
    for sweep in sweeps:
        assert sweep.driver.wait(600) == 0, sweep.told.read_text()
    assert sweeps[0].stored() == {seed: ["ok"] for seed in range(trials)}
    assert Counter(sweeps[0].begun()) == dict.fromkeys(range(trials), 1)
    assert min(sweep.acknowledged() for sweep in sweeps) > 0
