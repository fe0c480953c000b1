"""The training loop. Only blocks of steps are timed, not evaluations or batch generation."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from harness.contract import Batch, DivergedError, HarnessError, PluginError, Trainer
from harness.contract.records.record import Figure, finite
from harness.contract.wording import error_text, shortened
from harness.measure.evaluate import Evaluator
from harness.measure.events import Evaluated, Event, Facts, Phase, Progress
from harness.measure.machine.verification import checked_placement, checked_ranks
from harness.measure.ranks import RankMeter
from harness.measure.setup import Setup
from harness.measure.snapshots.going_on import Snapshots
from harness.measure.timing.audit import Auditor, Claim
from harness.measure.timing.clock import Block, BlockScheduler, Clock, Stopwatch, time_steps
from harness.measure.timing.limits import LimitMeter, Limits, limit_figures
from harness.measure.timing.memory import PeakMemory, release_unused
from harness.measure.timing.speed import (
    SPEED_DETAILS,
    speed_curves,
    speed_details,
    speed_figures,
    training_flops_per_token,
)
from harness.plugins.task_validation import checked_solved
from harness.plugins.validation import (
    Step,
    checked_compilations,
    checked_peak_memory,
    checked_rank_fields,
)

PEAK_NOISE = 1.1  # two measurements of the peak differ by less, unless a process disturbs one
PEAK_TRIES = 3  # measurements of the peak before a speed above it is refused
ONE_DEVICE = "the limits are those of one device: not measured for a trial on several"


@dataclass
class Training:
    """Trains one trainer for all its steps, and yields the events.

    Attributes:
        setup: the trial and what it needs.
        trainer: at the initial weights.
        clock: times the blocks.
        memory: measures the peak.
        flags: of the trial; new ones are added.
        known_limits: name -> content of limits that were measured before.
        step: updates done so far.
        ranks: times of the processes of a data-parallel trainer.
        between_seconds: spent in the trainer between the steady blocks.
        next_stop: gives the next step after which a block must end, or the last of training.
        snapshots: writes them, and says from which this trial goes on; None: neither.
        losses_validation: of the evaluations before the end, in their order.
        stopped: whether training ended before its last step.
    """

    setup: Setup
    trainer: Trainer
    clock: Clock
    memory: PeakMemory
    flags: list[str] = field(default_factory=list)
    known_limits: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    ranks: RankMeter = field(default_factory=RankMeter)
    between_seconds: float = 0.0
    next_stop: Callable[[int], int] | None = None
    snapshots: Snapshots | None = None
    losses_validation: list[float] = field(default_factory=list)
    stopped: bool = False

    def events(self) -> Iterator[Event]:
        """Evaluate, compile, do the first step, warm up, train in timed blocks, evaluate.

        If there is a snapshot to go on from, the steps before it are not done again.

        Raises:
            DivergedError: a loss or gradient norm is not finite. Its block was yielded before.
            PluginError: the backend returned an invalid value.
        """
        evaluator = self.setup.evaluator()
        if evaluator.baseline is not None:
            yield Facts(figures={"loss_baseline": evaluator.baseline})
        release_unused()
        yield from self._earlier_steps(evaluator)
        batches = self.setup.training(skip=self.step)
        if self.step == 0 or self._evaluation_due():
            yield from self._evaluate(evaluator)
        scheduler = BlockScheduler(0, 0.0)
        if not self.stopped:
            scheduler = yield from self._first_step(next(batches))
            yield Phase("train")
        while not self.stopped and self.step < self.setup.trial.steps:
            if self._evaluation_due():
                yield from self._evaluate(evaluator)
                if self.stopped:
                    break
                yield Phase("train")
            length = scheduler.next_steps(self._until_interruption())
            yield from self._block([next(batches) for _ in range(length)], scheduler)
            if self.snapshots is not None and self.snapshots.due():
                yield from self._snapshot(evaluator)
                self.memory.start()
                yield Phase("train")
        yield from self._snapshot(evaluator)
        yield from self._evaluate(evaluator, full=True)
        yield Phase("audit")
        total = scheduler.total if self._audited(scheduler, evaluator, batches) else None
        yield self._speed(scheduler, published=total is not None)
        yield Phase("limits")
        yield self._limits(total)

    def _earlier_steps(self, evaluator: Evaluator) -> Iterator[Event]:
        """Take over the steps that an earlier launch has done, if it left a snapshot of them."""
        stored = self.snapshots and self.snapshots.earlier(evaluator.batches_before_end)
        if self.snapshots is not None and self.snapshots.why_anew and not stored:
            yield Facts(details={"not_continued": self.snapshots.why_anew})
        if not stored:
            return
        yield Phase("restore")
        self.trainer.restore(stored.trainer)
        self.step = stored.step
        origin = {"trial_id": stored.trial.trial_id, "step": stored.step}
        yield Facts(details={"continued_from": origin})
        for event in stored.replayed(self.setup.trial):
            if isinstance(event, Evaluated):
                self.losses_validation.append(event.evaluation.loss_validation)
            yield event

    def _snapshot(self, evaluator: Evaluator) -> Iterator[Event]:
        if self.snapshots is not None and self.snapshots.path is not None:
            yield Phase("snapshot")
            batches = evaluator.batches_before_end
            self.snapshots.write(self.trainer, self.step, batches, stopped=self.stopped)

    def _first_step(self, batch: Batch) -> Generator[Event, None, BlockScheduler]:
        device_batch = self.trainer.put(batch)
        yield Phase("compile")
        start = self.clock.now()
        if self.trainer.compile(device_batch):
            yield Facts(figures={"compile_seconds": self.clock.now() - start})
        yield Phase("first_step")
        self.memory.start()
        steps, seconds = time_steps(self.trainer, [device_batch], self.clock, self.setup.label)
        yield Facts(figures={"first_step_seconds": seconds})
        yield from self._progress(steps, Block(1, _tokens([batch]), seconds))
        placement = checked_placement(self.trainer, self.setup.trial, self.setup.label)
        if not placement:
            self.flags.append(
                "device and dtype are not verified: the engine does not report them; "
                f"{self.setup.label}"
            )
        self.ranks.add(checked_ranks(self.trainer, self.setup.trial, self.setup.label), 0)
        yield Facts(details={"placement": placement})
        return BlockScheduler(self.setup.trial.steps - self.step, seconds)

    def _block(self, batches: Sequence[Batch], scheduler: BlockScheduler) -> Iterator[Event]:
        watch = Stopwatch(self.clock)
        device_batches = [self.trainer.put(batch) for batch in batches]
        compiled = checked_compilations(self.trainer, self.setup.label)
        before = watch.seconds()
        steps, seconds = time_steps(self.trainer, device_batches, self.clock, self.setup.label)
        watch = Stopwatch(self.clock)
        device_batches.clear()
        recompiled = checked_compilations(self.trainer, self.setup.label) - compiled
        ranks = checked_rank_fields(self.trainer, self.setup.label)
        block = Block(len(batches), _tokens(batches), seconds, recompiled)
        scheduler.add(block)
        steady = bool(scheduler.steady) and scheduler.steady[-1] is block
        self.ranks.add(ranks, block.steps if steady else 0)
        if steady:
            self.between_seconds += before + watch.seconds()
        yield from self._progress(steps, block)

    def _progress(self, steps: Sequence[Step], block: Block) -> Iterator[Event]:
        finite_steps = [math.isfinite(step.loss) and math.isfinite(step.norm) for step in steps]
        diverged = not all(finite_steps)
        if diverged:  # the rest of the block is not training; its length depends on the engine
            steps = steps[: finite_steps.index(False) + 1]
        self.step += len(steps)
        self.memory.pause()
        device_bytes = checked_peak_memory(self.trainer, self.setup.label)
        yield Progress(
            step=self.step,
            steps=self.setup.trial.steps,
            losses=tuple(finite([step.loss for step in steps])),
            norms=tuple(finite([step.norm for step in steps])),
            clipped=tuple(step.clipped for step in steps),
            seconds=block.seconds,
            tokens=block.tokens,
            peak_memory_bytes=self.memory.peak_bytes() if device_bytes is None else device_bytes,
        )
        if diverged:
            raise DivergedError(f"diverged at step {self.step}")

    def _evaluation_due(self) -> bool:
        every = self.setup.trial.evaluate_every
        return every > 0 and self.step % every == 0

    def _until_interruption(self) -> int:
        every, left = self.setup.trial.evaluate_every, self.setup.trial.steps - self.step
        if self.next_stop is not None:
            left = min(left, self.next_stop(self.step) - self.step)
        return min(left, every - self.step % every) if every else left

    def _evaluate(self, evaluator: Evaluator, *, full: bool = False) -> Iterator[Event]:
        yield Phase("evaluate")
        evaluations = evaluator.evaluate(self.trainer, self.step, full=full)
        if full and self.stopped:  # the sample was evaluated at this step already
            evaluations = evaluations[1:]
        if not full:
            self._lose_patience(evaluations[0].loss_validation)
        self.memory.start()
        for evaluation in evaluations:
            solved = checked_solved(self.setup.task.solved(evaluation), self.setup.task_label)
            yield Evaluated(evaluation, solved and evaluator.can_claim(evaluation))
        if not all(math.isfinite(evaluation.loss_validation) for evaluation in evaluations):
            raise DivergedError(f"diverged at step {self.step}: the validation loss is not finite")

    def _lose_patience(self, loss: float) -> None:
        """Stop if this validation loss and those before have not improved for long enough."""
        losses, patience = self.losses_validation, self.setup.trial.patience
        losses.append(loss)
        if patience is not None:
            self.stopped = len(losses) - 1 - losses.index(min(losses)) >= patience

    def _audited(
        self, scheduler: BlockScheduler, evaluator: Evaluator, batches: Iterator[Batch]
    ) -> bool:
        """Audit the trainer's speed. Return whether there is a speed to publish.

        Raises:
            PluginError: the speed cannot be true.
        """
        total, setup = scheduler.total, self.setup
        if total is None:
            return False
        claim = Claim(total.steps, total.seconds, len(scheduler.steady), self.between_seconds)
        flow_batch, rule = setup.flow_batch(), setup.trial.update_rule()
        try:
            auditor = Auditor(
                self.trainer, rule, self.clock, setup.label, evaluator.validation[0], flow_batch
            )
            finding = auditor.finding(claim, batches)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 (without an audit only the speed is lost)
            own = isinstance(error, HarnessError)
            why = str(error) if own else f"{error_text(error)}; {setup.label}"
            self.flags.append(f"no speed, since it could not be verified: {shortened(why)}")
            return False
        if finding is not None:
            raise PluginError(f"no speed is published: {finding}; {setup.label}")
        return True

    def _speed(self, scheduler: BlockScheduler, *, published: bool) -> Facts:
        self.flags += scheduler.flags()
        details = speed_details(scheduler) | self.ranks.details(self.setup.trial.devices)
        if not published:
            kept = {name: fact for name, fact in details.items() if name not in SPEED_DETAILS}
            return Facts(details=kept)
        figures = speed_figures(scheduler, training_flops_per_token(self.setup.model))
        return Facts(figures=figures, curves=speed_curves(scheduler), details=details)

    def _limits(self, total: Block | None) -> Facts:
        """Measure the engine's limits, and the fractions of them that training reached.

        Raises:
            PluginError: training was faster than the engine's peak.
        """
        setup, trial = self.setup, self.setup.trial
        if trial.devices > 1:
            return Facts(details={"limits": asdict(Limits(reason=ONE_DEVICE)), "calibrations": {}})
        meter = LimitMeter(
            setup.backend, setup.execution, trial.threads, self.clock, self.known_limits
        )
        limits, new = meter.measure(setup.model, trial.batch)
        figures = self._fractions(limits, total)
        for _ in range(PEAK_TRIES):
            if (figures.get("fraction_of_peak") or 0) <= PEAK_NOISE:
                break
            again, measured = replace(meter, stored={}).measure(setup.model, trial.batch)
            if (again.peak_flops_per_second or 0) > (limits.peak_flops_per_second or 0):
                limits, new = again, measured
                figures = self._fractions(limits, total)
        if (fraction := figures.get("fraction_of_peak") or 0) > PEAK_NOISE:
            above = f"training ran at {100 * fraction:,.0f} % of the peak that this engine reaches"
            raise PluginError(f"no speed is published: {above}; {setup.label}")
        return Facts(figures=figures, details={"limits": asdict(limits), "calibrations": new})

    def _fractions(self, limits: Limits, total: Block | None) -> dict[str, Figure]:
        if total is None:
            return {}
        batch = self.setup.trial.batch
        time_steps = total.tokens / total.steps / batch
        return limit_figures(limits, self.setup.model, batch, time_steps, total.step_seconds)


def _tokens(batches: Sequence[Batch]) -> int:
    return sum(batch.tokens for batch in batches)
