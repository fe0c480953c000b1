"""The only module that times training: blocks of training steps, and warm-up.

A block ends when the backend is idle *and* all scalars of all its steps have been fetched and
released.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from time import perf_counter  # the function itself, before a plugin can replace it in its module
from typing import Any, Protocol

import numpy as np

from harness.contract import Trainer
from harness.plugins.validation import Step, check_step

BLOCK_SECONDS = 0.1  # the shortest block, if there are enough steps
MINIMUM_BLOCKS = 6  # timed blocks, even if that makes them shorter: a 95 % interval needs 6
WINDOW = 5  # blocks over which the slope of the warm-up is fitted
FLAT = 0.1  # the largest relative change over the window that counts as flat
WARM_UP_FRACTION = 4  # warm-up takes at most one step in 4
WARM_UP_BLOCKS = 30  # and at most 30 blocks
SLOW = 3.0  # times the median step time: slower steady blocks are flagged


class Clock(Protocol):
    """Where durations come from."""

    def now(self) -> float:
        """Return seconds since some fixed moment; they never decrease."""


class MonotonicClock:
    """The process's finest monotonic clock."""

    def now(self) -> float:
        """Return seconds since some fixed moment."""
        return perf_counter()


class Stopwatch:
    """Seconds since it started, minus those in which a thread was ready but had no processor.

    Of several threads, the one that waited longest for a processor counts. The stopwatch is for
    checks that must not blame an engine for a busy machine, not for speeds. With a test's clock
    there are no such waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits, self._start = self._waited(), clock.now()

    def seconds(self) -> float:
        """Return the seconds so far."""
        seconds = self._clock.now() - self._start
        waits = [wait - self._waits.get(thread, 0) for thread, wait in self._waited().items()]
        return max(0.0, seconds - max(waits, default=0) / 1e9)

    def _waited(self) -> dict[str, int]:
        return waits_for_a_processor() if isinstance(self._clock, MonotonicClock) else {}


def waits_for_a_processor() -> dict[str, int]:
    """Return thread -> nanoseconds ready to run but without a processor; {} if unknown.

    Sleeping and waiting for another thread do not count.
    """
    waits: dict[str, int] = {}
    with suppress(OSError):
        for task in os.scandir("/proc/self/task"):
            with suppress(OSError, ValueError, IndexError):  # the thread has ended
                waits[task.name] = int(Path(task.path, "schedstat").read_text().split()[1])
    return waits


@dataclass(frozen=True)
class Block:
    """One timed block: its number of steps, tokens (T x B per step) and seconds.

    ``compilations`` is how often the engine compiled during the block; 0 if it does not tell.
    """

    steps: int
    tokens: int
    seconds: float
    compilations: int = 0

    @property
    def step_seconds(self) -> float:
        """Seconds per training step."""
        return self.seconds / self.steps

    @property
    def tokens_per_second(self) -> float:
        """Throughput."""
        return self.tokens / self.seconds if self.seconds > 0 else math.inf


def time_steps(
    trainer: Trainer, batches: Sequence[Any], clock: Clock, label: str
) -> tuple[list[Step], float]:
    """Train on batches that are on the device; return the steps and the seconds until all is done.

    The second ``synchronize`` is for engines that do work after a fetch, or that wait only at every
    second call.
    """
    start = clock.now()
    results = [trainer.train_step(batch) for batch in batches]
    trainer.synchronize()
    steps = [check_step(result, label) for result in results]
    results.clear()
    trainer.synchronize()
    return steps, clock.now() - start


@dataclass
class BlockScheduler:
    """Decides how many steps the next block has, and when warm-up is over.

    Args:
        steps: the training steps to schedule, without the first.
        first_step_seconds: duration of the first step (with compiling), for the first guess.
        warm_up: the blocks of the warm-up.
        steady: the timed blocks after it.
        flat: whether block times were flat at the end of the warm-up.
    """

    steps: int
    first_step_seconds: float
    warm_up: list[Block] = field(default_factory=list)
    steady: list[Block] = field(default_factory=list)
    flat: bool = False
    _warm: bool = False

    def __post_init__(self) -> None:
        self._budget = self.steps // WARM_UP_FRACTION
        self._warm = self._budget == 0

    def next_steps(self, limit: int) -> int:
        """Return the steps of the next block, 1 to ``limit`` (steps to the next interruption)."""
        wanted = math.ceil(1.05 * BLOCK_SECONDS / max(self._step_seconds(), 1e-9))
        if self._warm:
            most = (self.steps - self._warm_up_steps) // MINIMUM_BLOCKS
        else:
            most = self._budget // WINDOW
        steps = max(1, min(wanted, most))
        return limit if limit < 1.5 * steps else steps

    def add(self, block: Block) -> None:
        """Count a finished block as warm-up or as steady."""
        if self._warm:
            self.steady.append(block)
            return
        self.warm_up.append(block)
        self.flat = is_flat([item.step_seconds for item in self.warm_up[-WINDOW:]])
        spent = self._warm_up_steps >= self._budget or len(self.warm_up) >= WARM_UP_BLOCKS
        self._warm = self.flat or spent

    @property
    def _warm_up_steps(self) -> int:
        return sum(block.steps for block in self.warm_up)

    def _step_seconds(self) -> float:
        blocks = (self.steady or self.warm_up)[-WINDOW:]
        return median(block.step_seconds for block in blocks) if blocks else self.first_step_seconds

    def flags(self) -> list[str]:
        """Return warnings about the speed for its readers."""
        if not self.steady:
            return ["no timed block: raise --steps"]
        flags = []
        if not self.flat:
            flags.append("warm-up ended before block times were flat: raise --steps")
        if median(block.seconds for block in self.steady) < BLOCK_SECONDS:
            flags.append(f"blocks shorter than {1000 * BLOCK_SECONDS:.0f} ms: raise --steps")
        if self.recompilations:
            flags.append(
                f"compiled {self.recompilations} times while it was timed: "
                "the speed holds compiling"
            )
        typical = median(block.step_seconds for block in self.steady)
        slow = sum(block.step_seconds > SLOW * typical for block in self.steady)
        if slow:
            flags.append(
                f"{slow} of {len(self.steady)} blocks took over {SLOW:.0f} times the median: "
                "recompiled, or busy"
            )
        drift = self._drift()
        if abs(drift) > FLAT:
            flags.append(
                f"step times drifted by {100 * drift:+.0f} % "
                "from the first half of the blocks to the second"
            )
        return flags

    @property
    def recompilations(self) -> int:
        """Compilations during the steady blocks; there should be none."""
        return sum(block.compilations for block in self.steady)

    @property
    def total(self) -> Block | None:
        """All steady blocks as one block; None if there are none."""
        if not self.steady:
            return None
        steps = sum(block.steps for block in self.steady)
        tokens = sum(block.tokens for block in self.steady)
        seconds = math.fsum(block.seconds for block in self.steady)
        return Block(steps, tokens, seconds, self.recompilations)

    def _drift(self) -> float:
        """Return the relative change of the median step time from the first half to the second."""
        if len(self.steady) < 2 * WINDOW:
            return 0.0
        times = [block.step_seconds for block in self.steady]
        half = len(times) // 2
        return median(times[half:]) / median(times[:half]) - 1


def is_flat(seconds: Sequence[float]) -> bool:
    """Return whether a full window of step times changes by at most ``FLAT`` of its mean.

    The change is that of a line fitted by least squares.
    """
    if len(seconds) < WINDOW:
        return False
    slope = float(np.polyfit(np.arange(len(seconds)), np.asarray(seconds), 1)[0])
    return abs(slope) * (len(seconds) - 1) <= FLAT * fmean(seconds)
