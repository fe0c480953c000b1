"""Runs one trial from start to end, as a stream of events. It prints and stores nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.contract import Backend, HarnessError, Parameters, Trainer, Trial, array_dtype
from harness.contract.errors import ParityError
from harness.contract.wording import counted, error_text, shortened, words_of
from harness.measure import ISOLATIONS
from harness.measure.checkpoint import save
from harness.measure.evaluation_sets import LengthsOverTraining, evaluation_sets, judged
from harness.measure.events import Evaluated, Event, Facts, Finished, Phase, Progress
from harness.measure.machine.environment import environment_id, environment_record
from harness.measure.machine.verification import checked_threads
from harness.measure.outcome import blamed, is_old_call, outcome_of
from harness.measure.proof.cell_proof import prove
from harness.measure.proof.flow import measure_flow
from harness.measure.proof.parity import measure_parity
from harness.measure.record_builder import RecordBuilder
from harness.measure.sampling import TextOverTraining
from harness.measure.setup import Setup, check_backend, default_options, prepare
from harness.measure.snapshots.going_on import Snapshots
from harness.measure.snapshots.weights import WeightsOverTraining
from harness.measure.timing.clock import Clock, MonotonicClock
from harness.measure.timing.memory import PeakMemory, release_unused
from harness.measure.training import Training
from harness.measure.whole_state import WholeState
from harness.plugins import Plugins, load_plugins, query
from harness.plugins.task_validation import (
    checked_criterion,
    checked_facts,
    checked_loss,
    checked_steps_per_epoch,
)
from harness.plugins.validation import check_parameters

H_ALONE = (
    "gradient flow and horizon are those of h alone: "
    "the engine gives no gradient of the other states"
)
TEXT = TextOverTraining.name
Observer = TextOverTraining | WeightsOverTraining
DROPOUT_NOTE = "dropout masks differ between engines: not comparable step by step"
CONTINUED = "continued at step {:,}: speed, times and memory are those of the steps after it"
STOPPED = "stopped at step {:,}: no improvement in {} (--patience)"
IDLE_DROPOUT_NOTE = "dropout acts between layers: with one layer it does nothing"


@dataclass(frozen=True)
class Settings:
    """Settings of a worker. None of them changes the trial.

    Attributes:
        checkpoint: path to write the trained weights to; None: they are not written.
        sample_length: characters of text to sample from a text model at each temperature.
        sample_every: training steps between samples of text; None: one, after a tenth of training.
        probe_every: N, to write the weights before training and after N, 2N, 4N, ... steps; None:
            only the trained ones are written.
        follow_lengths: judges at the lengths of ``evaluate_at`` at every evaluation, not only at
            the end.
        block: names of plugins that are not loaded.
        only: names of the only plugins that are loaded; empty: all.
        affinity: the processors on which this process must run; empty: any.
        isolation: what this process serves: one ``launch``, or any trials of a ``backend``.
        calibrations: environment_id -> name -> content of limits that were measured before.
        snapshot: path to write snapshots of training to; None: none are written.
        snapshot_seconds: between two snapshots; the last is written when training ends.
        earlier_snapshots: of this trial, and of those that differ only in how long they train.
        fingerprint: of the code, versions and settings; only snapshots with the same are used.
    """

    checkpoint: str | None = None
    sample_length: int = 0
    sample_every: int | None = None
    probe_every: int | None = None
    follow_lengths: bool = False
    block: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    affinity: tuple[int, ...] = ()
    isolation: str = ISOLATIONS[0]
    calibrations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    snapshot: str | None = None
    snapshot_seconds: float = 0.0
    earlier_snapshots: tuple[str, ...] = ()
    fingerprint: str = ""


def run_trial(
    trial: Trial,
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    plugins: Plugins | None = None,
) -> Iterator[Event]:
    """Yield the events of one trial. The last is always ``Finished``, with the record."""
    builder = RecordBuilder(trial)
    run = _Run(trial, settings or Settings(), clock or MonotonicClock(), plugins, builder)
    status, reason, trace = "ok", None, {}
    owns_process = run.settings.isolation == ISOLATIONS[0]
    try:
        for event in run.events():
            if isinstance(event, Progress) and not owns_process:
                # The peak may be that of an earlier trial in this process.
                event = replace(event, peak_memory_bytes=None)  # noqa: PLW2901
            run.note(event)
            builder.add(event)
            yield event
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 (a failed trial has a record too)
        run.memory.pause()
        outcome = outcome_of(error, run.backend, run.blamed(error), run.memory.peak_bytes())
        status, reason = outcome.status, outcome.reason
        trace = {"traceback": outcome.traceback} if outcome.traceback else {}
        if status == "out_of_memory" and owns_process:
            builder.figures["peak_memory_bytes"] = run.memory.peak_bytes()
    yield Finished(builder.record(status, reason, **run.details(), **trace))


@dataclass
class _Run:
    """The state of a running trial."""

    trial: Trial
    settings: Settings
    clock: Clock
    plugins: Plugins | None
    builder: RecordBuilder
    backend: Backend | None = None
    label: str = "the harness itself"
    environment_id: str | None = None
    memory: PeakMemory = field(default_factory=PeakMemory)
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    phases: list[tuple[str, float]] = field(default_factory=list)
    deviates: bool = False
    flows: dict[str, Any] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        """Record the time at which a phase begins."""
        if isinstance(event, Phase):
            self.phases.append((event.name, self.clock.now()))

    def details(self) -> dict[str, object]:
        """Return the flags, and the seconds of each phase."""
        seconds: dict[str, float] = {}
        ends = [start for _, start in self.phases[1:]] + [self.clock.now()]
        for (name, start), end in zip(self.phases, ends, strict=True):
            seconds[name] = seconds.get(name, 0.0) + end - start
        notes = {"notes": self.notes} if self.notes else {}
        return {"flags": self.flags, "phase_seconds": seconds, **notes}

    def blamed(self, error: BaseException) -> str:
        """Return the label of the plugin that ``error`` names or comes from, else the backend's."""
        plugins, trial = self.plugins, self.trial
        if plugins is None or self.backend is None or is_old_call(error):
            return self.label
        labels: dict[type, str] = {}
        if trial.task in plugins.tasks:
            labels[plugins.task(trial.task)] = plugins.label("task", trial.task)
        if trial.cell in plugins.cells:
            labels[type(plugins.cell(trial.cell))] = plugins.label("cell", trial.cell)
        labels[type(self.backend)] = self.label
        words = words_of(error)
        named = (label for label in labels.values() if label in words)
        return next(named, None) or blamed(error, labels) or self.label

    def events(self) -> Iterator[Event]:
        """Yield the events of all phases, in order."""
        yield Phase("load")
        setup = yield from self._setup()
        sets = evaluation_sets(setup)  # errors come before any training
        yield Phase("build")
        trainer = setup.trainer()
        yield self._environment(setup.backend)  # before the baseline: it imports
        threads = checked_threads(setup.backend, self.trial, self.settings.affinity, self.label)
        yield Facts(details=threads)
        release_unused()  # training does not use it either
        parameter_bytes = sum(array.nbytes for array in trainer.parameters().values())
        self.memory.set_baseline(allocated_bytes=parameter_bytes)
        yield Phase("parity")
        yield from self._parity(setup)
        yield Phase("flow")
        yield self._flow(setup, trainer, "initial", 0)
        limits = self.settings.calibrations.get(self.environment_id or "", {})
        text = TextOverTraining(setup, self.settings.sample_length, self.settings.sample_every)
        checkpoint = None if self.settings.checkpoint is None else Path(self.settings.checkpoint)
        weights = WeightsOverTraining(setup, checkpoint, self.settings.probe_every)
        yield from self._extra(weights.name, weights.during(trainer, 0))
        training = Training(
            setup, trainer, self.clock, self.memory, self.flags, limits,
            next_stop=lambda step: min(text.next_step(step), weights.next_step(step)),
            snapshots=self._snapshots(setup),
        )  # fmt: skip
        lengths = LengthsOverTraining(setup, sets) if self.settings.follow_lengths else None
        yield from self._train(training, (text, weights), lengths)
        yield Phase("finish")
        sets_judged = judged(setup, sets, trainer, training.step)
        yield from self._extra("evaluation on further data", sets_judged)
        flow = self._final_flow(setup, trainer, training.step)
        yield from self._extra("gradient flow after training", flow)
        dtype = array_dtype(self.trial.dtype)
        parameters = check_parameters(trainer, setup.model, dtype, self.label)
        yield from self._extra("the checkpoint", self._checkpoint(setup, parameters))
        yield from self._extra(TEXT, text.at_end(parameters, training.step))

    def _train(
        self,
        training: Training,
        observers: Sequence[Observer],
        lengths: LengthsOverTraining | None,
    ) -> Iterator[Event]:
        """Yield the events of training, and what is observed between its blocks.

        Args:
            training: not yet begun.
            observers: yield events after some of its steps.
            lengths: judges after each of its evaluations; None: nothing does.
        """
        due = [observer.next_step(0) for observer in observers]
        for event in training.events():
            yield event
            if isinstance(event, Evaluated) and lengths is not None:
                yield from self._at_lengths(lengths, training, event.evaluation.step)
            if not isinstance(event, Progress):
                continue
            if event.tokens == 0:  # the steps of an earlier launch, with their texts
                self.notes.append(CONTINUED.format(event.step))
                due = [observer.next_step(event.step) for observer in observers]
                continue
            if event.step not in due or event.step == event.steps:
                continue
            if event.losses[-1] is None or event.norms[-1] is None:
                continue  # it diverged
            for index, observer in enumerate(observers):
                if event.step == due[index]:
                    yield Phase(observer.phase)
                    seen = observer.during(training.trainer, event.step)
                    yield from self._extra(observer.name, seen)
                    due[index] = observer.next_step(event.step)
            self.memory.start()
            yield Phase("train")
        if training.stopped:
            self.notes.append(
                STOPPED.format(training.step, counted(self.trial.patience or 0, "evaluation"))
            )
            yield Facts(details={"stopped_at": training.step})

    def _at_lengths(
        self, lengths: LengthsOverTraining, training: Training, step: int
    ) -> Iterator[Event]:
        """Judge at other lengths, once for each step; not again after those before a snapshot."""
        is_judged = any(event.step == step for event in self.builder.sets)
        if is_judged or step != training.step:
            return
        yield Phase("lengths")
        judging = lengths.during(training.trainer, step)
        yield from self._extra("evaluation at other lengths during training", judging)
        self.memory.start()

    def _snapshots(self, setup: Setup) -> Snapshots:
        settings = self.settings
        return Snapshots(
            setup,
            self.builder,
            self.clock,
            self.flags,
            path=None if settings.snapshot is None else Path(settings.snapshot),
            seconds=settings.snapshot_seconds,
            earlier_files=tuple(map(Path, settings.earlier_snapshots)),
            fingerprint=settings.fingerprint,
        )

    def _setup(self) -> Generator[Event, None, Setup]:
        trial = self.trial
        plugins = self.plugins or load_plugins(self.settings.block, self.settings.only)
        self.plugins, self.backend = plugins, plugins.backend(trial.backend)
        self.label = plugins.label("backend", trial.backend)
        yield Facts(details={"task_defaults": default_options(plugins.task(trial.task))})
        check_backend(self.backend, trial, plugins)
        yield Phase("prepare")
        cell_label = plugins.label("cell", trial.cell)
        prove(plugins.cell(trial.cell), cell_label, trial.hidden, trial.batch)
        setup = prepare(trial, plugins, self.backend, self.label)
        task, label, floor = setup.task, setup.task_label, setup.task.floor()
        baseline = checked_loss("baseline", task.baseline(), label)
        figures = {
            "parameters": setup.model.parameter_count(),
            "loss_baseline": baseline,  # later that of the validation batches
            "loss_floor": None if floor is None else checked_loss("floor", floor, label),
        }
        details: dict[str, Any] = {
            "task": checked_facts(task, label),
            "loss": setup.model.loss,
            "distribution": plugins.distribution_of("backend", trial.backend),
            "loss_baseline_exact": baseline,
            "criterion": checked_criterion(task, label),
            "steps_per_epoch": checked_steps_per_epoch(task, trial.batch, label),
        }
        if trial.dropout:
            self.notes.append(DROPOUT_NOTE if trial.layers > 1 else IDLE_DROPOUT_NOTE)
        yield Facts(figures=figures, details=details)
        return setup

    def _environment(self, backend: Backend) -> Facts:
        record = environment_record([backend])
        self.environment_id = environment_id(record)
        details = {"versions": query.versions(backend)}
        return Facts(details=details, environment=record, environment_id=self.environment_id)

    def _parity(self, setup: Setup) -> Iterator[Event]:
        deviation = query.deviation(setup.backend, setup.model.cell, self.trial.variant)
        if deviation is not None:
            self.flags.append(f"another function: {deviation}")
            self.deviates = True
            yield Facts(details={"deviation": deviation})
            return
        batch = setup.first_batch(setup.trial.batch)
        parity = measure_parity(
            setup.backend, setup.reference, setup.model, setup.parameters, batch, setup.execution
        )
        figures = {"parity_error": parity.error, "parity_tolerance": parity.tolerance}
        yield Facts(figures=figures, details={"parity": parity.to_json()})
        if not parity.passed:
            raise ParityError(
                f"{parity.tensor} differs from the float64 reference by {parity.error:.3g}, "
                f"tolerance {parity.tolerance:.3g}; {self.label}"
            )

    def _extra(self, what: str, events: Iterator[Event]) -> Iterator[Event]:
        """Yield events beside the measurement. A failure is a flag, and the figures stay."""
        try:
            yield from events
        except HarnessError as error:
            self._flag(shortened(str(error)))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 (a plugin may raise anything)
            problem = f"{what} failed: {shortened(error_text(error))}"
            self._flag(f"{problem}; {self.blamed(error)}")

    def _flag(self, flag: str) -> None:
        if flag not in self.flags:
            self.flags.append(flag)

    def _final_flow(self, setup: Setup, trainer: Trainer, step: int) -> Iterator[Event]:
        # The figures of the start no longer hold, even if the next call fails.
        yield Facts(
            figures={"gradient_horizon": None, "gradient_decay": None},
            details={"gradient_horizon_censored": False, "gradient_horizon_step": None},
        )
        yield self._flow(setup, trainer, "final", step)

    def _flow(self, setup: Setup, trainer: Trainer, moment: str, step: int) -> Facts:
        """Return the gradient flow of the whole state after ``step`` training steps."""
        names, batch = setup.model.cell.states, setup.flow_batch()
        if len(names) == 1:
            flow = measure_flow(trainer, batch)
        else:
            others = None if self.deviates else WholeState(setup, self.flags)
            flow = measure_flow(trainer, batch, names, others)
            if len(flow.states) < len(names) and H_ALONE not in self.flags:
                self.flags.append(H_ALONE)
        self.flows[moment] = flow.to_json()
        return Facts(
            figures={"gradient_horizon": flow.horizon, "gradient_decay": flow.decay},
            curves={"gradient_flow": dict(self.flows)},
            details={"gradient_horizon_censored": flow.censored, "gradient_horizon_step": step},
        )

    def _checkpoint(self, setup: Setup, parameters: Parameters) -> Iterator[Event]:
        if self.settings.checkpoint is not None:
            save(Path(self.settings.checkpoint), parameters, self.trial, setup.task.vocabulary)
            yield Facts(details={"checkpoint": self.settings.checkpoint})
