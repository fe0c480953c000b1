"""Where the time of a training step goes.

Run it as ``python benchmarks/profile_step.py ENGINE CELL HIDDEN BATCH LAYERS LENGTH``: one network
on ``char``, as in ``work-items.toml``, on one thread. Printed are the step, timed plainly; the
limit of that shape by this engine's own products; and the phases, of further steps, since to look
takes time: in ``numpy`` the backend's own functions, each without those that it calls, with the
part that runs in the C kernel; in ``torch`` and ``jax`` the operations, by the framework's
profiler. The step's seconds are the processor's, so that others on the machine count less.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from harness.contract import Trainer, UnknownNameError, UsageError
from harness.execute.process import worker_environment
from harness.measure.setup import Setup, prepare
from harness.measure.timing.clock import Clock
from harness.measure.timing.limits import LimitMeter, limit_figures
from harness.plan.expand import expand
from harness.plan.request import PlanRequest
from harness.plugins import Plugins, load_plugins

SECONDS = 5.0  # of plain steps
WARM_UP, PROFILED, BATCHES, ROWS = 10, 30, 8, 14
BRIEF = 2e-3  # seconds
METHODS = (  # of the network in ``numpy``
    *("forward", "backward", "outputs", "_run_layer", "_readout_backward", "_loss_and_gradient"),
    *("_weight_gradients", "_input_weight_gradient", "_to_layer_below"),
)

Step = Callable[[], None]
Shares = Mapping[
    str, tuple[float, float]
]  # phase -> seconds of a step, and of them in the C kernel


class ProcessClock(Clock):
    """The processor's seconds of this process."""

    def now(self) -> float:
        """Return them."""
        return time.process_time()


def main(arguments: Sequence[str]) -> None:
    """Print the profile of one engine on one network."""
    plugins = load_plugins()
    setup = prepared(arguments, plugins)
    trainer = setup.trainer()
    step = stepping(setup, trainer)
    plain = plain_seconds(step)
    print(f"{' '.join(arguments)}: {1e3 * plain:.3f} ms a step{against_the_limit(setup, plain)}")
    shares = PROFILERS[setup.trial.backend](trainer, step)
    total = sum(seconds for seconds, _ in shares.values())
    ranked = sorted(shares.items(), key=lambda item: -item[1][0])
    rest = [seconds for _, seconds in ranked[ROWS:]]
    if rest:
        ranked[ROWS:] = [
            ("others", (sum(all_of for all_of, _ in rest), sum(inside for _, inside in rest)))
        ]
    for phase, (seconds, inside) in ranked:
        kernel = f"  {1e6 * inside:10.1f} us in C" if inside else ""
        print(f"  {phase:58}{1e6 * seconds:10.1f} us {seconds / total:6.1%}{kernel}")


def prepared(arguments: Sequence[str], plugins: Plugins) -> Setup:
    """Return the trial's parts. The process starts again if it lacks a worker's environment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("backend", "cell", "hidden", "batch", "layers", "length"):
        parser.add_argument(name, metavar=name.upper())
    asked = vars(parser.parse_args(arguments))
    if (backend := asked["backend"].partition(":")[0]) not in PROFILERS:
        raise UnknownNameError("backend with a profiler:", backend, PROFILERS)
    axes = {name: (int(word) if word.isdecimal() else word,) for name, word in asked.items()}
    trial, *others = expand(
        PlanRequest(axes | {"task": ("char",), "clip_norm": (1.0,), "steps": (1,)}), plugins
    )
    if others:
        raise UsageError(
            f"{asked['backend']} is more than one engine: name a variant, as in {trial.engine}"
        )
    environment = worker_environment(trial, plugins)
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606 - this very program
    return prepare(trial, plugins, plugins.backend(trial.backend), trial.engine)


def stepping(setup: Setup, trainer: Trainer) -> Step:
    """Return one training step, waited for, on one batch after another."""
    batches = cycle([trainer.put(batch) for batch in islice(setup.training(), BATCHES)])
    trainer.compile(next(batches))

    def step() -> None:
        loss = trainer.train_step(next(batches)).loss
        trainer.synchronize()
        float(loss)

    for _ in range(WARM_UP):
        step()
    return step


def plain_seconds(step: Step) -> float:
    """Return the median seconds of a step."""
    seconds, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return median(seconds)


def against_the_limit(setup: Setup, seconds: float) -> str:
    """Return a step's time as a multiple of the limit, in words."""
    meter = LimitMeter(setup.backend, setup.execution, setup.trial.threads, ProcessClock())
    limits, _ = meter.measure(setup.model, setup.trial.batch)
    figures = limit_figures(limits, setup.model, setup.trial.batch, setup.trial.length, seconds)
    fraction = figures.get("fraction_of_serial_limit")
    if not fraction:
        return ""
    return f", {1 / float(fraction):.2f} times the limit of {1e3 * seconds * fraction:.3f} ms"


