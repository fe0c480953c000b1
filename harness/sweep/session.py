"""A session measures launches and stores each record as soon as it exists."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.contract import Record, StoreError, Trial
from harness.execute.executor import Executor
from harness.execute.local import run_trials
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.events import Event
from harness.plugins import Plugins
from harness.sweep.folders import make_checkpoint_folder
from harness.sweep.identity import identities
from harness.sweep.logs import keep_log
from harness.sweep.sweep_session import SweepSession
from harness.sweep.work_plan import WorkPlan, in_order, make_work_plan
from harness_results.store.runs import ORDER

if TYPE_CHECKING:
    from harness_results.store.store import Store

MOST_IN_ORDER = 10_000  # trials of a plan whose order is stored; every claim reads it


class Watcher(Protocol):
    """Receives the progress of a run."""

    def event(self, trial: Trial, event: Event) -> None:
        """Receive an event of a running trial."""

    def finish(self, record: Record) -> None:
        """Receive the record of a launch, after it is stored."""


@dataclass
class Session:
    """Measures launches and stores each record as soon as it exists.

    Attributes:
        store: receives the records; opened for writing.
        command: what the user typed; stored with the run.
        plugins: as loaded.
        checkpoints: the folder for trained weights, made when needed; None: they are not kept.
        stop: a signal handler asks here to stop.
        launches: fresh processes that measure each trial, in shuffled rounds over all trials.
        order_seed: shuffles the launches; stored with the run.
        executor: runs the launches.
        logs: the folder for what workers print, made when needed; None: it is not kept.
        run_id: the run in which it measured; None: nothing was left to be measured.
        elsewhere: launches that another process began and did not end.
    """

    store: Store
    command: str
    plugins: Plugins
    checkpoints: Path | None = None
    stop: StopRequest | None = None
    launches: int = 1
    order_seed: int = 0
    executor: Executor = run_trials
    logs: Path | None = None
    run_id: int | None = field(default=None, init=False)
    elsewhere: int = field(default=0, init=False)

    def measure(
        self, trials: Sequence[Trial], settings: LocalSettings, watcher: Watcher
    ) -> Iterator[Record]:
        """Measure all launches, whatever the store has; yield each record after it is stored.

        Raises:
            StoreError: a record could not be stored; those before it are.
        """
        by_trial = identities(trials, self.plugins, settings)
        work_plan = make_work_plan(None, trials, self.launches, self.order_seed, by_trial, "fresh")
        yield from self.carry_out(work_plan, settings, watcher)

    def carry_out(
        self, work_plan: WorkPlan, settings: LocalSettings, watcher: Watcher
    ) -> Iterator[Record]:
        """Measure the launches that are left; yield each record after it is stored.

        A request to stop ends this early.

        Raises:
            StoreError: a record could not be stored; those before it are.
        """
        ledger = self.store.ledger
        if not work_plan.left or ledger is None:
            return
        if self.checkpoints is not None:
            make_checkpoint_folder(self.checkpoints)
        handle = ledger.join(
            self.command, _stored_settings(work_plan, settings), work_plan.wanted, work_plan.mode
        )
        self.run_id = handle.run_id
        sweep = SweepSession(ledger, handle, work_plan, self.stop)
        try:
            yield from self._records(sweep, settings, watcher)
            self.elsewhere = len(sweep.elsewhere)
        finally:
            # The run is over; the store detects drivers that are gone without this.
            with contextlib.suppress(StoreError):
                ledger.leave(handle)

    def _records(
        self, sweep: SweepSession, settings: LocalSettings, watcher: Watcher
    ) -> Iterator[Record]:
        stored_limits = self.store.all_calibrations()
        calibrations = {name: dict(content) for name, content in stored_limits.items()}
        settings = replace(
            settings,
            checkpoints=self.checkpoints,
            block=self.plugins.blocked,
            calibrations=calibrations,
            keep_logs=self.logs is not None,
            fingerprints=sweep.work_plan.wanted,
            begins_anew=sweep.work_plan.mode == "fresh",
        )

        def on_event(trial: Trial, event: Event) -> None:
            watcher.event(trial, event)
            sweep.heartbeat()

        records = self.executor(
            sweep.launches(),
            settings=settings,
            on_event=on_event,
            stop=self.stop,
            plugins=self.plugins,
        )
        for record in records:
            stored = keep_log(record, self.logs, sweep.handle.run_id)
            sweep.add(stored)
            self._calibrate(stored, calibrations, settings)
            watcher.finish(stored)
            yield stored

    def results(self, work_plan: WorkPlan, *, with_curves: bool = False) -> list[Record]:
        """Return every launch of the plan's trials, measured now or earlier, in plan order."""
        ledger = self.store.ledger
        records: Sequence[Record] = ()
        if self.run_id is not None:
            records = self.store.launches(self.run_id, with_curves=with_curves)
        elif ledger is not None:
            records = ledger.read(work_plan.record_ids, with_curves=with_curves)
        return in_order(work_plan.trials, records)

    def _calibrate(
        self, record: Record, calibrations: dict[str, dict[str, Any]], settings: LocalSettings
    ) -> None:
        """Keep the limits that this launch measured, for the launches to come."""
        environment = str(record.environment_id)
        of_environment = calibrations.setdefault(environment, {})
        for name, content in record.details.get("calibrations", {}).items():
            if not settings.notes():  # with other launches at the same time, it is not a limit
                self.store.calibrate(environment, name, content)
            of_environment[name] = content


def _stored_settings(work_plan: WorkPlan, settings: LocalSettings) -> dict[str, Any]:
    """Return the settings that the store keeps with a run."""
    trial_ids = [trial.trial_id for trial in work_plan.trials]
    return {
        "launches": work_plan.launches,
        "order_seed": work_plan.order_seed,
        "plan": work_plan.plan,
        ORDER: trial_ids if len(trial_ids) <= MOST_IN_ORDER else [],
        "jobs": settings.slots.jobs,
        "gpus": list(settings.slots.gpus),
        "isolation": settings.isolation,
        "affinity": list(settings.affinity),
        "pythons": {name: str(python.path) for name, python in settings.pythons.items()},
    }
