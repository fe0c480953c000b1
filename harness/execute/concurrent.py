"""Several launches at once, one thread each. Callbacks run in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from harness.contract import Record, Trial
from harness.execute.launch import OnEvent
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots, needs_gpu
from harness.execute.stop import StopRequest
from harness.measure.events import Event

Run = Callable[[Trial, LocalSettings, OnEvent, StopRequest], Record]


@dataclass
class AtOnce:
    """Runs launches in their slots.

    Only the caller's thread takes trials, calls ``on_event`` and yields records. It sleeps on a
    queue meanwhile.

    Attributes:
        run: runs one launch to its end, in a thread.
        settings: of every launch; the slot sets its processors and its GPU.
        on_event: called in the caller's thread.
        stop: a signal handler requests a stop with it.
    """

    run: Run
    settings: LocalSettings
    on_event: OnEvent
    stop: StopRequest
    _queue: SimpleQueue[tuple[Trial, Event] | int] = field(default_factory=SimpleQueue)
    _running: dict[int, Future[Record]] = field(default_factory=dict)
    _gpu_of: dict[int, str] = field(default_factory=dict)

    @property
    def slots(self) -> Slots:
        """The slots of the launches."""
        return self.settings.slots

    def records(self, trials: Iterable[Trial]) -> Iterator[Record]:
        """Yield the records as launches end. Closing the iterator ends the running launches."""
        waiting, following = iter(trials), None
        with ExitStack() as stack:
            stops = [stack.enter_context(self.stop.follower()) for _ in range(self.slots.jobs)]
            threads = stack.enter_context(ThreadPoolExecutor(self.slots.jobs, "launch"))
            stack.callback(_end_all, stops)
            while True:
                while len(self._running) < self.slots.jobs and not self.stop.count:
                    # A trial is taken only when there is room for it.
                    following = following or next(waiting, None)
                    if following is None or not self._has_gpu_for(following):
                        break
                    self._start(following, threads, stops)
                    following = None
                if not self._running:
                    return
                item = self._queue.get()
                if isinstance(item, int):  # the number of a launch that has ended
                    self._gpu_of.pop(item, None)
                    yield self._running.pop(item).result()
                else:
                    self.on_event(*item)

    def _has_gpu_for(self, trial: Trial) -> bool:
        return not needs_gpu(trial) or self._free_gpu() is not None

    def _free_gpu(self) -> str | None:
        return next((gpu for gpu in self.slots.gpus if gpu not in self._gpu_of.values()), None)

    def _start(self, trial: Trial, threads: ThreadPoolExecutor, stops: list[StopRequest]) -> None:
        number = next(number for number in range(self.slots.jobs) if number not in self._running)
        gpu = self._free_gpu() if needs_gpu(trial) else None
        if gpu is not None:
            self._gpu_of[number] = gpu
        affinity = self.slots.processors_of(number, trial)
        settings = replace(self.settings, affinity=affinity or self.settings.affinity, gpu=gpu)
        future = threads.submit(self.run, trial, settings, self._put, stops[number])
        self._running[number] = future
        future.add_done_callback(lambda _: self._queue.put(number))

    def _put(self, trial: Trial, event: Event) -> None:
        self._queue.put((trial, event))


def _end_all(stops: list[StopRequest]) -> None:
    """Request every stop twice: now."""
    for stop in (*stops, *stops):
        stop.request()
