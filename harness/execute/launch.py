"""A launch: one trial in one fresh worker, watched until it is over; it always ends in a record."""

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
from harness.execute.ending import exit_outcome
from harness.execute.memory_watch import OFTEN_SECONDS, MemoryWatch, mebibytes
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
LOG_TEXT = "log_text"  # detail of a record that is on its way to whoever keeps logs
LAST_CHUNKS = 64  # read at most so many after the worker's end: somebody else may hold its pipe


@dataclass
class Launch:
    """One trial in one worker, watched until it is over."""

    trial: Trial
    settings: LocalSettings
    on_event: OnEvent
    stop: StopRequest
    record: Record | None = None
    ended: bool = False
    killed: tuple[str, str] | None = None  # status and reason, where it was us
    deadline: float | None = None  # on the monotonic clock
    late: tuple[str, str] = ("", "")  # status and reason at the deadline
    memory: MemoryWatch | None = None  # None: one of its own
    workers: Workers | None = None  # None: a fresh one
    peak_bytes: int = 0  # the most that the worker and all below it were seen to hold
    _next_look: float = field(default_factory=lambda: time.monotonic() + OFTEN_SECONDS)
    _line: bytearray = field(default_factory=bytearray)

    def run(self, plugins: Plugins) -> Record:
        """Start the worker, follow it to its end, and say how it ended."""
        self.builder, self.log = RecordBuilder(self.trial), CappedLog(self.settings.log_bytes)
        self._memory = self.memory or MemoryWatch(self.settings.memory_limit_bytes)
        try:
            environment = worker_environment(self.trial, plugins, self.settings.gpu)
        except Exception as error:  # noqa: BLE001 (one bad plugin never costs another's result)
            label = plugins.label("backend", self.trial.backend)
            outcome = outcome_of(error, plugins.backends.get(self.trial.backend), label, None)
            return self.builder.record(outcome.status, outcome.reason)
        kills = out_of_memory_kills()
        with ExitStack() as stack:
            try:
                worker = stack.enter_context(self._worker(environment, plugins))
            except OSError as error:  # no process, descriptor or memory left, no such interpreter: the next may run
                return self.builder.record("failed", f"the worker could not be started: {error}")
            self._follow(worker)
            status = 0 if worker.reusable else worker.reap()
            self._drain(worker)
            record = self.record or self._without_record(
                status, out_of_memory_kills() - kills, worker
            )
        return self._marked(record)

    def _worker(
        self, environment: dict[str, str], plugins: Plugins
    ) -> AbstractContextManager[Worker]:
        """Return a worker that has got this trial; one that others used before had the very same environment."""
        trial, python = self.trial, self.settings.python(self.trial)
        request = request_line(trial, self.settings.of_worker(trial, plugins))
        kind = (
            python,
            trial.backend,
            trial.device,
            trial.threads,
            self.settings.affinity,
            *sorted(environment.items()),
        )
        return (self.workers or Workers()).worker(kind, request, environment, python)

    def _follow(self, worker: Worker) -> None:
        """Wait for events, output, the end, a request to stop or the deadline; never on the processor."""
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
        """Say whether the trial is over and its process waits for the next one."""
        return (
            self.workers is not None
            and self.workers.warm
            and self.record is not None
            and self.record.status == "ok"
        )

    def _nap(self) -> float:
        """Return for how long to sleep at most."""
        look = max(0.0, self._next_look - time.monotonic())
        return look if (left := self._left()) is None else min(look, left)

    def _look(self, worker: Worker) -> None:
        """See how much memory the worker holds, and end it at once where that is too much."""
        look = self._memory.look(worker.process.pid)
        self.peak_bytes = max(self.peak_bytes, look.held_bytes)
        self._next_look = time.monotonic() + look.next_seconds
        if look.too_much is not None:
            told = f"out of memory: {look.too_much}; peak seen: {mebibytes(self.peak_bytes)}"
            self.killed, self.ended = ("out_of_memory", told), True
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
        """Take in one line; what is no event (a plugin wrote into our pipe) is left out."""
        try:
            event = from_json(json.loads(line))
        except (KeyError, TypeError, ValueError):
            self.log.add(b"(not an event: " + line[:200] + b")\n")
            return
        if isinstance(event, Finished):
            event = Finished(
                replace(event.record, trial=self.trial)
            )  # the worker was not told the interpreter's name
            self.record = event.record
            self._end_within(self.settings.kill_seconds, "", "")
        else:
            self.builder.add(event)
        self.on_event(self.trial, event)

    def _drain(self, worker: Worker) -> None:
        """Read what the worker wrote before its end."""
        for descriptor, action in (
            (worker.events, self._read_events),
            (worker.log, self._read_log),
        ):
            for _ in range(LAST_CHUNKS):
                if not select.select([descriptor], [], [], 0)[0] or not action(descriptor):
                    break

    def _without_record(self, status: int, kills: int, worker: Worker) -> Record:
        ended, reason = self.killed or exit_outcome(
            status, kills, self.peak_bytes or None, self.log
        )
        loading = who_ended(worker.process.pid)
        return self.builder.record(
            ended, f"{reason}; while it loaded {loading}" if loading else reason
        )

    def _marked(self, record: Record) -> Record:
        """Return the record with how it was run, and why a failure failed."""
        details: dict[str, Any] = dict(record.details) | self.settings.marks()
        if notes := self.settings.notes():
            details["notes"] = [*(details.get("notes") or ()), *notes]
        if record.status != "ok" and self.log.text():
            details["log_tail"] = self.log.tail()
        if self.settings.keep_logs:
            details[LOG_TEXT] = self.log.text()
        return replace(record, details=details)


def _read(descriptor: int) -> bytes | None:
    """Return what is there, b"" at the end, None where there is nothing now."""
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return None
