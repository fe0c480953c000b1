"""What the harness's own loop costs: its time per step beside a bare loop over the same trainer.

Run it as ``python benchmarks/overhead.py [BACKEND[:VARIANT] ...]`` on a quiet machine. After every
timed block of the harness's training loop, a bare loop gives the same trainer as many steps on
equal batches; so drift and memory layout hit both alike. Printed is the median of the ratios of
seconds per step, with its distribution-free 95 % interval. Set ``OMP_NUM_THREADS=1`` for one
thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from statistics import median

from harness.contract import Batch, Trainer, Trial
from harness.measure.events import Phase, Progress
from harness.measure.setup import Setup, prepare
from harness.measure.timing.clock import MonotonicClock
from harness.measure.timing.memory import PeakMemory
from harness.measure.training import Training
from harness.plan.expand import expand
from harness.plan.request import PlanRequest
from harness.plugins import Plugins, load_plugins

ENGINES = ("numpy:native", "torch:library", "jax:fused")
SHAPES = ((10, 32, 8), (25, 64, 16), (50, 128, 32))  # T, hidden, batch of an LSTM on `adding`
BLOCKS = 60
WARM_UP_BLOCKS = 10
LONGEST = 200_000  # steps: the benchmark ends before


def main(arguments: Sequence[str]) -> None:
    """Print one line per engine and shape."""
    from intervals import median_interval

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engines", nargs="*", default=ENGINES, metavar="BACKEND[:VARIANT]")
    engines = parser.parse_args(arguments).engines
    plugins = load_plugins()
    axes = {"task": ("adding",), "steps": (LONGEST,), "evaluate_every": (0,)}
    cases = [
        {"length": (length,), "hidden": (hidden,), "batch": (batch,)}
        for length, hidden, batch in SHAPES
    ]
    requests = [PlanRequest({"backend": (engine,), **axes}, cases=cases) for engine in engines]
    trials = [trial for request in requests for trial in expand(request, plugins)]
    print(f"{'engine':16} {'T/hidden/batch':14} {'ms per step':>11}  harness / bare loop")
    for trial in trials:
        pairs = measure(trial, plugins)
        ratios = [harness / bare for harness, bare in pairs]
        low, high = median_interval(ratios) or (min(ratios), max(ratios))
        milliseconds = 1000 * median(bare for _, bare in pairs)
        shape = f"{trial.length}/{trial.hidden}/{trial.batch}"
        ratio = f"{median(ratios):.4f} [{low:.4f}, {high:.4f}]"
        print(f"{trial.engine:16} {shape:14} {milliseconds:11.2f}  {ratio}", flush=True)


def measure(trial: Trial, plugins: Plugins) -> list[tuple[float, float]]:
    """Return pairs of seconds per step: a block of the harness, and a bare loop right after it."""
    setup = prepare(trial, plugins, plugins.backend(trial.backend), trial.engine)
    trainer, batches = setup.trainer(), setup.training()
    pairs: list[tuple[float, float]] = []
    for steps, seconds in blocks(setup, trainer):
        pairs.append(
            (seconds / steps, bare_loop(trainer, [next(batches) for _ in range(steps)]) / steps)
        )
        if len(pairs) == BLOCKS:
            break
    return pairs


def blocks(setup: Setup, trainer: Trainer) -> Iterator[tuple[int, float]]:
    """Yield steps and seconds of the blocks of the harness's own loop, after ten warm-up blocks."""
    training = Training(setup, trainer, MonotonicClock(), PeakMemory())
    done, warm, phase = 0, 0, ""
    for event in training.events():
        if isinstance(event, Phase):
            phase = event.name
        elif isinstance(event, Progress):
            steps, done = event.step - done, event.step
            warm += phase == "train"
            if warm > WARM_UP_BLOCKS:
                yield steps, event.seconds


def bare_loop(trainer: Trainer, batches: Sequence[Batch]) -> float:
    """Return the seconds of the plainest loop: every step, wait, fetch the last loss."""
    on_device = [trainer.put(batch) for batch in batches]
    start = time.perf_counter()
    for batch in on_device:
        result = trainer.train_step(batch)
    trainer.synchronize()
    float(result.loss)
    return time.perf_counter() - start


if __name__ == "__main__":
    from script import run

    run(main)
