"""The launches that a cluster holds now: a bounded number, started, followed and tried again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contract import Record, StoreError, Trial
from harness.execute.launch import OnEvent
from harness.execute.ray.cluster import living_nodes
from harness.execute.ray.losses import Loss, loss_of
from harness.execute.ray.needs import Needs, Wishes, needs_of
from harness.execute.ray.task import request_of, run_on_node
from harness.execute.retries import RETRIED
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.checkpoint import checkpoint_file, write_whole
from harness.measure.events import Finished, Phase
from harness.measure.record_builder import RecordBuilder

POLL_SECONDS = 0.5
NODES_SECONDS = 2.0  # between two looks at the nodes
FETCH_SECONDS = 60.0  # to copy an answer that is ready
LEAST, MOST = 4, 1000  # launches in flight
LOSSES = 2  # a launch is tried again after this many losses of a node, or more


@dataclass
class Flight:
    """A launch on the cluster.

    Attributes:
        trial: what it measures.
        needs: of a node.
        builder: makes the record if none comes.
        attempts: the earlier tries.
        node: where it runs; None: it has not started.
        node_id: Ray's id of the node.
        began: when it started, on the monotonic clock.
        homeless_since: since when no node can hold it; None: one can.
    """

    trial: Trial
    needs: Needs
    builder: RecordBuilder
    attempts: list[dict[str, str | None]] = field(default_factory=list)
    node: str | None = None
    node_id: str | None = None
    began: float | None = None
    homeless_since: float | None = None


@dataclass
class Window:
    """Keeps the cluster busy with a bounded number of launches, and yields their records."""

    ray: Any
    wishes: Wishes
    settings: LocalSettings
    on_event: OnEvent
    stop: StopRequest
    flights: dict[Any, Flight] = field(default_factory=dict)  # by the stream of its answers
    room: int = LEAST
    looked_at: float = float("-inf")
    deadline: float | None = None  # after a request to stop

    def records(self, trials: Iterable[Trial]) -> Iterator[Record]:
        """Yield the records as launches end. Closing the iterator cancels what is left."""
        self.task = self.ray.remote(
            num_returns="streaming", max_retries=0, scheduling_strategy="SPREAD"
        )(run_on_node)
        queue = iter(trials)
        try:
            while True:
                yield from self._look_at_nodes()
                self._fill(queue)
                if not self.flights:
                    return
                yield from self._arrivals()
                yield from self._stopped()
        finally:
            for stream in list(self.flights):
                self._cancel(stream)

    def _fill(self, queue: Iterator[Trial]) -> None:
        while not self.stop.count and len(self.flights) < self.room:
            trial = next(queue, None)
            if trial is None:
                return
            self._submit(trial, [])

    def _submit(self, trial: Trial, attempts: list[dict[str, str | None]]) -> None:
        needs = needs_of(trial, self.wishes)
        task = self.task.options(name=f"harness {trial.trial_id}", **needs.task_options())
        stream = task.remote(request_of(trial, self.settings))
        self.flights[stream] = Flight(trial, needs, RecordBuilder(trial), attempts)

    def _cancel(self, stream: Any) -> Flight:
        """End a launch at once: its worker dies with the process of its task."""
        self.ray.cancel(stream, force=True)
        return self.flights.pop(stream)

    def _arrivals(self) -> Iterator[Record]:
        """Wait a little for an answer, and process it."""
        ready, _ = self.ray.wait(list(self.flights), num_returns=1, timeout=POLL_SECONDS)
        for stream in ready:
            flight = self.flights[stream]
            try:
                text, weights = self.ray.get(next(stream), timeout=FETCH_SECONDS)
            except (StopIteration, self.ray.exceptions.RayError) as error:
                del self.flights[stream]
                yield from self._lost(flight, loss_of(self.ray, error, flight.node))
                continue
            content = json.loads(text)
            if flight.node is None:
                flight.node, flight.node_id = content["node"], content["node_id"]
                flight.began = time.monotonic()
                self.on_event(flight.trial, Phase("start"))
            else:
                del self.flights[stream]
                yield from self._ended(flight, Record.from_json(content), weights)

    def _ended(self, flight: Flight, record: Record, weights: bytes | None) -> Iterator[Record]:
        if record.status in RETRIED and self._may_retry(flight, self.settings.retries):
            self._again(flight, record.status, record.reason)
            return
        flags = record.details.get("flags", ())
        details = dict(record.details) | self._write_checkpoint(flight.trial, weights, flags)
        yield self._finished(flight, replace(record, trial=flight.trial, details=details))

    def _lost(self, flight: Flight, loss: Loss) -> Iterator[Record]:
        if loss.again and self._may_retry(flight, max(LOSSES, self.settings.retries)):
            self._again(flight, loss.status, loss.reason)
            return
        yield self._finished(flight, flight.builder.record(loss.status, loss.reason))

    def _may_retry(self, flight: Flight, retries: int) -> bool:
        return not self.stop.count and len(flight.attempts) < retries

    def _again(self, flight: Flight, status: str, reason: str | None) -> None:
        self._submit(flight.trial, [*flight.attempts, {"status": status, "reason": reason}])

    def _finished(self, flight: Flight, record: Record) -> Record:
        """Add node, duration and earlier tries to the record, and report the end."""
        seconds = None if flight.began is None else time.monotonic() - flight.began
        facts: dict[str, Any] = {"node": flight.node, "node_id": flight.node_id}
        facts |= {"wall_seconds": seconds, "attempts": flight.attempts}
        facts = {name: value for name, value in facts.items() if value}
        record = replace(record, details={**record.details, **facts})
        self.on_event(flight.trial, Finished(record))
        return record

    def _write_checkpoint(
        self, trial: Trial, weights: bytes | None, flags: Iterable[str]
    ) -> dict[str, Any]:
        """Write the checkpoint here. If that fails, the record gets a flag, as from a worker."""
        if weights is None or self.settings.checkpoints is None:
            return {}
        path = checkpoint_file(self.settings.checkpoints, trial)
        try:
            write_whole(path, weights)
        except StoreError as error:
            return {"flags": [*flags, str(error)]}
        return {"checkpoint": str(path)}

    def _stopped(self) -> Iterator[Record]:
        """After one request, running launches go on for a while; after two, they are cancelled."""
        if not self.stop.count:
            return
        if self.deadline is None:
            self.deadline = time.monotonic() + self.settings.interrupt_seconds
            for stream, flight in list(self.flights.items()):
                if flight.node is None:
                    self._cancel(stream)
        if self.stop.count > 1 or time.monotonic() >= self.deadline:
            for stream in list(self.flights):
                flight = self._cancel(stream)
                record = flight.builder.record("interrupted", "interrupted on request")
                yield self._finished(flight, record)

    def _look_at_nodes(self) -> Iterator[Record]:
        """Update how many launches fit, and give up those that no node can hold."""
        now = time.monotonic()
        if now - self.looked_at < NODES_SECONDS:
            return
        self.looked_at, nodes = now, living_nodes(self.ray)
        cpus = sum(node["Resources"].get("CPU", 0) for node in nodes)
        self.room = max(LEAST, min(MOST, 2 * int(cpus)))
        for stream, flight in list(self.flights.items()):
            if flight.node is not None or any(flight.needs.fits(node) for node in nodes):
                flight.homeless_since = None
                continue
            flight.homeless_since = flight.homeless_since or now
            if now - flight.homeless_since >= self.wishes.patience_seconds:
                self._cancel(stream)
                record = flight.builder.record("failed", flight.needs.lacking(nodes))
                yield self._finished(flight, record)
