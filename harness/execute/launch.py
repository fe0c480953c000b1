"""A launch: one trial in one worker, watched to its end. It always ends in a record."""

from __future__ import annotations

import json
import os
import select
import selectors
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contract import Record, Trial
from harness.contract.wording import mebibytes
from harness.execute.ending import exit_outcome
from harness.execute.memory_watch import OFTEN_SECONDS, MemoryWatch
from harness.execute.process import Worker, worker_environment
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.execute.worker_log import CappedLog
from harness.execute.workers import Workers
from harness.measure.events import Event, Finished, from_json
from harness.measure.outcome import outcome_of
from harness.measure.record_builder import RecordBuilder
from harness.measure.timing.memory import out_of_memory_kills
from harness.measure.worker import request_line
from harness.plugins import Plugins
from harness.plugins.loading import who_ended

OnEvent = Callable[[Trial, Event], None]
CHUNK_BYTES = 1 << 16
LOG_TEXT = "log_text"  # detail of a record on its way to where logs are kept
LAST_CHUNKS = 64  # read after the worker's end, at most: another process may hold its pipe


def ignore(trial: Trial, event: Event) -> None:
    """Do nothing with an event."""


@dataclass
class Launch:
    """One trial in one worker, watched to its end.

    Attributes:
        trial: what it measures.
        settings: limits and directories.
        on_event: called with each event.
        stop: a signal handler requests a stop with it.
        record: the worker's; None: not yet.
        ended: whether the worker has ended, or waits for another trial.
        killed: status and reason, if this launch killed the worker.
        deadline: on the monotonic clock; None: none.
        late: status and reason at the deadline.
        memory: watches memory; None: its own.
        workers: gives the worker; None: a fresh one.
        peak_bytes: the most memory that the worker and its descendants were seen to hold.
    """

    trial: Trial
    settings: LocalSettings
    on_event: OnEvent
    stop: StopRequest
    record: Record | None = None
    ended: bool = False
    killed: tuple[str, str] | None = None
    deadline: float | None = None
    late: tuple[str, str] = ("", "")
    memory: MemoryWatch | None = None
    workers: Workers | None = None
    peak_bytes: int = 0
    _next_look: float = field(default_factory=lambda: time.monotonic() + OFTEN_SECONDS)
    _line: bytearray = field(default_factory=bytearray)

    def run(self, plugins: Plugins) -> Record:
        """Start the worker, follow it to its end, and return the record."""
        self.builder, self.log = RecordBuilder(self.trial), CappedLog(self.settings.log_bytes)
        self._memory = self.memory or MemoryWatch(self.settings.memory_limit_bytes)
        try:
            environment = worker_environment(self.trial, plugins, self.settings.gpu)
        except Exception as error:  # noqa: BLE001 (a bad plugin must not end other launches)
            label = plugins.label("backend", self.trial.backend)
            outcome = outcome_of(error, plugins.backends.get(self.trial.backend), label, None)
            return self.builder.record(outcome.status, outcome.reason)
        kills = out_of_memory_kills()
        with ExitStack() as stack:
            try:
                worker = stack.enter_context(self._worker(environment, plugins))
            except OSError as error:  # no process, descriptor or memory; the next launch may run
                return self.builder.record("failed", f"the worker could not be started: {error}")
            self._follow(worker)
            status = 0 if worker.reusable else worker.reap()
            self._drain(worker)
            kills = out_of_memory_kills() - kills
            record = self.record or self._without_record(status, kills, worker)
        return self._marked(record)

    def _worker(
        self, environment: dict[str, str], plugins: Plugins
    ) -> AbstractContextManager[Worker]:
        """Return a worker that has this trial. A used worker has exactly this environment."""
        trial, python = self.trial, self.settings.python(self.trial)
        request = request_line(trial, self.settings.of_worker(trial, plugins))
        engine = (trial.backend, trial.device, trial.threads, self.settings.affinity)
        kind = (python, *engine, *sorted(environment.items()))
        return (self.workers or Workers()).worker(kind, request, environment, python)

    def _follow(self, worker: Worker) -> None:
        """Sleep until events, output, the end, a request to stop or the deadline."""
        limit = self.settings.timeout_seconds
        if limit is not None:
            self._end_within(limit, "timeout", f"timeout after {limit:g} s")
        with selectors.DefaultSelector() as selector:
            for descriptor, action in self._actions(worker).items():
                selector.register(descriptor, selectors.EVENT_READ, action)
            while not self.ended:
                if self._may_go_on():
                    worker.reusable = self.ended = True
                    break
                for key, _ in selector.select(self._nap()):
                    if key.data(key.fd) is False:
                        selector.unregister(key.fd)
                if not self.ended and self._left() == 0:
                    self.killed, self.ended = self.killed or self.late, True
                    worker.stop(self.settings.kill_seconds)
                if not self.ended and time.monotonic() >= self._next_look:
                    self._look(worker)
        self._memory.forget(worker.process.pid)

    def _actions(self, worker: Worker) -> dict[int, Callable[[int], bool]]:
        return {
            worker.events: self._read_events,
            worker.log: self._read_log,
            worker.exited: self._exited,
            self.stop.fileno(): self._stopped,
        }

    def _may_go_on(self) -> bool:
        """Return whether the trial is over and its process waits for the next one."""
        return (
            self.workers is not None
            and self.workers.warm
            and self.record is not None
            and self.record.status == "ok"
        )

    def _nap(self) -> float:
        """Return the longest time to sleep, in seconds."""
        look, left = max(0.0, self._next_look - time.monotonic()), self._left()
        return look if left is None else min(look, left)

    def _look(self, worker: Worker) -> None:
        """Look at the worker's memory, and end it at once if it holds too much."""
        look = self._memory.look(worker.process.pid)
        self.peak_bytes = max(self.peak_bytes, look.held_bytes)
        self._next_look = time.monotonic() + look.next_seconds
        if look.too_much is not None:
            reason = f"out of memory: {look.too_much}; peak seen: {mebibytes(self.peak_bytes)}"
            self.killed, self.ended = ("out_of_memory", reason), True
            worker.stop(0.0)

    def _left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def _end_within(self, seconds: float, status: str, reason: str) -> None:
        """Bring the deadline forward, never back."""
        moment = time.monotonic() + seconds
        if self.deadline is None or moment < self.deadline:
            self.deadline, self.late = moment, (status, reason)

    def _exited(self, descriptor: int) -> bool:
        self.ended = True
        return False

    def _stopped(self, descriptor: int) -> bool:
        self.stop.drain()
        seconds = self.settings.interrupt_seconds if self.stop.count == 1 else 0.0
        self._end_within(seconds, "interrupted", "interrupted on request")
        return True

    def _read_log(self, descriptor: int) -> bool:
        chunk = _read(descriptor)
        self.log.add(chunk or b"")
        return chunk != b""

    def _read_events(self, descriptor: int) -> bool:
        chunk = _read(descriptor)
        *lines, rest = (chunk or b"").split(b"\n")
        for line in lines:
            self._event(bytes(self._line + line))
            self._line.clear()
        self._line += rest
        return chunk != b""

    def _event(self, line: bytes) -> None:
        """Process one line. A line that is not an event, as a plugin may write, goes to the log."""
        try:
            event = from_json(json.loads(line))
        except (KeyError, TypeError, ValueError):
            self.log.add(b"(not an event: " + line[:200] + b")\n")
            return
        if isinstance(event, Finished):
            # The worker does not know the interpreter's name.
            event = Finished(replace(event.record, trial=self.trial))
            self.record = event.record
            self._end_within(self.settings.kill_seconds, "", "")
        else:
            self.builder.add(event)
        self.on_event(self.trial, event)

    def _drain(self, worker: Worker) -> None:
        """Read what the worker wrote before its end."""
        actions = ((worker.events, self._read_events), (worker.log, self._read_log))
        for descriptor, action in actions:
            for _ in range(LAST_CHUNKS):
                if not select.select([descriptor], [], [], 0)[0] or not action(descriptor):
                    break

    def _without_record(self, status: int, kills: int, worker: Worker) -> Record:
        peak_bytes = self.peak_bytes or None
        ended, reason = self.killed or exit_outcome(status, kills, peak_bytes, self.log)
        if loading := who_ended(worker.process.pid):
            reason = f"{reason}; while it loaded {loading}"
        return self.builder.record(ended, reason)

    def _marked(self, record: Record) -> Record:
        """Return the record with how it was run and, if it failed, the log."""
        details: dict[str, Any] = dict(record.details) | self.settings.marks()
        if notes := self.settings.notes():
            details["notes"] = [*(details.get("notes") or ()), *notes]
        if record.status != "ok" and self.log.text():
            details["log_tail"] = self.log.tail()
        if self.settings.keep_logs:
            details[LOG_TEXT] = self.log.text()
        return replace(record, details=details)


def _read(descriptor: int) -> bytes | None:
    """Return what can be read: b"" at the end, None if there is nothing now."""
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return None
