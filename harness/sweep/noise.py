"""A against A: interleaved launches of equal code, whose difference is the machine's noise."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract import Record, Trial
from harness.measure.proof.streams import generator
from harness.plan.expand import expand_with_notes
from harness.plan.request import PlanRequest
from harness.plugins import Plugins

STEPS = 100  # about a second of blocks if a step takes 10 ms


def same_trials(
    engines: Sequence[str], threads: int, plugins: Plugins
) -> tuple[list[Trial], list[str]]:
    """Return the trial of each engine, an LSTM on ``copy`` at T = 50, and notes on the engines.

    Raises:
        UsageError: an engine is unknown or unavailable.
    """
    axes = {"backend": tuple(engines), "threads": (threads,), "task": ("copy",), "cell": ("lstm",)}
    axes |= {"length": (50,), "steps": (STEPS,), "evaluate_every": (0,)}
    return expand_with_notes(PlanRequest(axes), plugins)


def split(launches: Sequence[Record], order_seed: int) -> tuple[list[float], list[float]]:
    """Return the seconds per step (n,) of A and B: the seed deals out each pair of launches."""
    seconds = [float(record.figures["step_seconds_median"] or 0.0) for record in launches]
    rng = generator(order_seed, "a against b")
    sides: tuple[list[float], list[float]] = ([], [])
    for first, second in zip(seconds[::2], seconds[1::2], strict=False):
        turned = bool(rng.integers(2))
        sides[turned].append(first)
        sides[not turned].append(second)
    return sides
