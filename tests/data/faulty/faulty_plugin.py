"""A plugin for fault tests: NumPy with one fault per variant at step 3, and a tiny task."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from deferring import DEFERRING, HONEST

from harness.contract import (
    RULE_OPTIONS,
    Batch,
    Evaluation,
    Execution,
    Inputs,
    Placement,
    Rank,
    Score,
    StepResult,
    Task,
    Vocabulary,
    hookimpl,
)
from harness_numpy import NumpyBackend
from harness_numpy.trainer import NumpyTrainer

FAULTY_STEP = 3
LAZY_SECONDS = 0.02
SLOW_SECONDS = 0.05
MOST_EATEN_BYTES = 2**32  # without end, but for the machine that tests it
NOISE_BYTES = 30 * 2**20


class LazyScalar:
    """The work happens when somebody looks."""

    def __init__(self, work):
        self.work = work

    def __float__(self):
        return float(self.work())


class FaultyTrainer(NumpyTrainer):
    def __init__(self, model, optimizer, parameters, execution):
        super().__init__(model, optimizer, parameters, replace(execution, variant="vectorised"))
        self.fault, self.steps, self.checkpoint = execution.variant, 0, execution.checkpoint
        self.device = execution.device
        self.devices = 1 if self.fault == "one_device" else execution.devices

    def compile(self, batch):
        return self.fault == "compiled"

    def train_step(self, batch):
        self.steps += 1
        if self.fault == "lazy":
            return self.lazy(batch)
        result = super().train_step(batch)
        if self.fault == "slow":
            time.sleep(SLOW_SECONDS)
        if self.steps >= FAULTY_STEP and self.fault in FAULTS:
            return FAULTS[self.fault](result)
        return result

    def compilations(self):
        return self.steps if self.fault == "recompiles" else None

    def placement(self):
        if self.fault == "silent":
            return None
        placement = PLACEMENTS.get(self.fault) or replace(super().placement(), device=self.device)
        told = None if self.checkpoint == "off" else f"checkpoint {self.checkpoint}"
        return replace(placement, matmul_precision=told, devices=self.devices)

    def ranks(self):
        found = [Rank("cpu", 1, float(rank * self.steps)) for rank in range(1, self.devices + 1)]
        wrong = {
            "rank_lost": found[1:],
            "rank_threads": [replace(rank, threads=7) for rank in found],
        }
        return tuple(wrong.get(self.fault, found)) if self.devices > 1 else ()

    def lazy(self, batch):
        done = []

        def work():
            if not done:
                time.sleep(LAZY_SECONDS)
                done.append(NumpyTrainer.train_step(self, batch))
            return done[0]

        return StepResult(LazyScalar(lambda: work().loss), LazyScalar(lambda: work().gradient_norm))

    def gradients(self, batch):
        found = super().gradients(batch)
        if self.fault == "inexact":
            found.parameters["weight_hh_l0"][...] *= 1.01
        return found

    def outputs(self, batch):
        found = super().outputs(batch)
        return OUTPUTS[self.fault](found) if self.fault in OUTPUTS else found


def hang(result):
    stubborn = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], start_new_session=True, stdout=subprocess.PIPE
    )
    assert stubborn.stdout.readline() == b"ready\n"
    leave_child(result, stubborn.pid)
    time.sleep(1000)


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(1000)"
)


def eat(result):
    subprocess.run([sys.executable, "-c", EATEN.format(MOST_EATEN_BYTES // 2**24)], check=True)


def eat_here(result):
    exec(EATEN.format(MOST_EATEN_BYTES // 2**24))


EATEN = """
import time
kept = []
for _ in range({}):
    kept.append(bytearray(b"x") * 2**24)
    time.sleep(0.02)