@dataclass
class Sections:
    """Seconds of each phase, without the phases that it calls."""

    clock: Callable[[], float]
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    open: list[tuple[str, float]] = field(default_factory=list)  # phase, seconds of its calls

    def watch(self, owner: Any, name: str, phase: str = "") -> None:
        """Time a function of ``owner`` as a phase; without a name, as its caller's C code."""
        function = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self.open.append((phase, 0.0))
            start = self.clock()
            try:
                return function(*arguments, **options)
            finally:
                self._close(self.clock() - start)

        setattr(owner, name, watched)

    def _close(self, seconds: float) -> None:
        phase, inside = self.open.pop()
        own = self.seconds[phase or self.open[-1][0]]
        own[0] += seconds - inside
        own[1] += 0.0 if phase else seconds - inside
        if self.open:
            above, others = self.open[-1]
            self.open[-1] = (above, others + seconds)


def numpy_shares(trainer: Any, step: Step) -> Shares:
    """Watch the backend's functions; the median over steps of each."""
    start = time.perf_counter()
    step()
    brief = time.perf_counter() - start < BRIEF  # the processor's clock would take most of it
    sections, network = (
        Sections(time.perf_counter if brief else time.process_time),
        trainer._network,  # noqa: SLF001
    )
    for name in METHODS:
        if hasattr(network, name):
            sections.watch(network, name, f"network.{name}")
    for work in getattr(network, "_workspaces", {}).values():  # those of loop have none
        for layer in work.layers:
            sections.watch(layer, "forward", "recurrence.forward")
            sections.watch(layer, "backward", "recurrence.backward")
    module = import_module("harness_numpy.trainer")
    for name in ("backpropagate", "global_norm", "clip"):
        sections.watch(module, name, name)
    sections.watch(trainer._update, "apply", "update.apply")  # noqa: SLF001
    sections.watch(trainer, "train_step", "trainer.train_step")
    if trainer._execution.variant == "native":  # noqa: SLF001
        kernel = import_module("harness_native.library").library()
        for name in (name for name in dir(kernel) if not name.startswith("_") and name != "handle"):
            sections.watch(kernel, name)
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(10 * PROFILED):
        sections.seconds.clear()
        step()
        for phase, (seconds, inside) in sections.seconds.items():
            seen[phase].append((seconds, inside))
    return {
        phase: (median(s for s, _ in pairs), median(c for _, c in pairs))
        for phase, pairs in seen.items()
    }


def torch_shares(_trainer: Any, step: Step) -> Shares:
    """Ask torch's profiler for the operations, each without those that it calls."""
    profiler = import_module("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(PROFILED):
            step()
    return {
        each.key: (1e-6 * each.self_cpu_time_total / PROFILED, 0.0)
        for each in profile.key_averages()
    }


def jax_shares(trainer: Any, step: Step) -> Shares:
    """Ask JAX's profiler for the instructions, each with the operation that it comes from."""
    with tempfile.TemporaryDirectory() as folder:
        with import_module("jax").profiler.trace(folder):
            for _ in range(PROFILED):
                step()
        (path,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    (program,) = trainer._steps.values()  # noqa: SLF001
    origins = dict(re.findall(r'%?([\w.-]+) = .*op_name="([^"]*)"', program.as_text()))
    seconds: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and event["name"] in origins:
            seconds[event["name"]].append(1e-6 * event["dur"])
    return {
        f"{name}  {origins[name].rpartition('jit(step)/')[2][-36:]}": (
            median(each) * len(each) / PROFILED,
            0.0,
        )
        for name, each in seconds.items()
    }


PROFILERS: Mapping[str, Callable[[Any, Step], Shares]] = {
    "numpy": numpy_shares, "torch": torch_shares, "jax": jax_shares,
}  # fmt: skip


if __name__ == "__main__":
    from script import run

    run(main)
