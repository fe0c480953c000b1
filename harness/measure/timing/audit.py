"""The audit of a speed: was all work of the timed blocks done inside them?

After training, the engine trains one more block. Then each method that is called around training is
called twice. If the first call takes longer than the second, it did work that the block still owed.
The same steps are then done one at a time: each must change the weights, and both ways must end at
about the same weights. A busy machine can look like owed work. A finding therefore counts only if
it appears in each of several rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from harness.contract import Batch, Optimizer, Parameters, State, Trainer
from harness.measure.timing.clock import Clock, Stopwatch, time_steps
from harness.plugins.validation import Step

ROUNDS = 5  # a finding counts only if it appears in all of them
BLOCK_SECONDS = 0.02  # of a block of the audit, by the published speed
FEWEST, MOST = 2, 32  # steps of such a block
WAIT_FACTOR, WAIT_SECONDS = 1.5, 1e-3  # a first call may take this much longer than a second call
SLOWER, SLOWER_SECONDS = 4.0, 5e-3  # a block of the audit, compared with the published speed
AHEAD, AHEAD_SECONDS = 2.0, 1e-3  # copying a batch, compared with a training step
# Time outside the blocks: times that of idle calls, share of the blocks, and slack.
IDLE, SHARE, OUTSIDE_SECONDS = 3.0, 0.25, 0.02
PARTED = 0.25  # of the distance by which the steps moved the weights


@dataclass(frozen=True)
class Claim:
    """The claimed speed: the steady blocks, and the time spent in the trainer between them.

    Attributes:
        steps: in the steady blocks.
        seconds: inside these blocks.
        blocks: the number of blocks.
        outside_seconds: spent in the trainer between the blocks: copies of batches, and queries
            after each block.
    """

    steps: int
    seconds: float
    blocks: int = 1
    outside_seconds: float = 0.0

    @property
    def step_seconds(self) -> float:
        """Seconds per training step."""
        return self.seconds / self.steps


@dataclass(frozen=True)
class Auditor:
    """Checks a trainer against its claimed speed.

    Attributes:
        trainer: at its trained weights; they are loaded again at the end, which resets its
            optimizer.
        rule: its optimizer.
        clock: times the calls.
        label: of the backend, for errors.
        held_out: a batch for ``outputs``.
        flow_batch: a batch for ``gradients``.
    """

    trainer: Trainer
    rule: Optimizer
    clock: Clock
    label: str
    held_out: Batch
    flow_batch: Batch

    def finding(self, claim: Claim, batches: Iterator[Batch]) -> str | None:
        """Return why the claim cannot be true; None if there is no finding."""
        steps = round(BLOCK_SECONDS / max(claim.step_seconds, 1e-9))
        block = [next(batches) for _ in range(min(MOST, max(FEWEST, steps)))]
        weights, state = self.trainer.parameters(), self.trainer.state()
        try:
            findings = self._round(claim, block, weights, state)
            for _ in range(1, ROUNDS):
                if findings:
                    again = self._round(claim, block, weights, state)
                    findings = {kind: why for kind, why in again.items() if kind in findings}
            return next(iter(findings.values()), None)
        finally:
            self._begin(weights, state)

    def _round(
        self, claim: Claim, batches: Sequence[Batch], weights: Parameters, state: State | None
    ) -> dict[str, str]:
        """Return the findings of one round: kind -> message."""
        trainer, n = self.trainer, len(batches)
        self._begin(weights, state)
        held_out, flow_batch = trainer.put(self.held_out), trainer.put(self.flow_batch)
        calls: dict[str, Callable[[], Any]] = {
            "parameters": trainer.parameters,
            "synchronize": trainer.synchronize,
            "compilations": trainer.compilations,
            "ranks": trainer.ranks,
            "peak_memory": trainer.peak_memory,
            "placement": trainer.placement,
            "put": lambda: trainer.put(self.held_out),
            "state": trainer.state,
            "load_state": lambda: trainer.load_state(None),
            "outputs": lambda: trainer.outputs(held_out),
            "gradients": lambda: trainer.gradients(flow_batch),
        }
        for _ in range(2):  # the first pass does the work that is still owed for earlier steps
            usual = {name: self._timed(call)[0] for name, call in calls.items()}
        self._begin(weights, state)
        spare = [self._timed(partial(trainer.put, batch)) for batch in batches]
        put_seconds, trained = self._timed(lambda: [trainer.put(batch) for batch in batches])
        block_seconds, _ = self._timed(lambda: time_steps(trainer, trained, self.clock, self.label))
        waits: dict[str, tuple[float, float]] = {}
        reached = weights
        for name, call in calls.items():
            (first, answer), (second, _) = self._timed(call), self._timed(call)
            waits[f"{name}()"] = (first, max(second, usual[name]))
            reached = answer if name == "parameters" else reached
        waits["load()"] = self._loading(weights, batches[0])
        copy_seconds = median(seconds for seconds, _ in spare)
        release, usual_release = self._timed(trained.clear)[0], self._timed(spare.clear)[0]
        waits["the end of its batches"] = (release, usual_release)
        after_block = ("compilations", "compilations", "ranks", "peak_memory")
        query_seconds = sum(waits[f"{name}()"][1] for name in after_block)
        idle = claim.steps * copy_seconds + claim.blocks * (query_seconds + usual_release)
        return (
            _owed(waits)
            | _too_slow(claim, n, block_seconds + put_seconds)
            | _ahead(claim, copy_seconds)
            | _outside(claim, idle)
            | self._alone(batches, weights, state, reached)
        )

    def _loading(self, weights: Parameters, batch: Batch) -> tuple[float, float]:
        """Return the seconds of ``load`` after a block and after one step (both reset a rule)."""
        first, _ = self._timed(partial(self.trainer.load, weights))
        self.trainer.load_state(None)  # the held-out batch may have left one of another size
        time_steps(self.trainer, [self.trainer.put(batch)], self.clock, self.label)
        return first, self._timed(partial(self.trainer.load, weights))[0]

    def _alone(
        self,
        batches: Sequence[Batch],
        weights: Parameters,
        state: State | None,
        reached: Parameters,
    ) -> dict[str, str]:
        """Do the steps one at a time; compare the weights with those that the block ``reached``."""
        own, still = self._one_by_one(batches, weights, state)
        if still:
            problem = f"{still} of {len(batches)} training steps left the weights as they were"
            return {"still": problem}
        change, difference = _distance(own, weights), _distance(reached, own)
        if not difference > PARTED * change:  # also if a weight is not finite
            return {}
        again, _ = self._one_by_one(batches, weights, state)
        if not _distance(again, own) < PARTED * difference:
            return {}  # this engine does not repeat itself
        problem = (
            f"{len(batches)} steps in a block end at other weights "
            "than the same steps one at a time"
        )
        if change:
            problem += f" (the difference is {difference / change:.2f} of the whole change)"
        return {"parted": problem}

    def _one_by_one(
        self, batches: Sequence[Batch], weights: Parameters, state: State | None
    ) -> tuple[Parameters, int]:
        """Return the weights after single steps, and how many steps failed to move them."""
        self._begin(weights, state)
        before, still = weights, 0
        for number, batch in enumerate(batches):
            (step,), _ = time_steps(self.trainer, [self.trainer.put(batch)], self.clock, self.label)
            after = self.trainer.parameters()
            moved = any(not np.array_equal(after[name], before[name]) for name in before)
            still += not moved and must_move(self.rule, number, step, before)
            before = after
        return before, still

    def _begin(self, weights: Parameters, state: State | None) -> None:
        self.trainer.load(weights)
        self.trainer.load_state(state)

    def _timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        """Return the seconds of a call, without waits for a processor, and its result."""
        watch = Stopwatch(self.clock)
        answer = call()
        return watch.seconds(), answer


def must_move(rule: Optimizer, update: int, step: Step, weights: Parameters) -> bool:
    """Return whether update number ``update`` must change a weight in its dtype.

    Plain gradient descent must if the whole update is larger than one rounding of all weights
    together. The other rules change every weight by about the learning rate, unless its gradient is
    as small as epsilon.
    """
    rate, count = rule.learning_rate_at(update), sum(array.size for array in weights.values())
    norm = min(limit for limit in (step.norm, rule.clip_norm, rule.clip_value) if limit is not None)
    rounding = max(float(np.finfo(array.dtype).eps) for array in weights.values())
    if rule.name == "sgd":
        return rate * norm > 2 * rounding * _norm(weights)
    largest = max(float(np.abs(array).max()) for array in weights.values())
    return rate > 100 * rounding * largest and norm > 100 * rule.epsilon * math.sqrt(count)


def _owed(waits: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    findings = {}
    for name, (first, second) in waits.items():
        if first > WAIT_FACTOR * second + WAIT_SECONDS:
            times = f"{name} took {1e3 * first:.1f} ms, and then {1e3 * second:.1f} ms"
            findings[name] = f"work was still owed after a block: {times}"
    return findings


def _too_slow(claim: Claim, steps: int, seconds: float) -> dict[str, str]:
    if seconds <= SLOWER * steps * claim.step_seconds + SLOWER_SECONDS:
        return {}
    timed, needed = 1e3 * claim.step_seconds, 1e3 * seconds / steps
    times = f"{timed:.3g} ms per step were timed, {needed:.3g} ms are needed"
    return {"slow": f"a block after training is far slower than those that were timed: {times}"}


def _ahead(claim: Claim, put_seconds: float) -> dict[str, str]:
    if put_seconds <= AHEAD * claim.step_seconds + AHEAD_SECONDS:
        return {}
    put, step = 1e3 * put_seconds, 1e3 * claim.step_seconds
    times = f"{put:.3g} ms per batch, a training step {step:.3g} ms"
    return {"ahead": f"put() does more than copy: it takes {times}"}


def _outside(claim: Claim, idle: float) -> dict[str, str]:
    if claim.outside_seconds <= IDLE * idle + SHARE * claim.seconds + OUTSIDE_SECONDS:
        return {}
    times = f"{claim.outside_seconds:.3g} s, and {idle:.3g} s are needed if nothing is owed"
    return {"outside": f"work was done outside the timed blocks: calls between them took {times}"}


def _distance(left: Parameters, right: Parameters) -> float:
    return _norm({name: left[name].astype(np.float64) - right[name] for name in left})


def _norm(arrays: Mapping[str, Any]) -> float:
    squares = (float(np.square(array, dtype=np.float64).sum()) for array in arrays.values())
    return math.sqrt(sum(squares))