"""


def be_noisy(result):
    block = b"noise " * 10_000
    for _ in range(NOISE_BYTES // len(block)):
        os.write(1, block)
    return result


def raise_memory_error(result):
    raise MemoryError("no room")


def leave_child(result, *others):
    child = subprocess.Popen(["sleep", "1000"])
    print("grandchildren", child.pid, start_daemon(), *others, flush=True)
    return result


def start_daemon():
    """Return the pid of a detached process: another session, parent and environment."""
    code = "env -i setsid sleep 1000 >/dev/null 2>&1 & echo $!"
    return int(subprocess.run(["sh", "-c", code], capture_output=True, check=True).stdout)


FAULTS = {
    "segfault": lambda result: ctypes.string_at(0),
    "abort": lambda result: os.abort(),
    "hang": hang,
    "sys_exit": lambda result: sys.exit(5),
    "os_exit": lambda result: (print("last words", flush=True), os._exit(7)),
    "sigkill": lambda result: os.kill(os.getpid(), signal.SIGKILL),
    "memory": raise_memory_error,
    "noise": be_noisy,
    "glutton": eat_here,
    "glutton_below": eat,
    "orphan": leave_child,
    "orphan_of_crash": lambda result: leave_child(result) and ctypes.string_at(0),
    "error": lambda result: {}["missing"],
    "tells_process": lambda result: print(f"process {os.getpid()}", flush=True) or result,
    "no_step": lambda result: None,
    "no_loss": lambda result: replace(result, loss="much"),
    "nan": lambda result: replace(result, loss=math.nan),
    "infinite_gradient": lambda result: replace(result, gradient_norm=math.inf),
}
OUTPUTS = {
    "wrong_shape": lambda outputs: outputs[:-1],
    "wrong_dtype": lambda outputs: outputs.astype(np.float16),
    "no_outputs": lambda outputs: None,
}
DEVICES = ("one_device", "rank_lost", "rank_threads")
PLACEMENTS = {"elsewhere": Placement("host", "float32"), "wide": Placement("cpu", "float64")}


class Faulty(NumpyBackend):
    name = "faulty"
    checkpoints = True
    data_parallel = True
    rule_options = RULE_OPTIONS

    def variants(self, cell):
        return (
            "good",
            "compiled",
            "lazy",
            "slow",
            "inexact",
            "recompiles",
            "silent",
            *DEVICES,
            *PLACEMENTS,
            *FAULTS,
            *OUTPUTS,
            *HONEST,
            *DEFERRING,
        )

    def devices(self):
        return (
            "cpu",
            "card",
        )  # the second is none: it computes where the first does, and says otherwise

    def deviation(self, cell, variant):
        return (
            "the forget gate is missing" if variant == "inexact" and cell.name == "lstm" else None
        )

    def why_unsupported(self, model, trial):
        if path := os.environ.get("FAULTY_DIARY"):  # who measures what, for tests that kill
            with Path(path).open("a") as file:
                file.write(f"{trial.seed}\n")
        return super().why_unsupported(model, trial)

    def trainer(self, model, optimizer, parameters, execution: Execution):
        kind = (HONEST | DEFERRING).get(execution.variant, FaultyTrainer)
        return kind(model, optimizer, parameters, execution)

    def environment(self, threads, devices=1):
        return {"FAULTY_THREADS": str(threads), "FAULTY_DEVICES": str(devices)}


class Echo(Task):
    """Repeat the input token, as a stream: every batch but the first carries the state."""

    name = "echo"
    inputs = Inputs("token", 3)
    outputs = 3
    loss = "cross_entropy"
    vocabulary = Vocabulary("abc")

    def batch(self, rng, size, carry=False):
        tokens = rng.integers(3, size=(self.length, size), dtype=np.int32)
        return Batch(tokens, tokens, np.ones(tokens.shape, dtype=bool), carry)

    def training(self, rng, batch):
        yield self.batch(rng, batch)
        while True:
            yield self.batch(rng, batch, carry=True)

    def validation(self, rng, batch):
        return [self.batch(rng, batch), self.batch(rng, batch, carry=True)]

    def training_sample(self, rng, batch, batches):
        return [self.batch(rng, batch) for _ in range(batches)]

    def baseline(self):
        return math.log(3)

    def score(self, batch, outputs):
        return Score(float((outputs.argmax(axis=2) == batch.targets).sum()), batch.targets.size)

    def solved(self, evaluation: Evaluation):
        return evaluation.accuracy > 0.99


@hookimpl
def harness_backends():
    return [Faulty()]


@hookimpl
def harness_tasks():
    return [Echo]
