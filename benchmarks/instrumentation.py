"""Measures the cost of the instruments: the gradient norm at every step, and the gradient flow.

Run it as ``python benchmarks/instrumentation.py [--cpu] [BACKEND[:VARIANT] ...]`` on a quiet
machine. Two trainers of one model take turns, step by step in shuffled order: one as the harness
runs it, the other with the norm taken out, here and nowhere else, by replacing the function that
computes it. An optimizer that does not clip needs no norm, so this is its whole cost. Printed is
the median ratio of seconds per step, with its distribution-free 95 % interval, and the share that
its two gradient flows take of a training of ``STEPS`` steps. ``--cpu`` counts the processor's
seconds of this process in place of the wall's: for engines on the CPU, where the machine is not
quiet.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from statistics import median
from typing import Any

from harness.contract import Trainer, Trial, UnknownNameError
from harness.measure.proof.flow import measure_flow
from harness.measure.setup import Setup, prepare
from harness.plan.expand import expand
from harness.plan.request import PlanRequest
from harness.plugins import Plugins, load_plugins

Clock = Callable[[], float]
ENGINES = ("numpy:native", "torch:library", "torch:native", "jax:fused", "jax:native")
SHAPES = ((10, 32, 8), (25, 128, 32), (64, 512, 64))  # T, hidden, batch of an LSTM on `adding`
# Where each backend takes the norm, and what stands in its place: constants of the same types.
NORMS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "numpy": ("harness_numpy.trainer", "global_norm", lambda _vector: 1.0),
    "torch": ("harness_torch.update", "_clip", lambda _rule, _gradients, _again: (1.0, False)),
    "jax": (
        "harness_jax.functions",
        "clip",
        lambda _rule, gradients, _shares: (gradients, 1.0, False),
    ),
}
PAIRS, WARM_UP = 150, 20
SECONDS = 12.0  # at most so long per shape
STEPS = 1000


def main(arguments: Sequence[str]) -> None:
    """Print one line per engine and shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engines", nargs="*", default=ENGINES, metavar="BACKEND[:VARIANT]")
    parser.add_argument(
        "--cpu", action="store_true", help="the processor's seconds of this process"
    )
    asked = parser.parse_args(arguments)
    clock = time.process_time if asked.cpu else time.perf_counter
    plugins, order = load_plugins(), random.Random(0)  # noqa: S311 - an order, no secret
    axes = {"task": ("adding",), "clip_norm": (None,)}
    cases = [
        {"length": (length,), "hidden": (hidden,), "batch": (batch,)}
        for length, hidden, batch in SHAPES
    ]
    requests = [
        PlanRequest({"backend": (engine,), **axes}, cases=cases) for engine in asked.engines
    ]
    trials = [trial for request in requests for trial in expand(request, plugins)]
    if unknown := [trial.backend for trial in trials if trial.backend not in NORMS]:
        raise UnknownNameError("backend whose norm can be left out:", unknown[0], NORMS)
    print(
        f"{'engine':18}{'T/hidden/batch':16}{'ms per step':>12}  {'with / without the norm':26}flow"
    )
    for trial in trials:
        print(line(trial, plugins, order, clock), flush=True)


def line(trial: Trial, plugins: Plugins, order: random.Random, clock: Clock) -> str:
    """Return the figures of one engine and shape."""
    from intervals import median_interval

    setup = prepare(trial, plugins, plugins.backend(trial.backend), trial.engine)
    pairs = measure(setup, order, clock)
    ratios = [plain / bare for plain, bare in pairs]
    low, high = median_interval(ratios) or (min(ratios), max(ratios))
    step = median(plain for plain, _ in pairs)
    share = 2 * flow_seconds(setup, clock) / (STEPS * step)
    shape = f"{trial.length}/{trial.hidden}/{trial.batch}"
    ratio = f"{median(ratios):.4f} [{low:.4f}, {high:.4f}]"
    return f"{trial.engine:18}{shape:16}{1000 * step:12.2f}  {ratio:26}{share:.2%} of {STEPS} steps"


def measure(setup: Setup, order: random.Random, clock: Clock) -> list[tuple[float, float]]:
    """Return pairs of seconds per step: with the norm, and without it."""
    module, name, stand_in = NORMS[setup.trial.backend]
    trainers = [setup.trainer(), setup.trainer()]
    batch = next(setup.training())
    placed = [trainer.put(batch) for trainer in trainers]
    seconds: list[list[float]] = [[], []]
    deadline = time.perf_counter() + SECONDS
    for pair in range(PAIRS + WARM_UP):
        for which in order.sample((0, 1), 2):
            with replaced(module, name, stand_in if which else None):
                seconds[which].append(step(trainers[which], placed[which], clock))
        if pair > WARM_UP and time.perf_counter() > deadline:
            break
    return list(zip(*(series[WARM_UP:] for series in seconds), strict=True))


@contextmanager
def replaced(module: str, name: str, stand_in: Callable[..., Any] | None) -> Iterator[None]:
    """Replace a module's function for a while, for engines that compile meanwhile too."""
    owner = import_module(module)
    original = getattr(owner, name)
    setattr(owner, name, stand_in or original)
    try:
        yield
    finally:
        setattr(owner, name, original)


def step(trainer: Trainer, batch: Any, clock: Clock) -> float:
    """Return the seconds of one step, waited for."""
    start = clock()
    result = trainer.train_step(batch)
    trainer.synchronize()
    float(result.loss)
    float(result.gradient_norm)
    return clock() - start


def flow_seconds(setup: Setup, clock: Clock) -> float:
    """Return the seconds of one gradient flow, compiled before."""
    trainer, batch = setup.trainer(), setup.flow_batch()
    measure_flow(trainer, batch)
    start = clock()
    measure_flow(trainer, batch)
    return clock() - start


if __name__ == "__main__":
    from script import run

    run(main)
