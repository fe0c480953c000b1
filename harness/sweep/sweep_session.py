"""One process's part in a sweep: claims launches, stores their records, reports its progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.contract import Record, Trial
from harness.execute.stop import StopRequest
from harness.sweep.tally import Tally
from harness.sweep.work_plan import WorkPlan

if TYPE_CHECKING:
    from harness_results.store.ledger import Answer, Ledger, SweepHandle

BEAT_SECONDS = 60.0  # between heartbeats during a launch; writing disturbs what is measured


@dataclass
class SweepSession:
    """One process's part in a sweep.

    Attributes:
        ledger: the store's.
        handle: the run and this driver in it.
        work_plan: the launches that were left when it began.
        stop: a signal handler asks here to stop.
        elsewhere: launches that another process began and did not end.
    """

    ledger: Ledger
    handle: SweepHandle
    work_plan: WorkPlan
    stop: StopRequest | None
    elsewhere: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        reused, left = len(self.work_plan.ended), len(self.work_plan.left)
        self.tally = Tally(reused + left, reused=reused, names=self.work_plan.names)
        self._reported = time.monotonic()

    def launches(self) -> Iterator[Trial]:
        """Yield the launches that this process may measure, each when there is room for it.

        Launches that another process began are tried again at the end, because that process may
        have died by then.
        """
        busy: list[Trial] = []
        yield from self._claimed(self.work_plan.left, busy)
        self.tally.elsewhere -= len(busy)
        yield from self._claimed(busy, self.elsewhere)

    def _claimed(self, trials: Sequence[Trial], busy: list[Trial]) -> Iterator[Trial]:
        for trial in trials:
            if self.stop is not None and self.stop.count:
                return
            self.tally.start(trial)
            answer = self._claim(trial)
            if answer == "mine":
                yield trial
                continue
            self.tally.running.remove(trial)
            self.tally.elsewhere += 1
            if answer == "busy":
                busy.append(trial)

    def _claim(self, trial: Trial) -> Answer:
        self._reported = time.monotonic()
        fingerprint = self.work_plan.identities[trial.trial_id].fingerprint
        return self.ledger.claim(
            self.handle, trial.trial_id, fingerprint, self.work_plan.launches, self.tally.facts()
        )

    def add(self, record: Record) -> None:
        """Store a record durably."""
        self.tally.end(record)
        self._reported = time.monotonic()
        identity = self.work_plan.identities[record.trial.trial_id]
        self.ledger.add(self.handle, record, identity, self.tally.facts())

    def heartbeat(self) -> None:
        """Report that this process lives, if it has not done so for a while."""
        if time.monotonic() - self._reported > BEAT_SECONDS:
            self._reported = time.monotonic()
            self.ledger.heartbeat(self.handle, self.tally.facts())
