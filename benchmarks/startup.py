"""What comes before the first training step of ``harness run``, beyond the framework's own import.

Run it as ``python benchmarks/startup.py [--launches N] [BACKEND[:VARIANT] ...]`` on a quiet
machine. For each engine it runs, in fresh processes and in turn: the framework's import alone, the
command line up to its plan (``--dry-run``), and one trial in its worker, whose phases are timed as
the worker reports them. Medians of wall-clock seconds are printed:

    import    the framework alone, in a bare interpreter
    command   the command line, from the shell to the plan
    worker    from the start of the worker to its first phase
    the phases, the first training step included, less the import where it falls
    beyond    all of it less the import: what the harness adds

Compiled bytecode is kept as in an installation, and one launch of each is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import packages_distributions
from statistics import median

from harness.contract import Trial, UnavailableError
from harness.execute.local import run_trials
from harness.measure.events import Event, Phase
from harness.plan.expand import expand
from harness.plan.request import PlanRequest
from harness.plugins import Plugins, load_plugins

AXES = {
    "task": ("copy",),
    "cell": ("lstm",),
    "length": (25,),
    "hidden": (128,),
    "batch": (32,),
    "steps": (2,),
}
PHASES = ("load", "prepare", "build", "parity", "flow", "evaluate", "compile", "first_step")
ENGINES = ("numpy", "torch", "jax")
Seconds = dict[str, float]


def main(arguments: Sequence[str]) -> None:
    """Print one line per engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engines", nargs="*", default=ENGINES, metavar="BACKEND[:VARIANT]")
    parser.add_argument("--launches", type=int, default=5)
    asked = parser.parse_args(arguments)
    if asked.launches < 1:
        parser.error("--launches: at least 1 is needed")
    keep_bytecode()
    plugins = load_plugins()
    trials = expand(
        PlanRequest({**AXES, "backend": asked.engines, "evaluate_every": (0,)}), plugins
    )
    measured: dict[str, list[Seconds]] = {trial.engine: [] for trial in trials}
    for _ in range(asked.launches + 1):
        for trial in trials:
            measured[trial.engine].append(launch(trial, plugins))
    columns = ("import", "command", "worker", *PHASES, "beyond")
    print("seconds".ljust(18) + "".join(f"{name:>11}" for name in columns))
    for engine, launches in measured.items():
        medians = [median(launch[name] for launch in launches[1:]) for name in columns]
        print(engine.ljust(18) + "".join(f"{seconds:11.3f}" for seconds in medians), flush=True)


def keep_bytecode() -> None:
    """Let every process that is started from here find compiled bytecode, as in an installation."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(  # noqa: PTH118
        tempfile.gettempdir(), "harness-startup-bytecode"
    )


def launch(trial: Trial, plugins: Plugins) -> Seconds:
    """Return the seconds of one launch by column."""
    imports = modules_of(plugins.backend(trial.backend).versions())
    bare = timed([sys.executable, "-c", "pass"])
    seconds: Seconds = {"import": timed([sys.executable, "-c", f"import {imports}"]) - bare}
    axes = [f"--{name}={values[0]}" for name, values in AXES.items()]
    run = [sys.executable, "-m", "harness", "run", f"--backend={trial.engine}"]
    seconds["command"] = timed([*run, *axes, "--dry-run"])
    seconds |= worker_phases(trial, plugins)
    seconds["beyond"] = (
        sum(seconds[name] for name in ("command", "worker", *PHASES)) - seconds["import"]
    )
    return seconds


def modules_of(distributions: Iterable[str]) -> str:
    """Return the import names of a backend's libraries."""
    wanted, names = set(distributions), []
    for name, owners in packages_distributions().items():
        if wanted & set(owners) and name.isidentifier() and not name.startswith("_"):
            names.append(name)
    return ", ".join(sorted(names))


def worker_phases(trial: Trial, plugins: Plugins) -> Seconds:
    """Return the seconds to the worker's first phase, and of each phase before training."""
    moments: list[tuple[str, float]] = [("worker", time.perf_counter())]

    def note(_: Trial, event: Event) -> None:
        if isinstance(event, Phase):
            moments.append((event.name, time.perf_counter()))

    (record,) = run_trials([trial], on_event=note, plugins=plugins)
    if record.status != "ok":
        raise UnavailableError(f"{trial.engine} ended {record.status}: {record.reason}")
    seconds = dict.fromkeys(("worker", *PHASES), 0.0)
    for (name, start), (_, end) in itertools.pairwise(moments):
        if name == "train":
            break
        seconds[name] += end - start
    return seconds


def timed(command: Sequence[str]) -> float:
    """Return the wall-clock seconds of a command."""
    start = time.perf_counter()
    done = subprocess.run(
        command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"`{' '.join(command)}` failed: {last}")
    return seconds


if __name__ == "__main__":
    from script import run

    run(main)
